import '../../styles/dead-letters.css';
import { useRoute } from 'preact-iso';
import { useState } from 'preact/hooks';
import { answerOf, api } from '../../api.ts';
import { Area, Say } from '../../area.tsx';
import { now } from '../../clock.ts';
import { installation } from '../../installation.ts';
import { query, setQuery } from '../../query.ts';
import { useResource } from '../../resource.ts';
import { Audit } from './audit.tsx';
import { WholeGroup } from './whole-group.tsx';
import { Groups } from './groups.tsx';
import { FailureHistogram, histogramRanges } from './histogram.tsx';
import { LetterPane } from './letter.tsx';
import { Letters } from './letters.tsx';
import { ReplayPanel } from './replay-panel.tsx';
import { deadLetterSentence } from './sentences.ts';
import { type Status, statuses } from './types.ts';

/** Which readings could not be stored, why, and how they are repaired. */
export default function DeadLetters(_: { readonly path: string }) {
  const { params } = useRoute();
  const [watched, watch] = useState<string>();
  const groups = useResource(
    (signal) => answerOf(api.GET('/api/v1/dead-letters/groups', { params: { query: { limit: 200 } }, signal })),
    { everyMs: 5_000 },
  );
  const replays = useResource(
    (signal) => answerOf(api.GET('/api/v1/dead-letters/replays', { params: { query: { limit: 20 } }, signal })),
    { everyMs: 2_000 },
  );
  const actions = useResource(
    (signal) => answerOf(api.GET('/api/v1/dead-letters/actions', { params: { query: { limit: 100 } }, signal })),
    { everyMs: 10_000 },
  );
  const range = histogramRanges.find(([value]) => value === query.value['range'])?.[0] ?? '24h';
  const histogram = useResource(
    (signal) => {
      const asked = { from: `now-${range}`, maxPoints: 48, limit: 100 };
      return answerOf(api.GET('/api/v1/dead-letters/histogram', { params: { query: asked }, signal }));
    },
    { question: range, everyMs: 15_000 },
  );
  const known = groups.state.value.data?.data;
  const list = replays.state.value.data?.data ?? [];
  const status = statuses.find((one) => one === query.value['status']) ?? 'open';
  const linked = params['id'] ?? query.value['letter'];
  const chosen =
    known?.find(({ fingerprint }) => fingerprint === query.value['group']) ??
    known?.toSorted((a, b) => b.byStatus[status] - a.byStatus[status])[0];

  /** Something was decided: all answers have changed. */
  function changed(replayId?: string): void {
    if (replayId !== undefined) watch(replayId);
    for (const one of [groups, replays, actions, histogram]) one.refresh();
    installation.value?.deadLetters?.refresh();
  }

  return (
    <>
      <Say sentence={deadLetterSentence(known, list, now.value)} />
      <FailureHistogram histogram={histogram} range={range} group={chosen} />
      <div class="cols" id="dlcols">
        <section>
          <Groups
            groups={groups}
            histogram={histogram.state.value.data}
            status={status}
            selected={chosen?.fingerprint}
            onStatus={(next: Status) => setQuery({ status: next === 'open' ? undefined : next, letter: undefined })}
            onSelect={(fingerprint) => setQuery({ group: fingerprint, letter: undefined })}
          />
          <ReplayPanel replays={replays} watched={watched} onChanged={() => changed()} />
          <Audit actions={actions} groups={known ?? []} />
        </section>
        <section class="ltrs">
          {chosen === undefined ? (
            <Area title="Letters" resource={groups}>
              {(data) => (data?.data.length === 0 ? <p class="dim">There are no dead letters.</p> : null)}
            </Area>
          ) : (
            <Letters
              group={chosen}
              status={status}
              selected={linked}
              onSelect={(id) => setQuery({ letter: id })}
              version={`${chosen.count} ${JSON.stringify(chosen.byStatus)}`}
            />
          )}
        </section>
        <section>
          {linked !== undefined && <LetterPane key={linked} id={linked} onChanged={changed} />}
          {linked === undefined && chosen !== undefined && (
            <p class="dim">Choose a letter of the list to see its payload, and to repair it.</p>
          )}
          {chosen !== undefined && (
            <WholeGroup key={chosen.fingerprint} group={chosen} status={status} onChanged={changed} />
          )}
        </section>
      </div>
    </>
  );
}

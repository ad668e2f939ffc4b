import { useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Area, Problem } from '../../area.tsx';
import { now } from '../../clock.ts';
import { Dialog } from '../../dialog.tsx';
import { count, rate } from '../../format.ts';
import type { Resource } from '../../resource.ts';
import { moment } from '../../times.ts';
import { barOf, isRunning, stagesOf } from './sentences.ts';
import type { Replay } from './types.ts';

/** The progress of a replay: the one that was started here, or the newest. The bar is full only when all of the set is stored. */
export function ReplayPanel({
  replays,
  watched,
  onChanged,
}: {
  readonly replays: Resource<{ readonly data: readonly Replay[] }>;
  readonly watched: string | undefined;
  readonly onChanged: () => void;
}) {
  const [isOpen, setOpen] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const list = replays.state.value.data?.data ?? [];
  const shown =
    list.find(({ id }) => id === watched) ??
    list.find(isRunning) ??
    list.find(({ state }) => state !== 'dry-run') ??
    list[0];
  if (shown === undefined) return null;

  async function cancel({ id }: Replay): Promise<void> {
    setFailure(undefined);
    try {
      await answerOf(api.POST('/api/v1/dead-letters/replays/{id}/cancel', { params: { path: { id } } }));
      onChanged();
    } catch (error) {
      setFailure(failureOf(error));
    }
  }

  return (
    <div class="sp" data-replay={shown.state}>
      <Area
        title={`Replay ${shown.id.slice(0, 8)}`}
        note={`${shown.state} · ${shown.source} · frozen at ${moment(shown.createdAt, now.value)} · ${rate(shown.ratePerSecond)}/s`}
        right={
          <button class="link" type="button" onClick={() => setOpen(true)}>
            all replays
          </button>
        }
        resource={replays}
        staleMs={15_000}
      >
        {() => (
          <>
            <Bar replay={shown} />
            <Stages replay={shown} />
            {(shown.state === 'queued' || shown.state === 'running') && (
              <button class="btn sm" type="button" onClick={() => void cancel(shown)}>
                Cancel
              </button>
            )}
            {failure !== undefined && <Problem failure={failure} />}
          </>
        )}
      </Area>
      {isOpen && (
        <Dialog title="Replays, newest first" onClose={() => setOpen(false)}>
          <div class="scrolls">
            <table class="tight slim">
              <thead>
                <tr>
                  <th>Created</th>
                  <th>By</th>
                  <th>State</th>
                  <th class="num">In the set</th>
                  <th class="num">Stored</th>
                  <th class="num">Failed again</th>
                </tr>
              </thead>
              <tbody>
                {list.map((one) => (
                  <tr key={one.id}>
                    <td class="id dim" title={one.createdAt}>
                      {moment(one.createdAt, now.value)}
                    </td>
                    <td>{one.source === 'automatic' ? 'automatic' : one.createdBy}</td>
                    <td>{one.state}</td>
                    <td class="num">{count(one.counts.matched)}</td>
                    <td class="num">{count(one.counts.stored)}</td>
                    <td class="num">{count(one.counts.failedAgain)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
          <div class="acts2">
            <button class="btn" type="button" onClick={() => setOpen(false)}>
              Close
            </button>
          </div>
        </Dialog>
      )}
    </div>
  );
}

function Bar({ replay }: { readonly replay: Replay }) {
  const { published, stored } = barOf(replay);
  const { counts } = replay;
  return (
    <svg
      class="prog"
      viewBox="0 0 600 10"
      preserveAspectRatio="none"
      role="img"
      aria-label={`${count(counts.published)} of ${count(counts.matched)} published, ${count(counts.stored)} stored`}
    >
      <rect class="all" x=".5" y=".5" width="599" height="9" rx="2" />
      <rect class="pub" x="1" y="1" width={598 * published} height="8" rx="2" />
      <rect class="sto" x="1" y="1" width={598 * stored} height="8" rx="2" />
    </svg>
  );
}

function Stages({ replay }: { readonly replay: Replay }) {
  return (
    <p class="stages">
      {stagesOf(replay).map(({ value, text }) => (
        <span key={text} class={text === 'stored' ? 'wirec' : text === 'failed again' && value > 0 ? 'warn' : ''}>
          <b>{count(value)}</b> {text}
        </span>
      ))}
    </p>
  );
}

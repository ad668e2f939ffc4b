import { useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { serverNow } from '../../clock.ts';
import { count, plural } from '../../format.ts';
import { timeOfDay } from '../../times.ts';
import { Decide, type Decision } from './decide.tsx';
import type { Group, Status } from './types.ts';

/** A set that no longer grows: the dead letters that had failed before a time. */
interface Frozen {
  readonly to: string;
  readonly matched: number;
}

/** What can be done with all dead letters of one cause: freeze them and count, replay exactly these, discard, restore. */
export function WholeGroup({
  group,
  status,
  onChanged,
}: {
  readonly group: Group;
  readonly status: Status;
  readonly onChanged: (replayId?: string) => void;
}) {
  const [frozen, freeze] = useState<Frozen>();
  const [isBusy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const [asked, ask] = useState<{ readonly decision: Decision; readonly to: string }>();
  const { fingerprint, byStatus } = group;
  const newer = frozen === undefined ? 0 : Math.max(0, byStatus.open - frozen.matched);
  if (byStatus.open === 0 && byStatus.discarded === 0) return null;

  async function run(work: () => Promise<void>): Promise<void> {
    setBusy(true);
    setFailure(undefined);
    try {
      await work();
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      setBusy(false);
    }
  }

  const dryRun = () =>
    run(async () => {
      const to = new Date(serverNow()).toISOString();
      const made = await answerOf(
        api.POST('/api/v1/dead-letters/replays', { body: { filter: { fingerprint, to }, dryRun: true } }),
      );
      freeze({ to, matched: made.counts.matched });
      onChanged();
    });

  const replay = (set: Frozen) =>
    run(async () => {
      const body = { filter: { fingerprint, to: set.to }, max: set.matched };
      const made = await answerOf(api.POST('/api/v1/dead-letters/replays', { body }));
      freeze(undefined);
      onChanged(made.id);
    });

  const decide = (decision: Decision) => ask({ decision, to: new Date(serverNow()).toISOString() });

  /** What failed after the question was asked is no part of the answer. The server works for some seconds and says whether any are left. */
  async function decideAll({ decision, to }: NonNullable<typeof asked>, reason: string): Promise<void> {
    const body = { filter: { fingerprint, to }, reason };
    for (;;) {
      const { complete, count: changed } = await answerOf(
        decision === 'discard'
          ? api.POST('/api/v1/dead-letters/discard', { body })
          : api.POST('/api/v1/dead-letters/restore', { body }),
      );
      if (complete || changed === 0) return;
    }
  }

  return (
    <div class="note">
      <div class="h">
        <h2>The whole group</h2>
        <span class="tag">{group.errorCode}</span>
      </div>
      {frozen === undefined ? (
        <p>
          A replay publishes a frozen set: what fails later is not part of it. A reading is stored once, however often
          it is replayed.
        </p>
      ) : (
        <p role="status">
          Dry run at {timeOfDay(frozen.to)}: <b>{count(frozen.matched)}</b> would be published
          {newer > 0 && (
            <>
              , <b>{count(newer)}</b> are newer than the dry run
            </>
          )}
          .
        </p>
      )}
      {failure !== undefined && <Problem failure={failure} />}
      <div class="acts2">
        {frozen !== undefined && frozen.matched > 0 && byStatus.open > 0 && (
          <button class="btn main" type="button" disabled={isBusy} onClick={() => void replay(frozen)}>
            Replay the frozen {count(frozen.matched)}
          </button>
        )}
        {byStatus.open > 0 && (
          <button class="btn" type="button" disabled={isBusy} onClick={() => void dryRun()}>
            Freeze {count(byStatus.open)} and dry run
          </button>
        )}
        {byStatus.open > 0 && (
          <button class="btn" type="button" disabled={isBusy} onClick={() => decide('discard')}>
            Discard group…
          </button>
        )}
        {status === 'discarded' && byStatus.discarded > 0 && (
          <button class="btn" type="button" disabled={isBusy} onClick={() => decide('restore')}>
            Restore group…
          </button>
        )}
      </div>
      {asked !== undefined && (
        <Decide
          decision={asked.decision}
          what={
            asked.decision === 'discard'
              ? `${plural(byStatus.open, 'open dead letter')} of this cause`
              : `${plural(byStatus.discarded, 'discarded dead letter')} of this cause`
          }
          send={(reason) => decideAll(asked, reason)}
          onClose={() => ask(undefined)}
          onDone={() => {
            ask(undefined);
            freeze(undefined);
            onChanged();
          }}
        />
      )}
    </div>
  );
}

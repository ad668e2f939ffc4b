import type { components } from '@fleetwire/client/openapi';
import { useState } from 'preact/hooks';
import { type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Area, Problem } from '../../area.tsx';
import { SeriesMark } from '../../chart/chart.tsx';
import { now } from '../../clock.ts';
import { count, duration, metricValue, noBreakSpace } from '../../format.ts';
import { Icon, type IconName } from '../../icons.tsx';
import { unitOf } from '../../metadata.ts';
import type { Resource } from '../../resource.ts';
import { isOperator } from '../../session.ts';
import { moment, timeOfDay } from '../../times.ts';
import { stateText } from './bands.ts';
import { commandText, parseCommand } from './command-text.ts';
import type { LatestValue } from './held-readings.ts';

type Command = components['schemas']['Command'];
type Sequence = components['schemas']['Sequence'];

export function Latest({
  latest,
  metrics,
  metadata,
}: {
  readonly latest: ReadonlyMap<string, LatestValue>;
  readonly metrics: readonly string[];
  readonly metadata: Readonly<Record<string, unknown>> | undefined;
}) {
  const names = [
    ...metrics.filter((name) => latest.has(name)),
    ...[...latest.keys()].filter((name) => !metrics.includes(name)).toSorted(),
  ];
  return (
    <>
      <div class="h">
        <h2>Latest</h2>
        <span class="r">age</span>
      </div>
      <table class="tight">
        <tbody>
          {names.map((name) => {
            const { value, at } = latest.get(name)!;
            const slot = metrics.indexOf(name);
            return (
              <tr key={name}>
                <td class="id">
                  {slot === -1 ? (
                    <svg class="kl" viewBox="0 0 18 8" aria-hidden="true" />
                  ) : (
                    <SeriesMark slot={slot % 8} />
                  )}
                  {name}
                </td>
                <td class="num" title={stateText(value)}>
                  <b>{typeof value === 'number' ? metricValue(value, 3) : stateText(value)}</b>{' '}
                  <span class="u">{unitOf(metadata, name)}</span>
                </td>
                <td class="num dim">{age(now.value - at)}</td>
              </tr>
            );
          })}
          {names.length === 0 && (
            <tr>
              <td class="dim" colSpan={3}>
                No reading yet.
              </td>
            </tr>
          )}
        </tbody>
      </table>
    </>
  );
}

/** How many readings of the newest boot were sent, are stored, are on their way, and are missing. */
export function Delivery({
  gaps,
  epoch,
  sentSeq,
  firstSeenAt,
  completeUntil,
}: {
  readonly gaps: Resource<{ readonly epochs: readonly Sequence[] }>;
  readonly epoch: string | undefined;
  readonly sentSeq: number | undefined;
  readonly firstSeenAt: string | undefined;
  readonly completeUntil: number | undefined;
}) {
  return (
    <>
      <div class="sp" />
      <Area title="Delivery" right={epoch === undefined ? undefined : `boot ${epoch}`} resource={gaps} staleMs={30_000}>
        {(answer) => {
          const own = answer?.epochs.find((one) => one.epoch === epoch);
          const others = answer?.epochs.filter((one) => one.epoch !== epoch && one.missing > 0) ?? [];
          if (own === undefined)
            return <p class="dim">{answer === undefined ? '' : 'No reading of this boot is stored yet.'}</p>;
          const last = Math.max(own.last, sentSeq ?? 0);
          const sent = last - own.first + 1;
          const onTheWay = last - own.last;
          return (
            <table class="tight">
              <tbody>
                <tr>
                  <td>sent</td>
                  <td class="num">
                    <b>{count(sent)}</b>
                  </td>
                  <td class="num dim">{firstSeenAt === undefined ? '' : `since ${moment(firstSeenAt, now.value)}`}</td>
                </tr>
                <tr>
                  <td>stored</td>
                  <td class="num">
                    <b>{count(own.stored)}</b>
                  </td>
                  <td class="num dim">{completeUntil === undefined ? '' : `until ${timeOfDay(completeUntil)}`}</td>
                </tr>
                <tr>
                  <td>on the way</td>
                  <td class="num">
                    <b>{count(onTheWay)}</b>
                  </td>
                  <td class="num dim">
                    {onTheWay > 0 && completeUntil !== undefined ? duration(now.value - completeUntil) : ''}
                  </td>
                </tr>
                <tr>
                  <td>missing</td>
                  <td class="num">
                    <b class={own.missing > 0 ? 'warn' : ''}>{count(own.missing)}</b>
                  </td>
                  <td class="num warn">
                    {others.length === 0
                      ? ''
                      : others.length === 1
                        ? `${count(others[0]!.missing)} of ${others[0]!.epoch}`
                        : `${count(others.reduce((sum, one) => sum + one.missing, 0))} of ${others.length} boots`}
                  </td>
                </tr>
              </tbody>
            </table>
          );
        }}
      </Area>
    </>
  );
}

export const commandMarks: Record<Command['state'], readonly [icon: IconName, tone: string]> = {
  queued: ['info', 'dim'],
  sent: ['info', 'dim'],
  delivered: ['info', 'dim'],
  succeeded: ['ok', 'okc'],
  failed: ['warn', 'warn'],
  'timed-out': ['warn', 'warn'],
  expired: ['warn', 'warn'],
  cancelled: ['off', 'dim3'],
};

/** How a command went, in short: its time, or what it waits for. */
export function commandOutcome({ state, sentAt, finishedAt, createdAt, timeoutMs, error }: Command): string {
  if (state === 'succeeded')
    return took(Math.max(0, Date.parse(finishedAt ?? createdAt) - Date.parse(sentAt ?? createdAt)));
  if (state === 'timed-out') return `timed out, ${duration(timeoutMs).replace('.0', '')}`;
  if (state === 'failed') return error === null ? 'failed' : (error.message ?? error.code);
  return state === 'queued' ? 'waits for the device' : state;
}

const took = (ms: number) => (ms < 1_000 ? `${ms}${noBreakSpace}ms` : duration(ms));

export function Commands({
  deviceId,
  commands,
  onAll,
}: {
  readonly deviceId: string;
  readonly commands: Resource<{ readonly data: readonly Command[]; readonly covers: { readonly complete: boolean } }>;
  readonly onAll: () => void;
}) {
  return (
    <>
      <div class="sp" />
      <Area
        title="Commands"
        right={
          <button type="button" class="link" onClick={onAll}>
            all
          </button>
        }
        resource={commands}
      >
        {(answer) => (
          <table class="tight">
            <tbody>
              {answer?.data.slice(0, 5).map((command) => {
                const [icon, tone] = commandMarks[command.state];
                return (
                  <tr key={command.id} title={`${command.state}, by ${command.createdBy}`}>
                    <td>
                      <Icon name={icon} tone={tone} label={command.state} />{' '}
                      <span class="id">{commandText(command)}</span>
                    </td>
                    <td class="dim outcome">{commandOutcome(command)}</td>
                    <td class="num dim">{moment(command.createdAt, now.value)}</td>
                  </tr>
                );
              })}
              {answer?.data.length === 0 && (
                <tr>
                  <td class="dim">No command was sent yet.</td>
                </tr>
              )}
            </tbody>
          </table>
        )}
      </Area>
      {isOperator() && <SendCommand deviceId={deviceId} onSent={() => commands.refresh()} />}
    </>
  );
}

const waitSeconds = 5;

function SendCommand({ deviceId, onSent }: { readonly deviceId: string; readonly onSent: () => void }) {
  const [failure, setFailure] = useState<Failure>();
  const [outcome, setOutcome] = useState('');
  const [busy, setBusy] = useState(false);
  const [isLater, setLater] = useState(false);

  async function send(typed: string): Promise<void> {
    const parsed = parseCommand(typed);
    if (parsed === undefined) return;
    setBusy(true);
    setFailure(undefined);
    setOutcome('');
    try {
      const command = await answerOf(
        api.POST('/api/v1/devices/{id}/commands', {
          params: { path: { id: deviceId }, header: isLater ? {} : { prefer: `wait=${waitSeconds}` } },
          body: {
            ...parsed,
            ...(isLater ? { mode: 'when-online' as const } : { mode: 'now' as const, timeoutMs: waitSeconds * 1_000 }),
          },
        }),
      );
      setOutcome(
        `${commandText(command)}: ${command.state === 'succeeded' ? `succeeded in ${commandOutcome(command)}` : commandOutcome(command)}`,
      );
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      setBusy(false);
      onSent();
    }
  }

  return (
    <>
      <div class="h sp" id="send">
        <h2>Send</h2>
      </div>
      <form
        class="send"
        onSubmit={(event) => {
          event.preventDefault();
          void send((event.currentTarget.elements.namedItem('command') as HTMLInputElement).value);
        }}
      >
        <input
          name="command"
          id="command"
          class="field mono grow"
          aria-label="Command and arguments"
          placeholder="set-point -18"
          autocomplete="off"
          spellcheck={false}
          required
        />
        <button class="btn main" disabled={busy}>
          {isLater ? 'Queue' : 'Send now'}
        </button>
      </form>
      <p class="dim sm" role="status">
        {outcome !== '' ? (
          <b>{outcome}. </b>
        ) : isLater ? (
          'Kept until the device is back. '
        ) : (
          `Waits ${waitSeconds} s for the answer. `
        )}
        <button type="button" class="link" onClick={() => setLater(!isLater)}>
          {isLater ? 'Send now instead' : 'Deliver when online'}
        </button>
      </p>
      {failure !== undefined && <Problem failure={failure} />}
    </>
  );
}

function age(ms: number): string {
  return duration(Math.max(0, ms < 10_000 ? Math.floor(ms / 100) * 100 : Math.floor(ms / 1_000) * 1_000));
}

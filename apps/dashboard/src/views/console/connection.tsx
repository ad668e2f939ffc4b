import { now, serverNow } from '../../clock.ts';
import { duration, plural } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { liveState } from '../../live.ts';
import { type ResumeFacts, resumedText } from './sentences.ts';

export interface ConnectionFacts extends ResumeFacts {
  readonly sessionId: string | undefined;
  /** From the arrival of a reading at the platform to this page. */
  readonly delays: readonly number[];
  readonly devices: readonly string[];
  readonly conflated: number;
}

/** The socket of this page: is it open, how late is what comes, and was anything missed? */
export function Connection({ facts }: { readonly facts: ConnectionFacts }) {
  void now.value;
  const state = liveState.value;
  const resumed = resumedText(facts);
  const mark =
    state.kind === 'open' ? (
      <>
        <Icon name="on" tone="wirec" /> open
      </>
    ) : (
      <span class="warn">
        <Icon name="stale" />{' '}
        {state.kind === 'lost'
          ? `lost, next try in ${duration(Math.max(0, state.retryAt - Date.now()))}`
          : 'connecting'}
      </span>
    );
  const p99 = percentile(facts.delays, 0.99);
  return (
    <>
      <div class="h">
        <h2>Connection</h2>
        <span class="r">{mark}</span>
      </div>
      <dl class="kv kv2">
        <dt>Socket</dt>
        <dd class="mono">/ws · fleetwire.v1.json</dd>
        <dt>Session</dt>
        <dd class="mono">
          {facts.sessionId?.slice(0, 8) ?? '—'}
          {state.kind === 'open' && ` · ${duration(Date.now() - state.since)}`}
        </dd>
        <dt>Delay</dt>
        <dd>
          {p99 === undefined
            ? 'no reading yet'
            : `${Math.round(p99)} ms from arrival to here, p99 of ${facts.delays.length}`}
        </dd>
        <dt>Resumed</dt>
        <dd>
          {resumed.text}
          <b>{resumed.verdict}</b>
        </dd>
        <dt>Watching</dt>
        <dd>
          {facts.devices.length === 0
            ? 'all devices'
            : plural(facts.devices.length, 'device or pattern', 'devices and patterns')}
          , merged: {facts.conflated === 0 ? 'none' : plural(facts.conflated, 'reading')}
        </dd>
      </dl>
    </>
  );
}

function percentile(values: readonly number[], share: number): number | undefined {
  return values.toSorted((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))];
}

export function delayOf(receivedAt: string | undefined): number | undefined {
  return receivedAt === undefined ? undefined : Math.max(0, serverNow() - Date.parse(receivedAt));
}

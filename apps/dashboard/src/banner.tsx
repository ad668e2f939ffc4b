import { useEffect, useState } from 'preact/hooks';
import { now } from './clock.ts';
import { Icon } from './icons.tsx';
import { installation } from './installation.ts';
import { liveState, reconnectNow, recovered } from './live.ts';
import { backText, outageText } from './sentences.ts';

/** A break shorter than this is over before it could be read. */
const noticeableMs = 1_500;
const backForMs = 5_000;

/** Below the wire: what does not answer, since when, what goes on without it; and after a break what became of what was missed. */
export function Banner() {
  const state = liveState.value;
  const back = recovered.value;
  const [isBack, setBack] = useState(false);
  useEffect(() => {
    if (back === undefined || back.backAt - back.lostAt < noticeableMs) return;
    setBack(true);
    // What is still being read is told until it is here.
    if (back.verdict === 'reading') return;
    const timer = setTimeout(() => setBack(false), backForMs);
    return () => clearTimeout(timer);
  }, [back]);

  const lost =
    state.kind === 'lost' && now.value - state.since >= noticeableMs
      ? { since: state.since, retryMs: Math.max(0, state.retryAt - Date.now()) }
      : undefined;
  const status = installation.value?.status.state.value;
  const api =
    status?.failure !== undefined && isUnanswered(status.failure.status) ? { since: status.receivedAt } : undefined;
  const outage = outageText({ live: lost, api, now: now.value });
  if (outage !== undefined)
    return (
      <div class="banner" role="status">
        <Icon name="warn" tone="warn" />
        <span>
          <b>{outage.what}</b> {outage.rest}
        </span>
        <span class="grow" />
        <button
          class="btn sm"
          type="button"
          onClick={() => {
            if (lost !== undefined) reconnectNow();
            if (api !== undefined) installation.peek()?.status.refresh();
          }}
        >
          Try now
        </button>
      </div>
    );
  if (state.kind !== 'open' || !isBack || back === undefined) return null;
  const { verdict, backAt, lostAt } = back;
  const isWell = verdict === 'resumed' || verdict === 'present';
  return (
    <div class="banner back" role="status" data-verdict={verdict}>
      {isWell ? <Icon name="ok" tone="okc" /> : <Icon name="info" tone="dim" />}
      <span>{backText(verdict, backAt - lostAt, lostAt)}</span>
    </div>
  );
}

/** No answer at all, or one of the proxy in its place. */
function isUnanswered(status: number | undefined): boolean {
  return status === undefined || (status >= 502 && status <= 504);
}

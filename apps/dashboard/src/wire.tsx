import { count, duration, rate } from './format.ts';
import { fleetCounts } from './fleet.ts';
import { Icon } from './icons.tsx';
import { installation, minuteRates, workQueue } from './installation.ts';
import { liveState } from './live.ts';
import { isOperator } from './session.ts';

/** From this age on the backlog is something to look at. */
const backlogSeconds = 5;

/** devices → ingest → queue → worker → Postgres → API: one line with live numbers, on every page. */
export function Wire() {
  const online = fleetCounts.value?.online;
  const status = installation.value?.status.state.value.data;
  const queue = workQueue.value;
  const rates = minuteRates.value;
  const operator = isOperator();
  const age = queue?.oldest.ageSeconds ?? 0;
  const behind = queue !== undefined && age >= backlogSeconds;
  const queued = queue?.readingsEstimate ?? queue?.ready;
  const thickest = Math.max(rates?.received ?? 0, rates?.stored ?? 0);
  const down = status?.database.state === 'down';
  const lost = liveState.value.kind === 'lost' ? ' lost' : '';

  const Line = operator ? 'a' : 'div';
  const link = operator ? { href: '/pipeline', title: 'Open Pipeline' } : {};

  return (
    <>
      <Line class={`wire no-phone${lost}`} {...link}>
        <span class="seen-not">The pipeline:</span>
        <Stage>
          <Value value={online} format={count} /> online
        </Stage>
        {operator && (
          <>
            <Segment rate={rates?.received} of={thickest} />
            <Stage>
              ingest <Value value={rates?.received} format={perSecond} />
            </Stage>
            <Segment rate={rates?.received} of={thickest} />
            {behind ? (
              <>
                <span class="st warn">
                  <Icon name="warn" />
                  <b class="warn">{count(queued ?? 0)}</b> queued · {duration(age * 1_000)}
                </span>
                <Swell />
              </>
            ) : (
              <>
                <Stage>
                  <Value value={queued} format={count} /> queued
                </Stage>
                <Segment rate={rates?.stored} of={thickest} />
              </>
            )}
            <Stage>
              worker <Value value={rates?.stored} format={perSecond} />
            </Stage>
            <Segment rate={rates?.stored} of={thickest} />
            <span class={`st${down ? ' crit' : ''}`}>
              {down ? <Icon name="crit" /> : <i class="node" />}Postgres{' '}
              {down ? <b class="crit">down</b> : <Value value={status?.database.latencyMs} format={milliseconds} />}
            </span>
          </>
        )}
        <i class="seg t1" />
        <Stage>
          API <Value value={status?.roundTripMs} format={milliseconds} />
        </Stage>
      </Line>
      <Line class={`wire only-phone flex${lost}`} {...link}>
        <span class="seen-not">The pipeline:</span>
        <Stage>
          {operator ? (
            <>
              in <Value value={rates?.received} format={perSecond} />
            </>
          ) : (
            <>
              <Value value={online} format={count} /> online
            </>
          )}
        </Stage>
        <Segment rate={rates?.received} of={thickest} />
        {operator && (
          <>
            <span class={`st${behind ? ' warn' : ''}`}>
              <b class={behind ? 'warn' : ''}>{queued === undefined ? '—' : count(queued)}</b> queued
            </span>
            {behind ? <Swell /> : <Segment rate={rates?.stored} of={thickest} />}
            <Stage>
              stored <Value value={rates?.stored} format={perSecond} />
            </Stage>
          </>
        )}
      </Line>
    </>
  );
}

function Stage({ children }: { readonly children: preact.ComponentChildren }) {
  return (
    <span class="st">
      <i class="node" />
      {children}
    </span>
  );
}

function Value({ value, format }: { readonly value: number | undefined; readonly format: (value: number) => string }) {
  return <b>{value === undefined ? '—' : format(value)}</b>;
}

/** Its thickness is the rate, of the greatest on the line. */
function Segment({ rate: own, of }: { readonly rate: number | undefined; readonly of: number }) {
  const thickness = own === undefined || own === 0 ? 't1' : own >= of * 0.75 ? 't5' : own >= of * 0.3 ? 't3' : 't2';
  return <i class={`seg ${thickness}`} />;
}

function Swell() {
  return (
    <svg class="swell" viewBox="0 0 250 24" preserveAspectRatio="none" aria-hidden="true">
      <path
        d="M0 10.5C50 10.5 70 2 130 2 200 2 225 9.5 250 9.5V14.5C225 14.5 200 22 130 22 70 22 50 13.5 0 13.5z"
        fill="currentColor"
        fill-opacity=".28"
      />
      <path d="M0 12h250" stroke="var(--wire)" stroke-width="2.5" />
    </svg>
  );
}

const perSecond = (value: number) => `${rate(value)}/s`;
const milliseconds = (value: number) => (value < 1 ? '<1 ms' : `${Math.round(value)} ms`);

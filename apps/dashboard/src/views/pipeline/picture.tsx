import { useEffect, useRef, useState } from 'preact/hooks';
import { count, duration, rate } from '../../format.ts';
import { hourAndMinute, timeOfDay } from '../../times.ts';
import type { InstanceFacts, PipelineFacts, QueueFacts } from './facts.ts';
import { type Stage, ageX, band, shortName, stageOf, thickness, vessel } from './geometry.ts';
import { backPressure, fullText, stageSentences, stoppedText, vesselLines } from './sentences.ts';

const ingestPlaces = { left: 84, boxLeft: 214, boxRight: 342, right: 470, boxPx: 28, gapPx: 10, boxesMax: 4 };
const workerPlaces = { left: 800, boxLeft: 944, boxRight: 1072, right: 1120, boxPx: 41, gapPx: 8, boxesMax: 2 };
const marks = [
  [900, '15 min'],
  [300, '5'],
  [60, '1 min'],
  [10, '10 s'],
  [1, '1 s'],
] as const;
/** Alarm thresholds of the oldest reading. */
const alarmSeconds = [60, 900];
const queueIsLateMs = 5_000;
const criticalFullness = 0.8;
/** A box of this height has room for a second line. */
const twoLinesPx = 40;

/** The way of the data with live numbers. A dash moves only where readings flow now. */
export function Picture({ facts }: { readonly facts: PipelineFacts }) {
  const svg = useRef<SVGSVGElement>(null);
  const [isVisible, setVisible] = useState(true);
  useEffect(() => {
    const observer = new IntersectionObserver(([entry]) => setVisible(entry?.isIntersecting ?? true));
    observer.observe(svg.current!);
    return () => observer.disconnect();
  }, []);
  const { queue, devices, highestPerSecond: highest, database } = facts;
  const entering = facts.inPerSecond ?? 0;
  const leaving = facts.storedPerSecond ?? 0;
  const said = stageSentences(facts);
  const ingest = stageOf(facts.ingest, entering, highest, ingestPlaces);
  const workers = stageOf(facts.workers, leaving, highest, workerPlaces);
  const draining = (queue?.netPerSecond ?? 0) < 0 && (queue?.oldestMs ?? 0) >= queueIsLateMs;
  const speed = draining ? 'flowline fast' : 'flowline';
  const flowsIn = facts.isFresh && entering > 0;
  const flowsOut = facts.isFresh && leaving > 0;
  const presses = (facts.nackedPerSecond ?? 0) > 0;
  const openBreakers = facts.circuits.filter(({ state }) => state !== 'closed');
  const branch = (ingest.boxes[0]?.y ?? 112) + 8;
  const below = Math.max(146, ...workers.boxes.map(({ y, heightPx }) => y + heightPx));
  const reading = thickness(leaving === 0 ? 0 : 1, highest);
  return (
    <svg
      ref={svg}
      class={`pipe${isVisible ? '' : ' paused'}`}
      viewBox="0 0 1392 250"
      role="group"
      aria-label="The way of the data"
    >
      <Heading x={0}>DEVICES</Heading>
      <Heading x={214}>INGEST</Heading>
      <Heading x={470}>QUEUE telemetry.persist</Heading>
      <Heading x={944}>WORKER</Heading>
      <Heading x={1120}>POSTGRES</Heading>
      <Heading x={1284}>API</Heading>

      <Group label={said.devices}>
        <text x="0" y="118" class="big">
          {devices === undefined ? '—' : count(devices.online)}
        </text>
        <text x="0" y="136">
          {devices === undefined ? 'devices' : `of ${count(devices.total)}`}
        </text>
        <text x="0" y="151">
          online
        </text>
      </Group>

      <path class="back" d="M470 44H64V92" />
      <path class="backhead" d="m60 86 4 8 4-8" />
      <text x="72" y="38">
        ack after the broker's confirm
      </text>

      <Group label={`${said.ingest}. ${said.ingestNote}.`}>
        <Flow stage={ingest} flows={flowsIn} speed="flowline" />
        {ingest.boxes.map((box) => (
          <Box key={box.id} {...box} left={214} />
        ))}
        {ingest.boxes.length === 0 && (
          <text x="214" y="130">
            {facts.areInstancesKnown ? 'no instance runs' : 'not asked yet'}
          </text>
        )}
        {ingest.more > 0 && (
          <text x="214" y="212">
            and {count(ingest.more)} more
          </text>
        )}
        {presses && <path class="pressure" d="M96 104v44" />}
        <text x="84" y="222" class={presses ? 'w' : ''}>
          {backPressure(facts.nackedPerSecond)}
        </text>
      </Group>

      <Vessel queue={queue} peak={facts.peak} label={`${said.queue}. ${said.queueNote}`} flowsIn={flowsIn} />

      <Group label={`${said.workers}. ${said.workersNote}`}>
        <Flow stage={workers} flows={flowsOut && facts.holding === 0} speed={speed} />
        {workers.boxes.map((box) => (
          <Box key={box.id} {...box} left={944} />
        ))}
        {workers.boxes.length === 0 && (
          <text x="944" y="130" class={facts.areInstancesKnown ? 'w' : ''}>
            {facts.areInstancesKnown ? 'no instance runs' : 'not asked yet'}
          </text>
        )}
        {workers.more > 0 && (
          <text x="944" y="190">
            and {count(workers.more)} more
          </text>
        )}
      </Group>

      <Group label={said.postgres}>
        <rect
          class={`box${database?.state === 'down' ? ' critical' : ''}`}
          x="1120"
          y="84"
          width="124"
          height="84"
          rx="3"
        />
        <text x="1131" y="106" class="big">
          {facts.storedPerSecond === undefined ? '—' : rate(facts.storedPerSecond)}
          <tspan class="unit"> /s</tspan>
        </text>
        <text x="1131" y="124">
          stored
        </text>
        <text x="1131" y="140" class={database?.state === 'down' ? 'c' : ''}>
          {database === undefined || database.state === 'unknown'
            ? 'not asked yet'
            : database.state === 'down'
              ? 'does not answer'
              : `answers in ${count(database.latencyMs ?? 0)} ms`}
        </text>
        <text x="1131" y="156" class={facts.holding > 0 ? 'w' : ''}>
          {facts.holding > 0 ? `${count(facts.holding)} holding` : 'no worker holds'}
        </text>
      </Group>

      {reading > 0 && database?.state !== 'down' && (
        <>
          <path class="flow" d={band(1244, 126, 1284, 126, reading)} />
          {facts.isFresh && <path class="flowline" d="M1246 126H1284" />}
        </>
      )}
      <Group label={`${said.api}. ${said.apiNote}`}>
        <rect class="box" x="1284" y="84" width="108" height="84" rx="3" />
        <text x="1295" y="106" class="big">
          {facts.apiMs === undefined ? '—' : count(Math.max(1, facts.apiMs))}
          <tspan class="unit"> ms</tspan>
        </text>
        <text x="1295" y="124">
          this answer
        </text>
        <text x="1295" y="140">
          {facts.circuits.length} breakers
        </text>
        <text x="1295" y="156" class={openBreakers.length > 0 ? 'w' : ''}>
          {openBreakers.length === 0
            ? 'all closed'
            : `${openBreakers.length} ${openBreakers.some(({ state }) => state === 'open') ? 'open' : 'half-open'}`}
        </text>
      </Group>

      <path class="back wirel" d={`M342 ${branch}C380 ${branch} 380 58 420 58H1340V82`} />
      <path class="backhead wirel" d="m1336 76 4 8 4-8" />
      <text x="944" y="52" class="wi">
        live updates do not wait for storage
      </text>

      <Retries facts={facts} said={said.retries} from={below} />
      <DeadLetterBox facts={facts} from={below} />
    </svg>
  );
}

function Heading({ x, children }: { readonly x: number; readonly children: string }) {
  return (
    <text x={x} y="14" class="stage">
      {children}
    </text>
  );
}

/** A stage that the keyboard reaches, with one sentence. */
function Group({ label, children }: { readonly label: string; readonly children: preact.ComponentChildren }) {
  return (
    <g tabindex={0} role="img" aria-label={label.replace(/[\s.]*$/, '.')} class="part">
      {children}
    </g>
  );
}

function Flow({ stage, flows, speed }: { readonly stage: Stage; readonly flows: boolean; readonly speed: string }) {
  return (
    <>
      {stage.ribbons.map(({ id, band: before, line, out }) => (
        <g key={id}>
          <path class="flow" d={before} />
          <path class="flow" d={out.band} />
          {flows && <path class={speed} d={line} />}
          {flows && <path class={speed} d={out.line} />}
        </g>
      ))}
    </>
  );
}

function Box({
  name,
  y,
  heightPx,
  left,
  perSecond,
  stoppedAt,
  note,
}: InstanceFacts & { readonly y: number; readonly heightPx: number; readonly left: number }) {
  const stopped = stoppedAt !== undefined;
  const state = stopped ? 'stopped' : perSecond === undefined ? '' : `${rate(perSecond)}/s`;
  return (
    <g>
      <title>{stopped ? stoppedText({ name, stoppedAt }) : name}</title>
      <rect class={`box${stopped ? ' dead' : ''}`} x={left} y={y} width="128" height={heightPx} rx="3" />
      <text x={left + 10} y={y + 17} class="strong">
        {shortName(name, state === '' ? 15 : 9)}
      </text>
      <text x={left + 118} y={y + 17} text-anchor="end">
        {state}
      </text>
      {note !== '' && (
        <text x={left + 10} y={y + 32} class={note === 'holding' ? 'w' : ''}>
          {note}
        </text>
      )}
      {stopped && (
        <text x={left + 10} y={y + (heightPx < twoLinesPx ? heightPx + 16 : 32)} class="w">
          silent since {timeOfDay(stoppedAt)}
        </text>
      )}
    </g>
  );
}

/** The queue on a logarithmic axis of time: filled up to the age of its oldest reading. */
function Vessel({
  queue,
  peak,
  label,
  flowsIn,
}: {
  readonly queue: QueueFacts | undefined;
  readonly peak: PipelineFacts['peak'];
  readonly label: string;
  readonly flowsIn: boolean;
}) {
  const { left, right, top, bottom } = vessel;
  const isFull = (queue?.fullness ?? 0) >= criticalFullness;
  const isLate = (queue?.oldestMs ?? 0) >= queueIsLateMs;
  const x = queue === undefined || queue.messages === 0 ? right : ageX((queue.oldestMs ?? 0) / 1_000);
  const [oldest, end] = queue === undefined ? ['', ''] : vesselLines(queue);
  // The words stand in the filled part, or before it where that is narrow.
  const words = right - x > 200 ? x + 12 : left + 20;
  const number = queue === undefined ? '—' : count(queue.readings ?? queue.messages);
  const unit = queue?.readings === undefined && (queue?.messages ?? 0) > 0 ? 'messages' : 'readings';
  return (
    <Group label={label}>
      {queue !== undefined && (
        <text x={right} y="32" text-anchor="end" class={isFull ? 'c' : ''}>
          {fullText(queue)}
        </text>
      )}
      <rect
        class={`vessel${isFull ? ' critical' : ''}`}
        x={left}
        y={top}
        width={right - left}
        height={bottom - top}
        rx="3"
      />
      {x < right && (
        <>
          <rect class={isLate ? 'fill' : 'fill normal'} x={x} y={top + 1} width={right - x} height={bottom - top - 2} />
          <path class={isLate ? 'fillend' : 'fillend normal'} d={`M${x} ${top}V${bottom}`} />
        </>
      )}
      {flowsIn && words > left + 100 && <path class="flowline" d={`M${left + 4} 126H${x - 6}`} />}
      {marks.map(([seconds, text]) => (
        <g key={seconds}>
          <path class="axis" d={`M${ageX(seconds)} ${bottom}v5`} />
          <text x={ageX(seconds)} y={bottom + 17} text-anchor={seconds === 900 ? 'start' : 'middle'}>
            {text}
          </text>
        </g>
      ))}
      {peak !== undefined && peak.seconds * 1_000 >= queueIsLateMs && (
        <>
          <path class="ev" d={`M${ageX(peak.seconds)} 80V${bottom}`} />
          <text x={Math.min(ageX(peak.seconds) + 4, 640)} y="78">
            peak {duration(peak.seconds * 1_000)} at {hourAndMinute(peak.at)}
          </text>
        </>
      )}
      {alarmSeconds.map((seconds) => (
        <path key={seconds} class="alarm-mark" d={`M${ageX(seconds)} ${bottom - 6}v6`} />
      ))}
      <text x={words} y="114">
        <tspan class={isLate ? 'big w' : 'big'}>{number}</tspan>
        <tspan class="strong" dx="8">
          {unit}
        </tspan>
      </text>
      <text x={words} y="134" class="strong">
        {oldest}
      </text>
      <text x={words} y="151" class="strong">
        {end}
      </text>
    </Group>
  );
}

function Retries({
  facts,
  said,
  from,
}: {
  readonly facts: PipelineFacts;
  readonly said: string;
  /** Bottom of the workers. */
  readonly from: number;
}) {
  const waiting = facts.retries.some(({ messages }) => messages > 0);
  return (
    <Group label={said}>
      <text x="560" y="230">
        retry after
      </text>
      {facts.retries.map(({ label, messages }, index) => (
        <g key={label}>
          <rect class="box" x={640 + index * 86} y="214" width="76" height="24" rx="3" />
          <text x={648 + index * 86} y="230">
            {label}
          </text>
          <text x={708 + index * 86} y="230" text-anchor="end" class={messages > 0 ? 'strong' : ''}>
            {count(messages)}
          </text>
        </g>
      ))}
      <path class={`retry${waiting ? ' on' : ''}`} d={`M1008 ${from}V226H898`} />
      <path class={`retryhead${waiting ? ' on' : ''}`} d="m905 221-8 5 8 5" />
      <path class={`retry${waiting ? ' on' : ''}`} d="M548 226H500V192" />
      <path class={`retryhead${waiting ? ' on' : ''}`} d="m495 199 5-8 5 8" />
      <text x="908" y="242">
        failed, may pass
      </text>
    </Group>
  );
}

const arrivingMs = 5 * 60_000;

function DeadLetterBox({ facts, from }: { readonly facts: PipelineFacts; readonly from: number }) {
  const open = facts.deadLetters?.open ?? 0;
  const arrives = open > 0 && facts.now - (facts.deadLetters?.newestAt ?? 0) < arrivingMs;
  return (
    <a href="/dead-letters" class="part">
      <path class={`retry${arrives ? ' on' : ''}`} d={`M1040 ${from}V226H1124`} />
      <path class={`retryhead${arrives ? ' on' : ''}`} d="m1117 221 8 5-8 5" />
      <rect class="box" x="1126" y="214" width="266" height="24" rx="3" />
      <text x="1136" y="230" class="strong">
        dead letters
      </text>
      <text x="1382" y="230" text-anchor="end" class={open > 0 ? 'w' : ''}>
        {facts.deadLetters === undefined ? 'not known' : `${count(open)} open${arrives ? ' · arriving now' : ''}`}
      </text>
      <text x="1052" y="242">
        refused
      </text>
    </a>
  );
}

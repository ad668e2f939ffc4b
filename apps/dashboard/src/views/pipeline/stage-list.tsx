import type { ComponentChildren } from 'preact';
import { Icon } from '../../icons.tsx';
import type { PipelineFacts } from './facts.ts';
import { stageSentences, stoppedText } from './sentences.ts';

const queueIsLateMs = 5_000;

/** The picture as a list from above to below: on the phone. */
export function StageList({ facts }: { readonly facts: PipelineFacts }) {
  const said = stageSentences(facts);
  const { highestPerSecond: highest, inPerSecond = 0, storedPerSecond = 0 } = facts;
  const late = (facts.queue?.oldestMs ?? 0) >= queueIsLateMs;
  return (
    <ol class="vpipe">
      <Stage name={said.devices} line={lineOf(inPerSecond, highest)} />
      <Stage name={said.ingest} line={lineOf(inPerSecond, highest)}>
        <span class={(facts.nackedPerSecond ?? 0) > 0 ? 'warn' : ''}>{said.ingestNote}</span>
        {facts.ingest
          .filter(({ stoppedAt }) => stoppedAt !== undefined)
          .map((one) => (
            <span key={one.id} class="warn">
              <Icon name="off" /> {stoppedText(one)}
            </span>
          ))}
      </Stage>
      <Stage name={said.queue} line={`${lineOf(storedPerSecond, highest)}${late ? ' swl' : ''}`} warns={late}>
        {said.queueNote !== '' && <span>{said.queueNote}</span>}
        <span>{said.retries}</span>
        {said.deadLetters !== '' && (
          <span>
            dead letters:{' '}
            <a class="link" href="/dead-letters">
              {said.deadLetters}
            </a>
          </span>
        )}
      </Stage>
      <Stage name={said.workers} line={lineOf(storedPerSecond, highest)}>
        {said.workersNote !== '' && <span class="warn">{said.workersNote}</span>}
      </Stage>
      <Stage name={said.postgres} line="t2" />
      <Stage name={said.api} line="">
        <span>{said.apiNote}</span>
      </Stage>
    </ol>
  );
}

function Stage({
  name,
  line,
  warns = false,
  children,
}: {
  readonly name: string;
  readonly line: string;
  readonly warns?: boolean;
  readonly children?: ComponentChildren;
}) {
  return (
    <li class={line}>
      <i class="node" />
      <b class={warns ? 'warn' : ''}>
        {warns && <Icon name="warn" />} {name}
      </b>
      {children}
    </li>
  );
}

/** Thickness of the line below a stage. */
function lineOf(perSecond: number, highest: number): string {
  if (perSecond === 0) return 't1';
  return perSecond >= highest * 0.75 ? 't5' : perSecond >= highest * 0.3 ? 't3' : 't2';
}

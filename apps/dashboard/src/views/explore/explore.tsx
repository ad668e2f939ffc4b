import '../../styles/explore.css';
import { useSignal } from '@preact/signals';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { type Failure, answerOf, api } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { Chart, SeriesMark } from '../../chart/chart.tsx';
import { serverNow } from '../../clock.ts';
import { copy } from '../../download.ts';
import { fleetVersion } from '../../fleet.ts';
import { plural } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { addShortcuts } from '../../keyboard.ts';
import { query, setQuery, writeQuery } from '../../query.ts';
import { createResource } from '../../resource.ts';
import { phaseOf } from '../../resource-state.ts';
import { zone } from '../../times.ts';
import {
  type SeriesAnswer,
  type TooDear,
  answeredText,
  bucketMsOf,
  drawingOf,
  leftOutText,
  linesOf,
  tooDear,
} from './answer.ts';
import { AnswerTable } from './answer-table.tsx';
import { type Tool, byHand } from './by-hand.ts';
import { ExportPanel } from './export-panel.tsx';
import { type Question, changed, firstQuestion, listOf, questionNames, questionOf, searchOf } from './question.ts';
import { QuerySentence } from './query-sentence.tsx';
import { otherQuestions } from './other-questions.ts';
import { unitOf, useVocabulary } from './vocabulary.ts';

interface Answered {
  readonly question: Question;
  readonly answer: SeriesAnswer;
}

/** Any question about history, and its answer to take away. The address of the page is the question. */
export default function Explore(_: { readonly path: string }) {
  const words = useVocabulary();
  const asked = questionOf(query.value, zone.value);
  const [draft, setDraft] = useState<Question | undefined>(asked);
  const search = asked === undefined ? undefined : searchOf(asked);
  const cursor = useSignal<number | undefined>(undefined);
  const [tool, setTool] = useState<Tool>('curl');
  const [said, say] = useState('');
  const root = useRef<HTMLDivElement>(null);
  /** The questions before each zoom. */
  const zoomed = useRef<Question[]>([]);

  // The address has changed: by Run, by a link, or by Back.
  useEffect(() => {
    if (asked !== undefined) setDraft(asked);
  }, [search]);
  // Nothing is asked yet: the page begins with a metric that the fleet has.
  useEffect(() => {
    if (asked === undefined && words.metrics[0] !== undefined)
      run(firstQuestion(words.metrics[0], words.total, zone.peek()));
  }, [asked === undefined, words.metrics[0]]);

  const resource = useMemo(
    () => createResource<Answered | undefined>(async (signal) => ask(questionOf(query.peek(), zone.peek()), signal)),
    [],
  );
  useEffect(() => () => resource.stop(), [resource]);
  const first = useRef(true);
  useEffect(() => {
    if (first.current) first.current = false;
    else resource.ask((signal) => ask(questionOf(query.peek(), zone.peek()), signal));
  }, [search]);

  function run(question: Question | undefined = draft): void {
    if (question === undefined || listOf(question.metrics).length === 0) return;
    const same = searchOf(question) === search;
    setDraft(question);
    setQuery(Object.fromEntries(questionNames.map((name) => [name, question[name]])));
    writeQuery();
    if (same) resource.refresh();
  }

  const latestRun = useRef(run);
  latestRun.current = run;
  useEffect(() => {
    const onKeyDown = (event: KeyboardEvent) => {
      if (event.key !== 'Enter' || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      latestRun.current();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
  useEffect(
    () =>
      addShortcuts([
        {
          keys: 'r',
          does: 'The range of the question',
          run: () => root.current?.querySelector<HTMLElement>('[aria-label^="From:"]')?.focus(),
        },
      ]),
    [],
  );

  const state = resource.state.value;
  const phase = phaseOf(state, Date.now());
  const dear = tooDear(state.failure);
  const shown = state.data;
  const units = fleetVersion.value;
  const view = useMemo(() => {
    if (shown === undefined) return undefined;
    const lines = linesOf(shown.answer, shown.question, unitOf);
    const bucketMs = bucketMsOf(shown.answer.t);
    return { lines, bucketMs, ...drawingOf(shown.answer, lines, bucketMs) };
  }, [shown, units]);
  const isChanged = draft !== undefined && asked !== undefined && searchOf(draft) !== search;

  async function copyText(text: string, what: string): Promise<void> {
    say((await copy(text)) ? `${what} copied` : `${what} could not be copied`);
  }

  const question: Question = draft ?? {};
  return (
    <div class="explore" ref={root}>
      <section class="query">
        <h1 class="skip">Explore: questions about history</h1>
        {draft === undefined ? (
          <p class="sentence">
            {words.isKnown
              ? 'No device has sent a reading yet: there is nothing to ask about.'
              : 'Looking for metrics…'}
          </p>
        ) : (
          <QuerySentence
            question={question}
            answered={isChanged ? undefined : shown?.answer}
            words={words}
            onChange={setDraft}
          />
        )}
        <div class="bar qbar">
          <button class="btn main" type="button" disabled={draft === undefined} onClick={() => run()}>
            Run <span class="kbd onw no-phone">Ctrl ↵</span>
          </button>
          <button
            class="btn"
            type="button"
            onClick={() => {
              writeQuery();
              void copyText(location.href, 'Link');
            }}
          >
            <Icon name="copy" />
            Link to this view
          </button>
          <button
            class="btn"
            type="button"
            disabled={asked === undefined}
            onClick={() => void copyText(byHand[tool](asked!), tool)}
          >
            Copy as {tool}
          </button>
          <span role="status" class="dim sm0">
            {isChanged ? 'Changed: run it to see the answer.' : said}
          </span>
          <span class="grow" />
          {shown !== undefined && dear === undefined && (
            <span class="dim nw answered">
              {answeredText(shown.answer, shown.question.groupBy, serverNow()).join(' · ')}
            </span>
          )}
        </div>
      </section>
      {dear !== undefined && (
        <Refusal dear={dear} onAsk={(nearest) => run({ ...asked, ...changed(asked!, nearest) })} />
      )}
      {dear === undefined && state.failure !== undefined && (
        <Failed failure={state.failure} onRetry={() => resource.refresh()} />
      )}
      <div class="cols" id="excols">
        <section>
          <div class={`h${phase === 'refreshing' ? ' refreshing' : ''}`}>
            <h2>{headingOf(shown, unitOf)}</h2>
            {view !== undefined && view.of > view.drawn && (
              <span>
                {view.drawn} of {view.of} drawn: those with the largest spread
              </span>
            )}
            <span class="r key">
              {view?.data.series
                .filter(({ faint }) => faint !== true)
                .map((line) => (
                  <span class="key" key={line.id}>
                    <SeriesMark slot={line.slot} />
                    {line.label}
                  </span>
                ))}
              {shown?.question.offset !== undefined && (
                <span class="key">
                  <svg viewBox="0 0 22 8" aria-hidden="true">
                    <path class="ln s1b" d="M0 4h22" />
                  </svg>
                  before
                </span>
              )}
            </span>
          </div>
          {phase === 'loading' && (
            <p class="dim" role="status">
              Asking about {plural(listOf(asked?.metrics).length, 'metric')}…{' '}
              <button class="btn sm" type="button" onClick={() => resource.cancel()}>
                Cancel
              </button>
            </p>
          )}
          {shown !== undefined && view !== undefined && (
            <div class={state.failure === undefined ? undefined : 'stale-data'}>
              <Chart
                title={headingOf(shown, unitOf)}
                data={view.data}
                from={Date.parse(shown.answer.covers.from)}
                to={Date.parse(shown.answer.covers.to)}
                cursor={cursor}
                heightPx={316}
                ends="margin"
                unit={unitOf(listOf(shown.question.metrics)[0] ?? '')}
                fromZero={view.lines.every(({ agg }) => ['count', 'rate', 'increase', 'distinct'].includes(agg))}
                completeUntil={untilOf(shown.answer)}
                onZoom={(from, to) => {
                  zoomed.current.push(shown.question);
                  run({ ...shown.question, from: new Date(from).toISOString(), to: new Date(to).toISOString() });
                }}
                onZoomBack={() => run(zoomed.current.pop())}
                onTwin={() => root.current?.querySelector<HTMLElement>('.twin [role=row][tabindex="0"]')?.focus()}
              />
              <p class="dim sm0">{leftOutText(shown.answer)}</p>
              <AnswerTable answer={shown.answer} lines={view.lines} bucketMs={view.bucketMs} cursor={cursor} />
            </div>
          )}
        </section>
        <section class="side">
          <ExportPanel question={shown?.question ?? question} answer={dear === undefined ? shown?.answer : undefined} />
          {asked !== undefined && (
            <>
              <div class="h sp">
                <h2>The same by hand</h2>
                <span class="r">
                  <span class="seg-ctl sm" role="group" aria-label="Tool">
                    {(Object.keys(byHand) as Tool[]).map((one) => (
                      <button key={one} type="button" aria-pressed={one === tool} onClick={() => setTool(one)}>
                        {one}
                      </button>
                    ))}
                  </span>
                </span>
              </div>
              <pre class="code wrap" tabIndex={0} aria-label={`The question in ${tool}`}>
                {byHand[tool](asked)}
              </pre>
            </>
          )}
          {asked !== undefined && (
            <>
              <div class="h sp">
                <h2>Other questions</h2>
              </div>
              <ul class="att tightatt">
                {otherQuestions(asked).map(({ text, question: other }) => (
                  <li key={text}>
                    <span />
                    <a class="t" href={`/explore?${searchOf(other)}`}>
                      {text}
                    </a>
                    <span class="w" />
                  </li>
                ))}
              </ul>
            </>
          )}
        </section>
      </div>
    </div>
  );
}

async function ask(question: Question | undefined, signal: AbortSignal): Promise<Answered | undefined> {
  if (question === undefined) return undefined;
  const answer = await answerOf(api.GET('/api/v1/series', { params: { query: question as never }, signal }));
  return { question, answer: answer as SeriesAnswer };
}

function headingOf(shown: Answered | undefined, unit: (metric: string) => string): string {
  const metrics = listOf(shown?.question.metrics);
  const [first] = metrics;
  if (first === undefined) return 'Answer';
  if (metrics.length > 1) return metrics.join(', ');
  return unit(first) === '' ? first : `${first}, ${unit(first)}`;
}

function untilOf({ covers: { completeUntil, to } }: SeriesAnswer): number | undefined {
  return completeUntil === null || completeUntil >= to ? undefined : Date.parse(completeUntil);
}

function Refusal({ dear, onAsk }: { readonly dear: TooDear; readonly onAsk: (question: Question) => void }) {
  return (
    <div class="problem refusal" role="alert">
      <Icon name="warn" tone="warn" />
      <span>
        <b>This question is too dear.</b> {dear.text}
      </span>
      {dear.nearest !== undefined && (
        <button class="btn sm" type="button" onClick={() => onAsk(dear.nearest!.question)}>
          {dear.nearest.label}
        </button>
      )}
    </div>
  );
}

function Failed({ failure, onRetry }: { readonly failure: Failure; readonly onRetry: () => void }) {
  return (
    <div class="refusal">
      <Problem failure={failure} onRetry={onRetry} />
    </div>
  );
}

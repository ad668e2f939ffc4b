import type { ComponentChildren } from 'preact';
import type { Failure } from './api.ts';
import { now } from './clock.ts';
import { copy } from './download.ts';
import { duration } from './format.ts';
import { Icon } from './icons.tsx';
import type { Resource } from './resource.ts';
import { phaseOf } from './resource-state.ts';
import type { Sentence } from './sentences.ts';

/** The state of a page in words; its `h1`. Changes are announced. */
export function Say({ sentence: { tone, text, detail } }: { readonly sentence: Sentence }) {
  const marks = {
    ok: ['ok', 'okc', 'Well'],
    warn: ['warn', 'warn', 'Warning'],
    crit: ['crit', 'crit', 'Critical'],
  } as const;
  const [name, color, label] = tone === 'none' ? [] : marks[tone];
  return (
    <section class="say" aria-live="polite">
      {name !== undefined && <Icon name={name} tone={color} label={label} />}
      <div>
        <h1>{text}</h1>
        {detail !== '' && <p>{detail}</p>}
      </div>
    </section>
  );
}

/** One figure of the row below the sentence. */
export function Figure({
  label,
  value,
  unit,
  mark,
}: {
  readonly label: string;
  readonly value: ComponentChildren;
  readonly unit?: ComponentChildren;
  readonly mark?: ComponentChildren;
}) {
  return (
    <div>
      <dt>
        {mark} {label}
      </dt>
      <dd>
        {value ?? '—'} {unit !== undefined && <small>{unit}</small>}
      </dd>
    </div>
  );
}

/**
 * The heading of an area with the state of its answer: a line while it is asked for again, and its age when it is old. What it shows stays.
 * @param about what is loaded, for the text while there is nothing yet: `24 h of 3 metrics`
 */
export function Area<Data>({
  title,
  note,
  right,
  resource,
  about,
  staleMs = Infinity,
  affects,
  children,
}: {
  readonly title: string;
  readonly note?: ComponentChildren;
  readonly right?: ComponentChildren;
  readonly resource?: Resource<Data> | undefined;
  readonly about?: string;
  readonly staleMs?: number;
  /** What an error means for the viewer: `History is unavailable; live goes on.` */
  readonly affects?: string;
  readonly children: (data: Data | undefined) => ComponentChildren;
}) {
  const state = resource?.state.value;
  const phase = state === undefined ? 'ready' : phaseOf(state, Math.max(now.value, Date.now()), staleMs);
  const loadingMs = state?.loadingSince === undefined ? 0 : Date.now() - state.loadingSince;
  const age = state?.receivedAt === undefined ? 0 : Date.now() - state.receivedAt;
  return (
    <>
      <div class={`h${phase === 'refreshing' ? ' refreshing' : ''}`}>
        <h2>{title}</h2>
        {note !== undefined && <span class="no-phone">{note}</span>}
        {phase === 'stale' && <span class="warn">{duration(age)} old</span>}
        {right !== undefined && <span class="r">{right}</span>}
      </div>
      {phase === 'loading' && (
        <p class="dim">
          Loading {about ?? title.toLowerCase()}…{' '}
          {loadingMs > 3_000 && (
            <button class="btn sm" type="button" onClick={() => resource!.cancel()}>
              Cancel
            </button>
          )}
        </p>
      )}
      {state?.failure !== undefined && (
        <Problem failure={state.failure} affects={affects} onRetry={() => resource!.refresh()} />
      )}
      <div class={phase === 'stale' ? 'stale-data' : undefined}>{children(state?.data)}</div>
    </>
  );
}

/** An error of an area: what the server says, what it means here, and the way out. */
export function Problem({
  failure,
  affects,
  onRetry,
}: {
  readonly failure: Failure;
  readonly affects?: string | undefined;
  readonly onRetry?: (() => void) | undefined;
}) {
  return (
    <div class="problem" role="status">
      <Icon name="warn" tone="warn" />
      <span>
        <b>{failure.title}.</b> {failure.detail} {affects}
      </span>
      {onRetry !== undefined && (
        <button class="btn sm" type="button" onClick={onRetry}>
          Try again
        </button>
      )}
      {failure.instance !== undefined && (
        <button class="btn sm quiet" type="button" onClick={() => void copy(failure.instance!)}>
          Copy request id
        </button>
      )}
    </div>
  );
}

import type { Ref } from 'preact';
import { useState } from 'preact/hooks';
import { copy } from '../../download.ts';
import { Icon } from '../../icons.tsx';
import { useNotice } from '../../notice.ts';
import { presets } from '../../ranges.ts';
import { span, zoneWithOffset } from '../../times.ts';
import { type Question, type Tool, copyAs, tools } from './copy-as.ts';
import type { DeviceRange } from './device-range.ts';

export function RangeBar({
  range,
  field,
  newReadings,
  question,
  onCsv,
}: {
  readonly range: DeviceRange;
  readonly field: Ref<HTMLInputElement>;
  readonly newReadings: number;
  readonly question: Question;
  readonly onCsv: () => void;
}) {
  const { typed, error } = range;
  return (
    <>
      <div class="bar rangebar">
        <span class="seg-ctl" role="group" aria-label="Range">
          {presets.map((preset, index) => (
            <button
              key={preset.label}
              type="button"
              class={index === 4 ? 'no-phone' : undefined}
              aria-pressed={typed.from === preset.from && typed.to === preset.to}
              onClick={() => range.set(preset)}
            >
              {preset.label}
            </button>
          ))}
        </span>
        <form class="typed no-phone" onSubmit={(event) => event.preventDefault()}>
          <RangeField
            name="from"
            label="From"
            value={typed.from}
            error={error?.field === 'from'}
            field={field}
            onSet={(from) => range.set({ ...typed, from })}
          />
          <span class="dim">to</span>
          <RangeField
            name="to"
            label="To"
            value={typed.to}
            error={error?.field === 'to'}
            onSet={(to) => range.set({ ...typed, to })}
          />
        </form>
        <span class="dim no-phone nw">
          {span(range.range.from, range.range.to)} {zoneWithOffset(range.range.to)}
        </span>
        <span class="grow" />
        {range.isLive ? (
          <button
            type="button"
            class="btn"
            aria-pressed={range.isPaused}
            aria-label={range.isPaused ? 'Go on live' : 'Pause live'}
            onClick={() => range.pause(!range.isPaused)}
          >
            <Icon name={range.isPaused ? 'play' : 'pause'} />
            <span class="no-phone">{range.isPaused ? `Go on (${newReadings} new)` : 'Pause live'}</span>
          </button>
        ) : (
          <button type="button" class="btn" onClick={range.backToLive}>
            <Icon name="next" />
            Back to live
          </button>
        )}
        <button type="button" class="btn no-phone" onClick={onCsv}>
          <Icon name="save" />
          CSV
        </button>
        <CopyAs question={question} />
      </div>
      {error !== undefined && (
        <p class="rangeerror warn" id="range-error" role="alert">
          <Icon name="warn" /> {error.text}
        </p>
      )}
    </>
  );
}

/** It is set by Enter and on leaving, so that a range that is half typed is not asked for. */
function RangeField({
  name,
  label,
  value,
  error,
  field,
  onSet,
}: {
  readonly name: string;
  readonly label: string;
  readonly value: string;
  readonly error: boolean;
  readonly field?: Ref<HTMLInputElement>;
  readonly onSet: (value: string) => void;
}) {
  // What is being typed stays while the page draws itself again each second.
  const [draft, setDraft] = useState<string>();
  const finish = () => {
    if (draft !== undefined && draft !== shortInstant(value)) onSet(draft.trim());
    setDraft(undefined);
  };
  return (
    <input
      name={name}
      class="field mono rangefield"
      aria-label={label}
      aria-invalid={error}
      aria-describedby={error ? 'range-error' : undefined}
      autocomplete="off"
      spellcheck={false}
      value={draft ?? shortInstant(value)}
      title={value}
      ref={field ?? null}
      onInput={({ currentTarget }) => setDraft(currentTarget.value)}
      onKeyDown={({ key, currentTarget }) => {
        if (key === 'Enter') finish();
        if (key !== 'Escape') return;
        setDraft(undefined);
        currentTarget.blur();
      }}
      onBlur={finish}
    />
  );
}

/** Whole seconds are shown without milliseconds. */
function shortInstant(text: string): string {
  return text.replace('.000Z', 'Z');
}

function CopyAs({ question }: { readonly question: Question }) {
  const [done, say] = useNotice(3_000);
  return (
    <label class="btn no-phone copyas">
      <Icon name="copy" />
      <select
        aria-label="Copy what is shown as"
        value=""
        onChange={({ currentTarget }) => {
          const tool = currentTarget.value as Tool;
          currentTarget.value = '';
          void copy(copyAs(tool, question)).then((copied) => say(copied ? `${tool} copied` : 'Not copied'));
        }}
      >
        <option value="" disabled hidden>
          Copy as…
        </option>
        {tools.map((tool) => (
          <option key={tool} value={tool}>
            {tool}
          </option>
        ))}
      </select>
      <span role="status">{done}</span>
    </label>
  );
}

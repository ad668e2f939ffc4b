import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { Icon } from '../../icons.tsx';

export interface Option {
  readonly value: string;
  readonly label: string;
  readonly hint?: string;
}

/**
 * A word of the sentence that can be changed: a button that opens a combobox. Typing filters; Enter takes the marked option, or what was
 * typed; of several values each Enter adds or removes one.
 */
export function Token({
  label,
  text,
  options,
  chosen,
  isMultiple = false,
  isFree = true,
  isEmpty = false,
  placeholder,
  onChange,
}: {
  /** What is chosen here: `Metrics`. */
  readonly label: string;
  readonly text: string;
  readonly options: readonly Option[];
  readonly chosen: readonly string[];
  readonly isMultiple?: boolean;
  /** May a value be typed that is not in the list? */
  readonly isFree?: boolean;
  /** Nothing is chosen: the word is an offer. */
  readonly isEmpty?: boolean;
  readonly placeholder?: string;
  readonly onChange: (values: readonly string[]) => void;
}) {
  const [isOpen, setOpen] = useState(false);
  const [typed, setTyped] = useState('');
  const [marked, setMarked] = useState(0);
  const root = useRef<HTMLSpanElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const input = useRef<HTMLInputElement>(null);
  const id = useId();
  const needle = typed.trim().toLowerCase();
  const found = options.filter(({ value, label: text }) => `${value} ${text}`.toLowerCase().includes(needle));
  const isKnown = found.some(({ value }) => value === typed.trim());
  const shown: readonly Option[] =
    isFree && typed.trim() !== '' && !isKnown
      ? [...found, { value: typed.trim(), label: typed.trim(), hint: 'as typed' }]
      : found;

  // Before the next key: what is typed immediately after is for the list.
  useLayoutEffect(() => {
    if (!isOpen) return;
    input.current?.focus();
    const onDown = (event: PointerEvent) => {
      if (!root.current!.contains(event.target as Node)) setOpen(false);
    };
    document.addEventListener('pointerdown', onDown);
    return () => document.removeEventListener('pointerdown', onDown);
  }, [isOpen]);

  function open(): void {
    setTyped('');
    setMarked(Math.max(0, isMultiple ? 0 : options.findIndex(({ value }) => chosen.includes(value))));
    setOpen(true);
  }

  function close(): void {
    setOpen(false);
    button.current?.focus();
  }

  function take(option: Option | undefined): void {
    if (option === undefined) return;
    if (!isMultiple) {
      onChange(option.value === '' ? [] : [option.value]);
      close();
      return;
    }
    const { value } = option;
    onChange(chosen.includes(value) ? chosen.filter((one) => one !== value) : [...chosen, value]);
    setTyped('');
    setMarked(0);
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const actions: Record<string, () => void> = {
      ArrowDown: () => setMarked((marked + 1) % Math.max(1, shown.length)),
      ArrowUp: () => setMarked((marked - 1 + shown.length) % Math.max(1, shown.length)),
      Enter: () => take(shown[marked]),
      Escape: close,
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    action();
  }

  return (
    <span
      class="tokbox"
      ref={root}
      onFocusOut={(event) => {
        if (event.relatedTarget !== null && !root.current!.contains(event.relatedTarget as Node)) setOpen(false);
      }}
    >
      <button
        ref={button}
        type="button"
        class={`tok${isEmpty ? ' offer' : ''}`}
        aria-label={`${label}: ${text}`}
        aria-haspopup="listbox"
        aria-expanded={isOpen}
        onClick={() => (isOpen ? close() : open())}
        onKeyDown={(event) => {
          if (event.key !== 'ArrowDown' || isOpen) return;
          event.preventDefault();
          open();
        }}
      >
        {isEmpty && <Icon name="plus" />}
        {text}
        {!isEmpty && <Icon name="down" />}
      </button>
      {isOpen && (
        <span class="pop">
          <input
            ref={input}
            class="field"
            role="combobox"
            aria-label={label}
            aria-expanded="true"
            aria-controls={`${id}-list`}
            aria-activedescendant={shown[marked] === undefined ? undefined : `${id}-${marked}`}
            aria-autocomplete="list"
            autocomplete="off"
            spellcheck={false}
            placeholder={placeholder ?? 'Type or choose'}
            value={typed}
            onInput={(event) => {
              setTyped(event.currentTarget.value);
              setMarked(0);
            }}
            onKeyDown={onKeyDown}
          />
          <span class="options" role="listbox" id={`${id}-list`} aria-label={label} aria-multiselectable={isMultiple}>
            {shown.map((option, index) => (
              <span
                key={option.value}
                id={`${id}-${index}`}
                role="option"
                class={index === marked ? 'marked' : undefined}
                aria-selected={chosen.includes(option.value)}
                ref={(element) => {
                  if (index === marked) element?.scrollIntoView({ block: 'nearest' });
                }}
                onPointerDown={(event) => event.preventDefault()}
                onClick={() => take(option)}
              >
                <span class="tick">{chosen.includes(option.value) && <Icon name="ok" tone="wirec" />}</span>
                {option.label}
                {option.hint !== undefined && <span class="dim3">{option.hint}</span>}
              </span>
            ))}
            {shown.length === 0 && <span class="none">Nothing of this name.</span>}
          </span>
        </span>
      )}
    </span>
  );
}

import { signal } from '@preact/signals';

/** A key of a page. Single keys do nothing inside of inputs and while they are switched off (WCAG 2.1.4). */
export interface Shortcut {
  /** As in `KeyboardEvent.key`; `g f` for one after the other. */
  readonly keys: string;
  readonly does: string;
  readonly run: () => void;
}

export const shortcuts = signal<readonly Shortcut[]>([]);

const stored = 'fleetwire.keys';

/** Whether single keys do something. */
export const singleKeys = signal(read());

export function switchSingleKeys(on: boolean): void {
  singleKeys.value = on;
  try {
    if (on) localStorage.removeItem(stored);
    else localStorage.setItem(stored, 'off');
  } catch {
    // Kept for this page only.
  }
}

/** @returns removes them again */
export function addShortcuts(added: readonly Shortcut[]): () => void {
  shortcuts.value = [...shortcuts.peek(), ...added];
  return () => void (shortcuts.value = shortcuts.peek().filter((one) => !added.includes(one)));
}

const sequenceMs = 1_500;
let first: { readonly key: string; readonly at: number } | undefined;

/** Which shortcut a key runs, after the key before it. Pure, but for what it remembers in `first`. */
function matching(list: readonly Shortcut[], key: string, before: string | undefined): Shortcut | undefined {
  // The newest comes first: a view may replace a key of the page.
  const newest = list.toReversed();
  return (
    (before !== undefined && newest.find(({ keys }) => keys === `${before} ${key}`)) ||
    newest.find(({ keys }) => keys === key)
  );
}

export function listenToKeys(): void {
  document.addEventListener('keydown', (event) => {
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || !singleKeys.peek()) return;
    if (isEditable(event.target) || pressesButton(event) || document.querySelector('dialog[open]') !== null) return;
    const before = first !== undefined && Date.now() - first.at < sequenceMs ? first.key : undefined;
    const found = matching(shortcuts.peek(), event.key, before);
    first = before === undefined && event.key === 'g' ? { key: 'g', at: Date.now() } : undefined;
    if (found === undefined) return;
    event.preventDefault();
    found.run();
  });
}

function isEditable(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName))
  );
}

/** Space is the key of the button that has the focus. */
function pressesButton({ key, target }: KeyboardEvent): boolean {
  return key === ' ' && target instanceof Element && target.closest('button, summary, [role=option]') !== null;
}

function read(): boolean {
  try {
    return localStorage.getItem(stored) !== 'off';
  } catch {
    return true;
  }
}

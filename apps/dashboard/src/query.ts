import { signal } from '@preact/signals';

/** The query of the address carries the view: range, metrics, filters, sort, selection, open tab. */
export const query = signal<Readonly<Record<string, string>>>(read());

const restMs = 1_000;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Changes some of it; `undefined` or an empty text removes one. The entry of the history is replaced after a second of rest, so that Back leaves the view. */
export function setQuery(changes: Readonly<Record<string, string | undefined>>): void {
  const next = { ...query.peek() };
  for (const [name, value] of Object.entries(changes)) {
    if (value === undefined || value === '') delete next[name];
    else next[name] = value;
  }
  query.value = next;
  clearTimeout(timer);
  timer = setTimeout(writeQuery, restMs);
}

/** A click or Enter may leave the view: its entry of the history is complete before. */
export function writeQueryBeforeLeaving(): void {
  const write = () => timer !== undefined && writeQuery();
  document.addEventListener('click', write, { capture: true });
  document.addEventListener('keydown', ({ key }) => key === 'Enter' && write(), { capture: true });
}

/** Writes what is not in the address yet; before something leaves the page or copies its link. */
export function writeQuery(): void {
  clearTimeout(timer);
  timer = undefined;
  const search = new URLSearchParams(query.peek()).toString();
  const wanted = search === '' ? location.pathname : `${location.pathname}?${search}`;
  if (wanted !== location.pathname + location.search) history.replaceState(history.state, '', wanted);
}

/** The address has changed: by a link, or by Back. */
export function readQuery(): void {
  clearTimeout(timer);
  timer = undefined;
  query.value = read();
}

function read(): Record<string, string> {
  return Object.fromEntries(new URLSearchParams(location.search));
}

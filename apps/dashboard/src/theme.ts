import { effect, signal } from '@preact/signals';

type Theme = 'system' | 'light' | 'dark';

const stored = 'fleetwire.theme';

/** The colors that the viewer has chosen; `system` follows the browser. Charts on a canvas read it to draw themselves again. */
const theme = signal<Theme>(read());

effect(() => {
  const chosen = theme.value;
  if (chosen === 'system') delete document.documentElement.dataset['theme'];
  else document.documentElement.dataset['theme'] = chosen;
  try {
    if (chosen === 'system') localStorage.removeItem(stored);
    else localStorage.setItem(stored, chosen);
  } catch {
    // A browser that keeps nothing follows its own setting the next time.
  }
});

/** Grows when the colors on the screen change. */
export const colors = signal(0);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => (colors.value += 1));
theme.subscribe(() => (colors.value += 1));

export function isDark(): boolean {
  return theme.value === 'dark' || (theme.value === 'system' && matchMedia('(prefers-color-scheme: dark)').matches);
}

export function switchTheme(): void {
  theme.value = isDark() ? 'light' : 'dark';
}

/** Paper shows the light colors, and a canvas has to be drawn in them before. */
export const isPrinting = signal(false);
const print = matchMedia('print');
const followPrint = () => {
  isPrinting.value = print.matches;
  colors.value += 1;
};
isPrinting.value = print.matches;
print.addEventListener('change', followPrint);

const known = new Map<string, string>();
colors.subscribe(() => known.clear());

/** The value of a token, for a canvas: `light-dark()` is resolved by an element that has the color. It is kept until the colors change: to read it makes the browser compute the styles of the page. */
export function tokenColor(token: string): string {
  const found = known.get(token);
  if (found !== undefined) return found;
  probe.style.color = `var(--${token})`;
  const { color } = getComputedStyle(probe);
  known.set(token, color);
  return color;
}

const probe = document.createElement('span');
probe.hidden = true;
document.documentElement.append(probe);

function read(): Theme {
  try {
    const text = localStorage.getItem(stored);
    return text === 'light' || text === 'dark' ? text : 'system';
  } catch {
    return 'system';
  }
}

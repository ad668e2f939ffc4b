import { signal } from '@preact/signals';

/** The time of the server as this browser knows it: its own clock, moved by what the answers of the server say. */
let offsetMs = 0;

export function serverNow(): number {
  return Date.now() + offsetMs;
}

/** @param serverTime of an answer that has just arrived */
export function learnServerTime(serverTime: number): void {
  const found = serverTime - Date.now();
  // The answer was on its way for some time: only a difference that a person would notice moves the clock.
  if (Math.abs(found - offsetMs) > 2_000) offsetMs = found;
}

/** Ticks every second while the page is visible: what shows an age reads it. */
export const now = signal(serverNow());

setInterval(() => {
  if (!document.hidden) now.value = serverNow();
}, 1_000);
document.addEventListener('visibilitychange', () => {
  if (!document.hidden) now.value = serverNow();
});

import { signal } from '@preact/signals';

const stored = 'fleetwire.zone';

export const ownZone = new Intl.DateTimeFormat().resolvedOptions().timeZone;

/** Times in the zone that the viewer has chosen: that of the browser, UTC, or that of a device. It is kept for the next visit. */
export const zone = signal<string>(read());

/** Of the device on the page, where its metadata names one. */
export const deviceZone = signal<string | undefined>(undefined);

export function chooseZone(name: string): void {
  zone.value = name;
  try {
    if (name === ownZone) localStorage.removeItem(stored);
    else localStorage.setItem(stored, name);
  } catch {
    // A browser that keeps nothing begins with its own zone the next time.
  }
}

/** Whether the browser knows a zone of this name (IANA: `Europe/Berlin`). */
export function isZone(name: string): boolean {
  try {
    Intl.DateTimeFormat('en-GB', { timeZone: name });
    return true;
  } catch {
    return false;
  }
}

function read(): string {
  try {
    const name = localStorage.getItem(stored);
    return name !== null && isZone(name) ? name : ownZone;
  } catch {
    return ownZone;
  }
}

const formats = new Map<string, Intl.DateTimeFormat>();

function format(name: string, options: Intl.DateTimeFormatOptions, timeZone: string): Intl.DateTimeFormat {
  const key = `${name} ${timeZone}`;
  const known = formats.get(key);
  if (known !== undefined) return known;
  const made = new Intl.DateTimeFormat('en-GB', { timeZone, hourCycle: 'h23', ...options });
  formats.set(key, made);
  return made;
}

const clock = { hour: '2-digit', minute: '2-digit', second: '2-digit' } as const;
const date = { day: 'numeric', month: 'short' } as const;

type Time = number | string | Date;
const asDate = (time: Time) => new Date(time);

/** `14:32:10` */
export function timeOfDay(time: Time, timeZone = zone.value): string {
  return format('time', clock, timeZone).format(asDate(time));
}

/** `14:32:10.204` */
export function timeWithMilliseconds(time: Time, timeZone = zone.value): string {
  return format('ms', { ...clock, fractionalSecondDigits: 3 }, timeZone).format(asDate(time));
}

/** `14:32` */
export function hourAndMinute(time: Time, timeZone = zone.value): string {
  return format('minute', { hour: '2-digit', minute: '2-digit' }, timeZone).format(asDate(time));
}

/** `21 Nov` */
export function day(time: Time, timeZone = zone.value): string {
  return format('day', date, timeZone).format(asDate(time));
}

/** `21 Nov 2026` */
export function dayAndYear(time: Time, timeZone = zone.value): string {
  return format('year', { ...date, year: 'numeric' }, timeZone).format(asDate(time));
}

/** The time of day of a moment of today, with the day before it of another one: `14:32:10`, `20 Nov 14:32:10`. */
export function moment(time: Time, now: number, timeZone = zone.value): string {
  const isToday = dayAndYear(time, timeZone) === dayAndYear(now, timeZone);
  return isToday ? timeOfDay(time, timeZone) : `${day(time, timeZone)} ${timeOfDay(time, timeZone)}`;
}

/** `11:32–14:32`, or with days where they differ. */
export function span(from: number, to: number, timeZone = zone.value): string {
  const sameDay = dayAndYear(from, timeZone) === dayAndYear(to, timeZone);
  const side = (time: number) =>
    sameDay ? hourAndMinute(time, timeZone) : `${day(time, timeZone)} ${hourAndMinute(time, timeZone)}`;
  return `${side(from)}–${side(to)}`;
}

/** The short name of the zone at a time: `CET`, `UTC`. */
export function zoneName(time: Time, timeZone = zone.value): string {
  return part(format('zone', { timeZoneName: 'short' }, timeZone), time);
}

/** The zone with its offset: `CET (UTC+1)`. */
export function zoneWithOffset(time: Time, timeZone = zone.value): string {
  const name = zoneName(time, timeZone);
  if (name === 'UTC') return name;
  const offset = part(format('offset', { timeZoneName: 'shortOffset' }, timeZone), time).replace('GMT', 'UTC');
  return name.startsWith('GMT') ? offset : `${name} (${offset})`;
}

function part(formatter: Intl.DateTimeFormat, time: Time): string {
  return formatter.formatToParts(asDate(time)).find(({ type }) => type === 'timeZoneName')?.value ?? '';
}

/** How far the zone is ahead of UTC at a time, in milliseconds. */
export function zoneOffsetMs(time: number, timeZone = zone.value): number {
  const parts = Object.fromEntries(
    format('parts', { year: 'numeric', month: 'numeric', day: 'numeric', ...clock }, timeZone)
      .formatToParts(asDate(time))
      .map(({ type, value }) => [type, Number(value)]),
  );
  const local = Date.UTC(
    parts['year']!,
    parts['month']! - 1,
    parts['day'],
    parts['hour'],
    parts['minute'],
    parts['second'],
  );
  return local - Math.floor(time / 1_000) * 1_000;
}

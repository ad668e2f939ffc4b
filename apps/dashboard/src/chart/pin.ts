import { type Signal, signal } from '@preact/signals';

/** Where the cursor stands, shared by the charts, bands and tables of a view. */
type Cursor = Signal<number | undefined>;

const pins = new WeakMap<Cursor, Signal<boolean>>();

/** Whether the cursor stays where it is while the pointer moves. It is one for all that share the cursor. */
export function pinOf(cursor: Cursor): Signal<boolean> {
  let pin = pins.get(cursor);
  if (pin === undefined) pins.set(cursor, (pin = signal(false)));
  return pin;
}

import type { StoredAlarm } from '@fleetwire/store/alarms';
import { type Alarm, alarmRules } from './alarm-rules.ts';

interface PresentAlarm extends Alarm {
  readonly state: 'pending' | 'firing';
  /** Epoch milliseconds; undefined where it was not written yet. */
  readonly since: number | undefined;
}

/** Since when there are the alarms that this instance sees: as it is stored, and by its own memory while the database is away. */
export class PresentAlarms {
  #seenSince = new Map<string, number>();

  /** Remembers which alarms there are now, and forgets the others. */
  see(alarms: readonly Alarm[], now: number): void {
    this.#seenSince = new Map(alarms.map((alarm) => [keyOf(alarm), this.#seenSince.get(keyOf(alarm)) ?? now]));
  }

  /** @param stored undefined while the database is away */
  of(alarms: readonly Alarm[], stored: readonly StoredAlarm[] | undefined, now: number): PresentAlarm[] {
    this.see(alarms, now);
    const seenSince = this.#seenSince;
    const open = new Map(
      stored?.filter(({ endedAt }) => endedAt === null).map((alarm) => [keyOf(alarm), alarm.startedAt]),
    );
    // What has been read once stays known.
    for (const [key, startedAt] of open) if (seenSince.has(key)) seenSince.set(key, startedAt);
    return alarms.map((alarm) => {
      const since = stored === undefined ? seenSince.get(keyOf(alarm)) : open.get(keyOf(alarm));
      const { forSeconds } = alarmRules[alarm.name]!;
      const isFiring = forSeconds === 0 || (since !== undefined && now - since >= forSeconds * 1_000);
      return { ...alarm, state: isFiring ? 'firing' : 'pending', since };
    });
  }
}

function keyOf({ name, subject }: Pick<Alarm, 'name' | 'subject'>): string {
  return `${name} ${subject}`;
}

import type { Metrics } from '@fleetwire/contracts/metrics';

/** A truck or a freezer of the fleet that the pictures show. */
export interface SeedDevice {
  readonly deviceId: string;
  readonly name: string;
  readonly type: 'truck' | 'freezer';
  readonly depot: string;
  readonly firmware: string;
  readonly everyMs: number;
  /** Of its curves. */
  readonly number: number;
  readonly now: 'online' | 'silent' | 'offline';
}

const hourMs = 3_600_000;
export const minuteMs = 60_000;
export const historyMs = 24 * hourMs;

/** Before now: what happened to the truck whose page is photographed. */
export const truck = {
  deviceId: 'truck-0388',
  boots: ['b-7f21', 'b-7f22'],
  bootAgoMs: 160 * minuteMs,
  /** Numbers that never arrived. */
  lost: { from: 131 * minuteMs, to: 127 * minuteMs },
  /** A tunnel: readings were kept, and sent later. */
  tunnel: { from: 92 * minuteMs, to: 78 * minuteMs },
  defrostAgoMs: 118 * minuteMs,
  doorOpen: { from: 46 * minuteMs, to: 40 * minuteMs },
} as const;

/** These do not send any more. */
export const silentMs = 23 * minuteMs;
export const offlineMs = 190 * minuteMs;

const depots = [
  ['lyon-est', 14],
  ['rotterdam', 13],
  ['milano', 12],
  ['hamburg', 12],
  ['barcelona', 11],
  ['warszawa', 10],
  ['wien', 9],
  ['marseille', 9],
  ['antwerpen', 8],
  ['praha', 7],
  ['krakow', 6],
  ['porto', 5],
] as const;

export const fleet: readonly SeedDevice[] = depots.flatMap(([depot, trucks], place) => {
  const freezers = Math.round(trucks * 0.4);
  return [
    ...Array.from({ length: trucks }, (_, index): SeedDevice => {
      const number = place * 37 + index + 1;
      const deviceId = index === 0 && place === 0 ? truck.deviceId : `truck-${digits(number)}`;
      const isPhotographed = deviceId === truck.deviceId;
      return {
        deviceId,
        name: `Reefer ${isPhotographed ? 388 : number}`,
        type: 'truck',
        depot,
        firmware: number % 5 === 0 ? '4.2.1' : '4.1.9',
        everyMs: isPhotographed ? 10_000 : minuteMs,
        number,
        now: (place === 3 && index === 4) || (place === 8 && index === 2) ? 'offline' : 'online',
      };
    }),
    ...Array.from({ length: freezers }, (_, index): SeedDevice => {
      const number = place * 37 + 500 + index;
      return {
        deviceId: `freezer-${digits(number)}`,
        name: `Cold room ${'ABC'[index % 3]}, aisle ${index + 1}`,
        type: 'freezer',
        depot,
        firmware: place < 2 ? '4.2.1' : '4.1.9',
        everyMs: minuteMs,
        number,
        now: place === 0 && index >= freezers - 3 ? 'silent' : 'online',
      };
    }),
  ];
});

function digits(number: number): string {
  return String(number).padStart(4, '0');
}

export const metadata = {
  units: {
    'product.temperature': '°C',
    'air.return': '°C',
    'air.setpoint': '°C',
    battery: 'V',
    humidity: '%',
    speed: 'km/h',
    fuel: '%',
  },
  limits: { 'product.temperature': { above: -15 } },
};

/** What a device measures at a time. The same time gives the same values. */
export function measure(device: SeedDevice, at: number, now: number): Metrics {
  const { number, type, everyMs } = device;
  const noiseAt = (salt: number) => noise(number * 31 + salt, Math.floor(at / everyMs));
  // The afternoon is warmer than the night, and the coils are defrosted every few hours.
  const hour = (at / hourMs) % 24;
  const day = Math.sin(((hour - 9) / 24) * 2 * Math.PI);
  const defrostEveryMs = (120 + (number % 3) * 60) * minuteMs;
  const defrostAt = device.deviceId === truck.deviceId ? now - truck.defrostAgoMs - historyMs : number * 17 * minuteMs;
  const sinceDefrost = (at - defrostAt) % defrostEveryMs;
  const defrost = bump(sinceDefrost, 12 * minuteMs);
  const door = device.deviceId === truck.deviceId ? doorOf(at, now) : { isOpen: false, warmth: 0 };
  const cycle =
    type === 'truck' ? 0.3 * Math.sin(at / (7 * minuteMs) + number) : Math.sin(at / (9 * minuteMs) + number);
  const isCooling = Math.floor(at / (9 * minuteMs) + number) % 2 === 0;
  const base = type === 'freezer' ? -21.5 + (number % 5) * 0.4 : -18.6 + (number % 4) * 0.3;
  const common = {
    'product.temperature': rounded(
      base + 0.5 * day + 0.4 * cycle + 1.1 * defrost + 5.1 * door.warmth + 0.12 * noiseAt(1),
    ),
    'air.return': rounded(base - 2.6 + (isCooling ? 0 : 1.3) + 4 * defrost + 8.6 * door.warmth + 0.3 * noiseAt(2)),
    door: door.isOpen ? 'open' : 'closed',
    mode: sinceDefrost < 10 * minuteMs ? 'defrost' : door.warmth > 0.5 ? 'boost' : 'cooling',
    fan: sinceDefrost >= 10 * minuteMs,
  };
  if (type === 'freezer') return { ...common, humidity: Math.round(61 + 4 * day + 2 * noiseAt(3)) };
  const drives = hour > 5 && hour < 21 && Math.sin(at / (47 * minuteMs) + number) > -0.4;
  return {
    ...common,
    'air.setpoint': -18,
    battery: rounded(27.6 - 1.2 * door.warmth + 0.06 * noiseAt(4)),
    speed: drives ? Math.round(74 + 9 * Math.sin(at / (11 * minuteMs) + number) + 3 * noiseAt(5)) : 0,
    fuel: rounded(88 - ((at / historyMs + number * 0.13) % 1) * 62),
  };
}

/** The door was open for some minutes: it warms quickly and cools slowly. */
function doorOf(at: number, now: number): { isOpen: boolean; warmth: number } {
  const since = at - (now - truck.doorOpen.from);
  const open = truck.doorOpen.from - truck.doorOpen.to;
  const isOpen = since >= 0 && since < open;
  const warmth =
    since < 0 ? 0 : isOpen ? 1 - Math.exp(-since / (2 * minuteMs)) : Math.exp(-(since - open) / (5 * minuteMs));
  return { isOpen, warmth };
}

function bump(since: number, lengthMs: number): number {
  return since < lengthMs ? Math.sin((Math.PI * since) / lengthMs) : 0;
}

/** -1 to 1, without a state. */
export function noise(seed: number, step: number): number {
  const value = Math.sin(seed * 127.1 + step * 311.7) * 43_758.545_3;
  return 2 * (value - Math.floor(value)) - 1;
}

function rounded(value: number): number {
  return Math.round(value * 10) / 10;
}

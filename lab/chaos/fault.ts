import type { Random } from '../fleet/random.ts';
import type { ChaosPlatform } from './platform.ts';

/** `cluster`: three RabbitMQ nodes, and Postgres, in containers. */
export type Backing = 'native' | 'containers' | 'cluster';

/** What a fault breaks. Faults of one component never overlap; those of different components may. */
type Component =
  | 'rabbitmq'
  | 'postgres'
  | 'ingest-ws'
  | 'persistence-worker'
  | 'query-api'
  | 'refusals'
  | `link ${LinkName}`;

export const linkNames = [
  'device-ingest',
  'ingest-rabbitmq',
  'worker-rabbitmq',
  'worker-postgres',
  'query-postgres',
] as const;

/** Connections that run through a fault proxy. */
export type LinkName = (typeof linkNames)[number];

/** Connections through a further proxy, so that a process can be killed while it waits for an answer on them, whatever the link's faults are. */
export type StallName = 'commits' | 'confirms';

/** Ends the fault. Resolves when the component works again. */
type Heal = () => Promise<void>;

export interface Fault {
  readonly name: string;
  /** For the help text, half a sentence. */
  readonly what: string;
  readonly component: Component;
  /** Injected in every pause between the other faults of its component, a few seconds apart. */
  readonly isFrequent?: boolean;
  /** Bounds of its duration. */
  readonly holdMinMs: number;
  readonly holdMaxMs: number;
  /** Where it is available; everywhere unless given. */
  readonly on?: readonly Backing[];
  inject(platform: ChaosPlatform, random: Random): Promise<Heal>;
}

import type { Random } from '../fleet/random.ts';
import type { ChaosPlatform } from './platform.ts';

/** `cluster`: three RabbitMQ nodes, and Postgres, in containers. */
export type Backing = 'native' | 'containers' | 'cluster';

/** What a fault breaks. Faults of one component never overlap; those of different components do. */
type Component = 'rabbitmq' | 'postgres' | 'ingest-ws' | 'persistence-worker' | 'query-api' | `link ${LinkName}`;

export const linkNames = [
  'device-ingest',
  'ingest-rabbitmq',
  'worker-rabbitmq',
  'worker-postgres',
  'query-postgres',
] as const;

/** Connections that run through a fault proxy. */
export type LinkName = (typeof linkNames)[number];

/** Resolves when what was broken works again, by itself or because it was mended. */
type Heal = () => Promise<void>;

export interface Fault {
  readonly name: string;
  /** For people, half a sentence. */
  readonly what: string;
  readonly component: Component;
  /** How long it lasts once it is injected. */
  readonly holdMinMs: number;
  readonly holdMaxMs: number;
  /** Where it can be had; everywhere unless given. */
  readonly on?: readonly Backing[];
  inject(platform: ChaosPlatform, random: Random): Promise<Heal>;
}

import type { BackingServices } from '@fleetwire/platform/servers/backing-services';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Figure } from './figure.ts';

export interface StudySettings {
  /** How often everything is measured; medians are reported. */
  readonly runs: number;
  /** Length of each measurement under load. */
  readonly seconds: number;
  /** Sockets that send at full speed. */
  readonly devices: number;
  /** Readings in flight on each of these sockets. */
  readonly inFlight: number;
  /** Readings per frame; each is measured separately. */
  readonly frames: readonly number[];
}

export interface StudyContext {
  readonly services: BackingServices;
  readonly settings: StudySettings;
  /** For the logs of the platform's processes. */
  readonly logDir: string;
  /** For CPU profiles of the platform's processes, with --profile. */
  readonly profileDir: string | undefined;
  readonly logger: Logger;
  /** Writes a line of progress for the operator. */
  readonly log: (line: string) => void;
}

export interface StudyResult {
  readonly figures: readonly Figure[];
  /** A table for readers, beside the figures. */
  readonly details?: string;
  /** Every measured value, for the JSON file. */
  readonly data: unknown;
}

/** One question about the platform, answered by measuring it as often as the settings say. */
export type Study = (context: StudyContext) => Promise<StudyResult>;

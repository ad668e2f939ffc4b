import type { BackingServices } from '@fleetwire/platform/servers/backing-services';
import type { Logger } from '@fleetwire/runtime/logger';
import type { Figure } from './figure.ts';

export interface StudySettings {
  /** How often everything is measured; the medians count. */
  readonly runs: number;
  /** Length of each measurement under load. */
  readonly seconds: number;
  /** Sockets that send at full speed. */
  readonly devices: number;
  /** Readings on each of these sockets. */
  readonly inFlight: number;
  /** Readings a frame; each is measured by itself. */
  readonly frames: readonly number[];
}

export interface StudyContext {
  readonly services: BackingServices;
  readonly settings: StudySettings;
  /** For the logs of the platform's processes. */
  readonly logDir: string;
  /** Where CPU profiles of the platform's processes go, if they are wanted. */
  readonly profileDir: string | undefined;
  readonly logger: Logger;
  /** Progress, for whoever watches. */
  readonly say: (line: string) => void;
}

export interface StudyResult {
  readonly figures: readonly Figure[];
  /** A table for readers, beside the figures. */
  readonly details?: string;
  /** All that was measured, for the JSON file. */
  readonly data: unknown;
}

/** One question about the platform, answered by measuring it as often as the settings say. */
export type Study = (context: StudyContext) => Promise<StudyResult>;

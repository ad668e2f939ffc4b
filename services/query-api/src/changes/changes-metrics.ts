import type { Logger } from '@fleetwire/runtime/logger';
import { Counter, type Registry } from '@fleetwire/runtime/metrics';

export interface ChangesReport {
  delivered(count: number): void;
  refused(reason: string): void;
}

export function reportChanges(registry: Registry, logger: Logger): ChangesReport {
  const rows = new Counter({
    name: 'fleetwire_changes_rows_total',
    help: 'Readings in answers of GET /changes',
    registers: [registry],
  });
  return {
    delivered: (count) => rows.inc(count),
    refused: (reason) => logger.info({ reason }, 'changes cursor refused'),
  };
}

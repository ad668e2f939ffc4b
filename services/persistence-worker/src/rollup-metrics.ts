import { Counter, Gauge, type Registry, fromZero } from '@fleetwire/runtime/metrics';
import type { RollupBacklog } from '@fleetwire/store/rollups/backlog';
import type { BuiltTiles } from '@fleetwire/store/rollups/build-tiles';
import { tileKinds } from '@fleetwire/store/rollups/tile-statement';

export interface RollupMetrics {
  count(built: BuiltTiles): void;
  observe(backlog: RollupBacklog): void;
}

export function createRollupMetrics(registry: Registry): RollupMetrics {
  const registers = [registry];
  const marks = new Gauge({
    name: 'fleetwire_rollup_marks',
    help: 'Tiles (one device and one hour) that have changed since they were built, and are read raw until they are built again; read every few seconds',
    registers,
  });
  const horizonAge = new Gauge({
    name: 'fleetwire_rollup_horizon_age_seconds',
    help: 'Time since the end of the newest hour that may be built; moves once an hour, unless a transaction that changes readings stays open',
    registers,
  });
  const builtAge = new Gauge({
    name: 'fleetwire_rollup_built_age_seconds',
    help: 'Time since the end of the newest hour that is built; later hours are read raw',
    registers,
  });
  const tilesBuilt = fromZero(
    new Counter({
      name: 'fleetwire_rollup_tiles_built_total',
      help: 'Tiles that this worker has built: raw (too few readings for rollups), hour, or minutes (with rollups of minutes, too)',
      labelNames: ['kind'] as const,
      registers,
    }),
    'kind',
    tileKinds,
  );
  return {
    count({ tiles }) {
      for (const kind of tileKinds) tilesBuilt.inc({ kind }, tiles[kind]);
    },
    observe(backlog) {
      marks.set(backlog.marks);
      horizonAge.set(backlog.horizonAgeSeconds);
      builtAge.set(backlog.builtAgeSeconds);
    },
  };
}

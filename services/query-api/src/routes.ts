import { changesRoutes } from './changes/routes.ts';
import { commandRoutes } from './commands/command-routes.ts';
import { completenessRoutes } from './fleet/completeness-routes.ts';
import { fleetReadingRoutes } from './fleet/reading-routes.ts';
import { histogramRoutes } from './fleet/histogram-routes.ts';
import { topRoutes } from './fleet/top-routes.ts';
import { exportJobRoutes } from './export-jobs/routes.ts';
import { gapRoutes } from './reconciliation/gap-routes.ts';
import { reconciliationRoutes } from './reconciliation/reconciliation-routes.ts';
import { deadLetterRoutes } from './dead-letters/routes.ts';
import { deviceRoutes } from './devices/routes.ts';
import { latestRoutes } from './latest-routes.ts';
import { liveDeviceRoutes } from './live-device-routes.ts';
import { liveRoutes } from './live-routes.ts';
import { instanceRoutes } from './instance-routes.ts';
import { historyRoutes } from './queues/history-routes.ts';
import { queueRoutes } from './queues/queue-routes.ts';
import { readingRoutes } from './reading-routes.ts';
import type { Route } from './route.ts';
import { seriesRoutes } from './series/routes.ts';
import { statusRoutes } from './status-routes.ts';
import { tokenRoutes } from './token-routes.ts';

/** Every operation of this service. */
export const routes: readonly Route[] = [
  ...statusRoutes,
  ...latestRoutes,
  ...deviceRoutes,
  ...commandRoutes,
  ...readingRoutes,
  ...changesRoutes,
  ...fleetReadingRoutes,
  ...seriesRoutes,
  ...topRoutes,
  ...histogramRoutes,
  ...completenessRoutes,
  ...exportJobRoutes,
  ...liveRoutes,
  ...liveDeviceRoutes,
  ...deadLetterRoutes,
  ...queueRoutes,
  ...historyRoutes,
  ...instanceRoutes,
  ...reconciliationRoutes,
  ...gapRoutes,
  ...tokenRoutes,
];

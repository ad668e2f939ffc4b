import { gapRoutes } from './reconciliation/gap-routes.ts';
import { reconciliationRoutes } from './reconciliation/reconciliation-routes.ts';
import { deadLetterRoutes } from './dead-letters/routes.ts';
import { deviceRoutes } from './device-routes.ts';
import { latestRoutes } from './latest-routes.ts';
import { queueRoutes } from './queues/queue-routes.ts';
import { readingRoutes } from './reading-routes.ts';
import type { Route } from './route.ts';
import { statusRoutes } from './status-routes.ts';
import { tokenRoutes } from './token-routes.ts';

/** Every operation of this service. */
export const routes: readonly Route[] = [
  ...statusRoutes,
  ...latestRoutes,
  ...deviceRoutes,
  ...readingRoutes,
  ...deadLetterRoutes,
  ...queueRoutes,
  ...reconciliationRoutes,
  ...gapRoutes,
  ...tokenRoutes,
];

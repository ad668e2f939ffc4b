import type { Route } from '../route.ts';
import { browseRoutes, detailRoutes } from './browse-routes.ts';
import { decisionRoutes } from './decision-routes.ts';
import { editRoutes, replayRoutes } from './replay-routes.ts';

/** Fixed paths first: `/dead-letters/groups` is no dead letter called "groups". */
export const deadLetterRoutes: readonly Route[] = [
  ...browseRoutes,
  ...replayRoutes,
  ...decisionRoutes,
  ...detailRoutes,
  ...editRoutes,
];

import type { Route } from '../route.ts';
import { browseRoutes, detailRoutes } from './browse-routes.ts';
import { decideRoutes } from './decide-routes.ts';
import { editRoutes } from './edit-routes.ts';
import { replayRoutes } from './replay-routes.ts';

/** Fixed paths first: `/dead-letters/groups` does not mean the dead letter with id "groups". */
export const deadLetterRoutes: readonly Route[] = [
  ...browseRoutes,
  ...replayRoutes,
  ...decideRoutes,
  ...detailRoutes,
  ...editRoutes,
];

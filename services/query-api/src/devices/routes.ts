import { latestOfDevice } from '../latest-routes.ts';
import { readingRoutes } from '../reading-routes.ts';
import type { Route } from '../route.ts';
import { connectionRoutes } from './connection-routes.ts';
import { eventRoutes } from './event-routes.ts';
import { producerRoutes } from './producer-routes.ts';
import { readRoutes } from './read-routes.ts';
import { snapshotRoutes } from './snapshot-routes.ts';
import { writeRoutes } from './write-routes.ts';

const aliases: readonly Route[] = [
  {
    ...latestOfDevice,
    path: '/devices/{id}/data',
    operationId: 'getDeviceData',
    summary: 'Latest state of one device: the same as `/devices/{id}/latest`',
  },
  ...readingRoutes.map((route) => ({
    ...route,
    path: '/devices/{id}/history',
    operationId: 'listDeviceHistory',
    summary: 'Readings of one device: the same as `/devices/{id}/readings`',
  })),
];

export const deviceRoutes: readonly Route[] = [
  ...readRoutes,
  ...writeRoutes,
  ...eventRoutes,
  ...snapshotRoutes,
  ...connectionRoutes,
  ...aliases,
  ...producerRoutes,
];

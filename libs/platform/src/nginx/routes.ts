import { dashboardAssets, dashboardViews } from '@fleetwire/contracts/dashboard-paths';

interface IngestRoute {
  /** Every method without it. */
  readonly method?: string;
  /** Below `/api` and `/api/v1`, as a regular expression of nginx (PCRE). */
  readonly path: string;
}

/** The HTTP routes that ingest-ws serves. Everything else below `/api/` is query-api's. */
const ingestRoutes: readonly IngestRoute[] = [
  { path: '/telemetry' },
  // A reading is written by ingest-ws; GET is the latest state, from query-api.
  { method: 'POST', path: '/data' },
];

/** Pages and their files, all of query-api: `/docs` and what is below it, and so on. `/` itself is the dashboard. */
export const pagePaths = ['/docs', '/redoc', '/openapi.json', '/guide', ...dashboardViews] as const;

/** Files that not every instance of query-api has while another release replaces it: each has those that its own page names. */
export const assetPaths = [dashboardAssets] as const;

/** Streams of events, of query-api, whose answers end when the client leaves; as `path` above. */
export const streamPaths = ['/live'] as const;

/** Whose answers nginx keeps; as `path` above. Others get If-None-Match and Range as the client sent them. */
export const keptPaths = ['/devices/[^/]+/readings'] as const;

/** Files that not every instance of query-api has; as `path` above. */
export const filePaths = ['/exports/[^/]+/file'] as const;

/** The lines of a map from method and path to the upstream. */
export function routeLines(): string[] {
  return ingestRoutes.map(({ method, path }) => `"~^${method ?? '[A-Z]+'} /api(/v1)?${path}$" ingest_ws;`);
}

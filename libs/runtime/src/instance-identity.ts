import { hostname } from 'node:os';
import manifest from '../package.json' with { type: 'json' };

const nameCharactersMax = 255;

/** How operators tell this process from others of its service. */
export function identityOf(
  service: 'ingest-ws' | 'persistence-worker' | 'query-api',
  { instanceName }: { readonly instanceName: string | undefined },
  instanceId: string,
) {
  return {
    service,
    instanceId,
    name: (instanceName ?? hostname()).slice(0, nameCharactersMax),
    version: manifest.version,
    startedAt: Math.round(performance.timeOrigin),
  };
}

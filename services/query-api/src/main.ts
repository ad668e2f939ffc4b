import { runService } from '@fleetwire/runtime/run';
import { readConfiguration } from './configuration.ts';
import { startQueryApi } from './query-api.ts';

await runService({
  name: 'query-api',
  environment: process.env,
  configure: readConfiguration,
  start: startQueryApi,
});

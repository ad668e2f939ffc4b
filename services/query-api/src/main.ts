import { runService } from '@fleetwire/runtime/run';
import { readQueryApiConfiguration } from './configuration.ts';
import { startQueryApi } from './start-query-api.ts';

await runService({
  name: 'query-api',
  environment: process.env,
  configure: readQueryApiConfiguration,
  start: startQueryApi,
});

import { runService } from '@fleetwire/runtime/run';
import { readIngestConfiguration } from './configuration.ts';
import { startIngest } from './start-ingest.ts';

await runService({
  name: 'ingest-ws',
  environment: process.env,
  configure: readIngestConfiguration,
  start: startIngest,
});

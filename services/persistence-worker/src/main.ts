import { runService } from '@fleetwire/service-kit/run';
import { readWorkerConfiguration } from './configuration.ts';
import { startWorker } from './start-worker.ts';

await runService({
  name: 'persistence-worker',
  environment: process.env,
  configure: readWorkerConfiguration,
  start: startWorker,
});

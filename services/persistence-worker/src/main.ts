import { runService } from '@fleetwire/service-kit/run';
import { readWorkerConfiguration } from './configuration.ts';
import { startWorker } from './start-worker.ts';

await runService({
  name: 'persistence-worker',
  configure: () => readWorkerConfiguration(process.env),
  start: startWorker,
});

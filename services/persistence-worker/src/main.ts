import { constants, getPriority, setPriority } from 'node:os';
import { runService } from '@fleetwire/runtime/run';
import { readWorkerConfiguration } from './configuration.ts';
import { startWorker } from './start-worker.ts';

// What is queued is safe. On cores that are shared with ingest-ws, devices that wait for an ack come first.
const { PRIORITY_BELOW_NORMAL } = constants.priority;
if (getPriority() < PRIORITY_BELOW_NORMAL) setPriority(PRIORITY_BELOW_NORMAL);

await runService({
  name: 'persistence-worker',
  environment: process.env,
  configure: readWorkerConfiguration,
  start: startWorker,
});

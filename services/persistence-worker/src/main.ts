import { constants, getPriority, setPriority } from 'node:os';
import { runService } from '@fleetwire/runtime/run';
import { readWorkerConfiguration } from './configuration.ts';
import { startWorker } from './start-worker.ts';

// Queued readings are safe. On cores shared with ingest-ws, devices waiting for an ack have precedence.
const { PRIORITY_BELOW_NORMAL } = constants.priority;
if (getPriority() < PRIORITY_BELOW_NORMAL) setPriority(PRIORITY_BELOW_NORMAL);

await runService({
  name: 'persistence-worker',
  environment: process.env,
  configure: readWorkerConfiguration,
  start: startWorker,
});

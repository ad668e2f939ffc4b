import { readConfiguration } from '@fleetwire/runtime/configuration';
import { createLogger } from '@fleetwire/runtime/logger';
import { migrateJobQueue } from '@fleetwire/store/job-queue';
import { migrate } from '@fleetwire/store/migrate';
import { workerVariables } from './configuration.ts';

const { databaseUrl } = readConfiguration({ databaseUrl: workerVariables.databaseUrl }, process.env);
const logger = await createLogger({ name: 'migrate' });
const applied = await migrate(databaseUrl);
await migrateJobQueue(databaseUrl);
logger.info({ applied }, 'the schema is current');

import { readConfiguration } from '@fleetwire/runtime/configuration';
import { createLogger } from '@fleetwire/runtime/logger';
import { migrate } from '@fleetwire/store/migrate';
import { workerVariables } from './configuration.ts';

const { databaseUrl } = readConfiguration({ databaseUrl: workerVariables.databaseUrl }, process.env);
const logger = await createLogger({ name: 'migrate' });
logger.info({ applied: await migrate(databaseUrl) }, 'the schema is current');

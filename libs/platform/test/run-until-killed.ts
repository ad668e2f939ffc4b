import { startBackingServices } from '../src/servers/backing-services.ts';

/** Started by the restart test as a process of its own, to be killed without a chance to clean up. */
const [mode, dataDir] = process.argv.slice(2);
const services = await startBackingServices({
  mode: mode === 'containers' ? mode : 'native',
  dataDir: dataDir!,
  log: () => {},
  env: process.env,
});
console.log(JSON.stringify({ databaseUrl: services.databaseUrl, managementUrl: services.managementUrl }));
setInterval(() => {}, 60_000);

import type { BackingServices } from '@fleetwire/platform/servers/backing-services';
import { createFreshDatabase, createFreshVhost, runStatement } from '@fleetwire/platform/servers/fresh';

/** A vhost and a database for one measurement; disposal drops both. */
export interface FreshPlace extends AsyncDisposable {
  readonly amqpUrl: string;
  readonly databaseUrl: string;
}

export async function freshPlace(services: BackingServices): Promise<FreshPlace> {
  await using made = new AsyncDisposableStack();
  const database = made.use(await createFreshDatabase(services.databaseUrl, 'bench'));
  // Pages that earlier measurements left dirty would be written during this one.
  await runStatement(services.databaseUrl, 'checkpoint');
  const vhost = made.use(await createFreshVhost(services, 'bench'));
  const stack = made.move();
  return { amqpUrl: vhost.url, databaseUrl: database.url, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

import { once } from 'node:events';
import { type AddressInfo, type Socket, createServer } from 'node:net';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { describe, expect, it } from 'vitest';
import { connect, ingest, token } from './harness.ts';

/** In place of a query-api that hangs: takes connections and answers nothing. */
async function silentServer() {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => {});
    socket.once('close', () => open.delete(socket));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const cut = () => open.forEach((socket) => socket.destroy());
  cleanUp(() => {
    cut();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, open, cut };
}

describe('control from a client', async () => {
  const amqpUrl = await freshVhost();
  const queryApi = await silentServer();
  const edge = await ingest(amqpUrl, { QUERY_API_URL: queryApi.url, CONTROLS_IN_FLIGHT_MAX: '2' });
  const client = async (role: string) => connect(edge.webSocketUrl, { token: await token(`control-${role}`, role) });
  const control = (members: object = {}) => ({
    type: 'control',
    id: 'c1',
    target: 'press-7',
    command: 'stop',
    ...members,
  });

  it.each(['device', 'analyst'])('is forbidden for the role %s', async (role) => {
    const socket = await client(role);
    socket.send(control());
    expect(await socket.next('error')).toEqual({
      type: 'error',
      id: 'c1',
      code: 'forbidden',
      message: `the role "${role}" may not send commands; operators and admins may`,
      retryable: false,
    });
    expect(queryApi.open.size).toBe(0);
  });

  it.each<[string, object, string, string]>([
    ['arguments over 16 KiB', { args: 'x'.repeat(16_384) }, 'limit-exceeded', 'COMMAND_ARGS_BYTES_MAX'],
    ['arguments with a NUL', { args: { note: '\0' } }, 'unstorable-text', 'args.note'],
    ['no target', { target: undefined }, 'missing-field', '"target"'],
    ['a target that no URL can name', { target: '\ud800' }, 'wrong-type', 'target'],
    ['a target that names another route', { target: '..' }, 'wrong-type', 'target'],
    ['a command name with a space', { command: 'stop now' }, 'wrong-type', 'command'],
  ])('is refused with %s, and the error names the field', async (_, change, code, message) => {
    const operator = await client('operator');
    operator.send(control(change));
    expect(await operator.next('error')).toMatchObject({ id: 'c1', code, message: expect.stringContaining(message) });
    expect(queryApi.open.size).toBe(0);
  });

  it('is refused beyond CONTROLS_IN_FLIGHT_MAX, on its socket only, and answered when query-api does not', async () => {
    const [operator, other] = [await client('operator'), await client('admin')];
    for (const id of ['a', 'b', 'c']) operator.send(control({ id }));
    expect(await operator.next('error')).toEqual({
      type: 'error',
      id: 'c',
      code: 'in-flight-limit',
      message: '2 commands of this socket are not answered yet (CONTROLS_IN_FLIGHT_MAX); send it again after an answer',
      retryable: true,
      retryAfterMs: 1_000,
    });
    other.send(control({ id: undefined }));
    await eventually(() => expect(queryApi.open.size).toBe(3));
    expect(other.messages.map(({ type }) => type)).toEqual(['hello']);
    queryApi.cut();
    // With an id, a repeated frame is the same command.
    const cut = [await operator.next('error'), await operator.next('error')];
    expect(cut.map(({ id }) => id).toSorted()).toEqual(['a', 'b']);
    for (const error of cut) expect(error).toMatchObject({ code: 'unavailable', retryable: true });
    expect(await other.next('error')).toMatchObject({ code: 'unavailable', retryable: false });
    operator.send(control({ id: 'a' }));
    await eventually(() => expect(queryApi.open.size).toBe(1));
    queryApi.cut();
    expect(await operator.next('error')).toMatchObject({ id: 'a', code: 'unavailable' });
  });

  it('is refused where no query-api is configured', async () => {
    const alone = await ingest(amqpUrl);
    const operator = await connect(alone.webSocketUrl, { token: await token('ops', 'operator') });
    operator.send(control());
    expect(await operator.next('error')).toMatchObject({
      code: 'unavailable',
      message: 'this instance knows no query-api, which sends commands (QUERY_API_URL)',
      retryable: false,
    });
  });
});

import { eventually } from '@fleetwire/platform/testing/eventually';
import { freshVhost } from '@fleetwire/platform/testing/fresh-vhost';
import { beforeAll, describe, expect, it } from 'vitest';
import { commander } from './commander.ts';
import { type RunningIngest, connect, ingest, telemetry, token } from './harness.ts';

async function metric({ url }: RunningIngest, name: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  const line = text.split('\n').find((one) => one.startsWith(`${name} `));
  if (line === undefined) throw new Error(`no ${name}`);
  return Number(line.slice(name.length + 1));
}

const answers = (answer: string) => `fleetwire_edge_command_answers_total{answer="${answer}"}`;

describe('commands at the edge', () => {
  let commands: Awaited<ReturnType<typeof commander>>;
  let one: RunningIngest;
  let other: RunningIngest;
  let oneEdge: string;

  beforeAll(async () => {
    const amqpUrl = await freshVhost();
    one = await ingest(amqpUrl);
    other = await ingest(amqpUrl);
    commands = await commander(amqpUrl);
    oneEdge = await commands.edgeOf(one);
    await commands.edgeOf(other);
  });

  const device = async (id: string, at = one) => connect(at.webSocketUrl, { token: await token(id) });
  const gateway = async (id: string, at = one) => connect(at.webSocketUrl, { token: await token(id, 'admin') });
  const kindsOf = (id: string) => commands.of(id).map(({ outcome }) => outcome);

  it('go to the device’s socket, and sent, delivered and the result are reported', async () => {
    const press = await device('press-1');
    const id = await commands.send('press-1', { deadlineAt: 1_900_000_000_000, attempt: 3 });
    expect(await press.next('control')).toEqual({
      type: 'control',
      id,
      command: 'set_threshold',
      args: { min: 22 },
      expiresAt: '2030-03-17T17:46:40.000Z',
      attempt: 3,
    });
    expect(await commands.outcome(id, 'sent')).toMatchObject({ deviceId: 'press-1', edge: oneEdge, attempt: 3 });
    press.send({ type: 'control-received', id });
    await commands.outcome(id, 'delivered');
    press.send({ type: 'control-result', id, ok: true, result: { applied: [1, null] } });
    expect(await commands.outcome(id, 'succeeded')).toMatchObject({ result: { applied: [1, null] }, attempt: 3 });
    expect(await metric(one, 'fleetwire_edge_commands_pending')).toBe(0);
  });

  it('that fail are reported with the device’s reason', async () => {
    const press = await device('press-2', other);
    const id = await commands.send('press-2');
    await press.next('control');
    press.send({ type: 'control-result', id, ok: false, error: { code: 'busy', message: 'a job is running' } });
    expect(await commands.outcome(id, 'failed')).toMatchObject({
      error: { code: 'busy', message: 'a job is running' },
    });
    expect(kindsOf(id)).not.toContain('delivered');
  });

  it('for a device without a socket are answered by the edge that is named, and by none where all are asked', async () => {
    const asked = await commands.send('absent-1');
    const named = await commands.send('absent-1', { edge: oneEdge });
    expect(await commands.outcome(named, 'not-here')).toMatchObject({ edge: oneEdge, deviceId: 'absent-1' });
    expect(kindsOf(asked)).toEqual([]);
  });

  it('for a device of gateways go to the newest socket that has sent readings of it, and after its end to another', async () => {
    const [older, newer, silent] = [await gateway('gw-1'), await gateway('gw-2'), await gateway('gw-3')];
    const reading = (seq: number) => ({ ...telemetry(seq), deviceId: 'sensor-1', epoch: 'e' });
    for (const socket of [newer, older]) {
      socket.send(reading(1));
      await socket.next('ack');
    }
    await commands.send('sensor-1');
    expect(await newer.next('control')).toMatchObject({ deviceId: 'sensor-1', command: 'set_threshold' });
    newer.socket.terminate();
    await newer.closed;
    await eventually(async () => {
      older.send(reading(2));
      const id = await commands.send('sensor-1');
      await eventually(() => expect(older.messages).toContainEqual(expect.objectContaining({ id })), {
        timeoutMs: 500,
      });
    });
    expect(silent.messages.map(({ type }) => type)).toEqual(['hello']);
  });

  it('for a device with a socket of its own go there, though a gateway has sent readings of it since', async () => {
    const own = await device('press-3');
    const dashboard = await gateway('dashboard');
    dashboard.send({ ...telemetry(1), deviceId: 'press-3', epoch: 'dashboard' });
    await dashboard.next('ack');
    await commands.send('press-3');
    await own.next('control');
    expect(dashboard.messages.some(({ type }) => type === 'control')).toBe(false);
  });

  it('that were sent but not delivered when the socket ends are reported as not here; delivered ones are not', async () => {
    const press = await device('press-4');
    const [undelivered, delivered] = [await commands.send('press-4'), await commands.send('press-4')];
    await commands.outcome(undelivered, 'sent');
    await commands.outcome(delivered, 'sent');
    press.send({ type: 'control-received', id: delivered });
    await commands.outcome(delivered, 'delivered');
    press.socket.terminate();
    expect(await commands.outcome(undelivered, 'not-here')).toMatchObject({ error: { code: 'session-ended' } });
    expect(kindsOf(delivered)).toEqual(['sent', 'delivered']);
  });

  it('that a device did before it lost its connection can be answered on its next socket', async () => {
    const press = await device('press-5');
    const id = await commands.send('press-5');
    await press.next('control');
    press.socket.terminate();
    await commands.outcome(id, 'not-here');
    const again = await device('press-5');
    again.send({ type: 'control-result', id, ok: true, result: 'late' });
    expect(await commands.outcome(id, 'succeeded')).toMatchObject({ deviceId: 'press-5', result: 'late' });
  });

  it('are sent again for a further attempt, and not for the same one, whose state is reported again', async () => {
    const press = await device('press-6');
    const id = await commands.send('press-6');
    await commands.outcome(id, 'sent');
    await commands.send('press-6', { id });
    await eventually(() => expect(kindsOf(id)).toEqual(['sent', 'sent']));
    await commands.send('press-6', { id, attempt: 2 });
    await eventually(() => expect(kindsOf(id)).toHaveLength(3));
    const controls = press.messages.filter((message) => message.type === 'control');
    expect(controls.map(({ attempt }) => attempt)).toEqual([1, 2]);
    press.send({ type: 'control-result', id, ok: true });
    expect(await commands.outcome(id, 'succeeded')).toMatchObject({ attempt: 2 });
    await commands.send('press-6', { id, attempt: 2 });
    await commands.outcome(id, 'delivered');
    expect(press.messages.filter(({ type }) => type === 'control')).toHaveLength(2);
  });

  it('are not sent again for an attempt that was written to a socket that has ended', async () => {
    const press = await device('press-9');
    const id = await commands.send('press-9');
    await commands.outcome(id, 'sent');
    press.socket.terminate();
    await commands.outcome(id, 'not-here');
    const again = await device('press-9');
    await commands.send('press-9', { id });
    await eventually(() => expect(kindsOf(id)).toEqual(['sent', 'not-here', 'not-here']));
    await commands.send('press-9', { id, attempt: 2 });
    expect(await again.next('control')).toMatchObject({ id, attempt: 2 });
  });

  it('of another device, or unknown ones, cannot be answered; a second result is ignored and counted', async () => {
    const [press, foreign, manager] = [await device('press-7'), await device('foreign'), await gateway('manager')];
    const id = await commands.send('press-7');
    await press.next('control');
    const before = await metric(one, answers('unknown'));
    const attempts = [
      [foreign, id],
      [manager, id],
      [press, 'no-command-of-mine'],
    ] as const;
    for (const [socket, of] of attempts) {
      socket.send({ type: 'control-result', id: of, ok: true });
      expect(await socket.next('error')).toMatchObject({ id: of, code: 'no-such-command', retryable: false });
      socket.send({ type: 'control-received', id: of });
      expect(await socket.next('error')).toMatchObject({ id: of, code: 'no-such-command', retryable: false });
    }
    expect(await metric(one, answers('unknown'))).toBe(before + 6);
    press.send({ type: 'control-result', id, ok: true, result: 'first' });
    await commands.outcome(id, 'succeeded');
    press.send({ type: 'control-result', id, ok: false, error: { code: 'second' } });
    await eventually(async () => expect(await metric(one, answers('repeated'))).toBe(1));
    foreign.send({ type: 'control-result', id, ok: true });
    await foreign.next('error');
    expect(kindsOf(id)).toEqual(['sent', 'succeeded']);
    expect(press.messages.filter(({ type }) => type === 'error')).toHaveLength(2);
  });

  it('with a result over 64 KiB get an error that names the limit, and can be answered with a smaller one', async () => {
    const press = await device('press-8');
    const id = await commands.send('press-8');
    await press.next('control');
    press.send({ type: 'control-result', id, ok: true, result: 'x'.repeat(64 * 1024) });
    expect(await press.next('error')).toEqual({
      type: 'error',
      id,
      code: 'limit-exceeded',
      message: 'result has 65538 bytes of JSON; at most 65536 are allowed (COMMAND_RESULT_BYTES_MAX)',
      retryable: false,
    });
    press.send({ type: 'control-result', id, ok: 'yes' });
    expect(await press.next('error')).toMatchObject({ id, code: 'wrong-type' });
    press.send({ type: 'control-result', id, ok: true, result: 'x'.repeat(64 * 1024 - 2) });
    expect((await commands.outcome(id, 'succeeded')).result).toHaveLength(64 * 1024 - 2);
    press.send(telemetry(1));
    await press.next('ack');
  });
});

describe('an overloaded edge', async () => {
  const amqpUrl = await freshVhost();
  const commands = await commander(amqpUrl);

  it('sends no command beyond COMMANDS_PENDING_MAX, says so, and sends others after a result', async () => {
    const edge = await ingest(amqpUrl, { COMMANDS_PENDING_MAX: '1' });
    await commands.edgeOf(edge);
    const press = await connect(edge.webSocketUrl, { token: await token('press-1') });
    const [first, second] = [await commands.send('press-1'), await commands.send('press-1')];
    await commands.outcome(first, 'sent');
    expect(await commands.outcome(second, 'not-here')).toMatchObject({
      error: {
        code: 'overloaded',
        message: 'too many commands of this instance have no result yet (COMMANDS_PENDING_MAX is 1)',
      },
    });
    expect(await metric(edge, 'fleetwire_ingest_limits_reached_total{limit="commandsPendingMax"}')).toBe(1);
    press.send({ type: 'control-result', id: first, ok: true });
    await commands.outcome(first, 'succeeded');
    await commands.outcome(await commands.send('press-1'), 'sent');
  });

  it('does not count commands whose session has ended, and takes their results on the next one', async () => {
    const edge = await ingest(amqpUrl, { COMMANDS_PENDING_MAX: '1' });
    await commands.edgeOf(edge);
    const ends = [];
    for (const name of ['press-5', 'press-6']) {
      const press = await connect(edge.webSocketUrl, { token: await token(name) });
      const id = await commands.send(name);
      await commands.outcome(id, 'sent');
      press.socket.terminate();
      await commands.outcome(id, 'not-here');
      ends.push({ name, id });
    }
    expect(await metric(edge, 'fleetwire_edge_commands_pending')).toBe(0);
    // As many as may be pending are remembered: the newest.
    const [forgotten, known] = ends;
    for (const { name, id } of ends) {
      const again = await connect(edge.webSocketUrl, { token: await token(name) });
      again.send({ type: 'control-result', id, ok: true });
      if (id === forgotten?.id) expect(await again.next('error')).toMatchObject({ id, code: 'no-such-command' });
    }
    await commands.outcome(known!.id, 'succeeded');
  });

  it('refuses a result while too many are not confirmed, and takes it again later', async () => {
    const edge = await ingest(amqpUrl, { COMMAND_OUTCOMES_BYTES_MAX: String(256 * 1024) });
    await commands.edgeOf(edge);
    const press = await connect(edge.webSocketUrl, { token: await token('press-2') });
    const ids = await Promise.all(Array.from({ length: 5 }, () => commands.send('press-2')));
    for (const id of ids) await commands.outcome(id, 'sent');
    edge.proxy.stall();
    const answer = (id: string) => press.send({ type: 'control-result', id, ok: true, result: 'x'.repeat(60_000) });
    for (const id of ids) answer(id);
    expect(await press.next('error')).toMatchObject({
      id: ids[4],
      code: 'overloaded',
      retryable: true,
      retryAfterMs: 1_000,
    });
    edge.proxy.resume();
    for (const id of ids.slice(0, 4)) await commands.outcome(id, 'succeeded');
    answer(ids[4]!);
    await commands.outcome(ids[4]!, 'succeeded');
  });

  it('that stops reports the commands that were not delivered', async () => {
    const edge = await ingest(amqpUrl);
    await commands.edgeOf(edge);
    await connect(edge.webSocketUrl, { token: await token('press-3') });
    const id = await commands.send('press-3');
    await commands.outcome(id, 'sent');
    await edge.stop();
    expect(commands.of(id).map(({ outcome }) => outcome)).toEqual(['sent', 'not-here']);
  });
});

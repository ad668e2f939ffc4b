import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { readIngestConfiguration } from '@fleetwire/ingest-ws/configuration';
import { startIngest } from '@fleetwire/ingest-ws/start-ingest';
import { createLogger } from '@fleetwire/runtime/logger';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { afterAll, describe, expect, it } from 'vitest';
import { envelope, readings, startDeadLetterPlatform } from './dead-letter-platform.ts';

const main = new URL('../../cli/src/main.ts', import.meta.url).pathname;

const platform = await startDeadLetterPlatform();
const logger = await createLogger({ name: 'e2e', level: 'silent' });
const ingest = await startIngest({ config: readIngestConfiguration(platform.environment), logger });
afterAll(() => ingest.stop());

const connection = {
  FLEETWIRE_URL: platform.api.url,
  FLEETWIRE_INGEST_URL: ingest.url,
  FLEETWIRE_TOKEN: await platform.token('olga', 'operator'),
};
const device = { FLEETWIRE_TOKEN: await platform.token('probe', 'device') };

function start(args: readonly string[], environment: Record<string, string> = {}) {
  return spawn(process.execPath, [main, ...args], {
    env: { ...connection, ...environment },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
}

async function fleetwire(args: readonly string[], { input = '', env = {} }: { input?: string; env?: object } = {}) {
  const child = start(args, env as Record<string, string>);
  child.stdin.end(input);
  const [stdout, stderr, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'close')]);
  return { code, stdout, stderr };
}

/** Runs a command with --json and gives what it printed. */
async function json<T>(...args: string[]): Promise<T> {
  const { code, stdout, stderr } = await fleetwire([...args, '--json']);
  expect(stderr).toBe('');
  expect(code).toBe(0);
  return JSON.parse(stdout) as T;
}

describe('fleetwire dlq', () => {
  it('lists, groups, shows and edits dead letters, and waits for the outcome', async () => {
    await platform.publish(envelope(readings('cli', 2)));
    const [letter] = await platform.deadLettersOf('cli', 2);
    const listed = await json<{ data: { id: string }[]; complete: boolean }>('dlq', 'ls', '--device', 'cli');
    expect(listed).toMatchObject({ complete: true, data: [{ id: letter!.id }, {}] });
    expect((await fleetwire(['dlq', 'ls', '--limit', '1'])).stdout).toContain('raise --limit');
    expect((await fleetwire(['dlq', 'groups'])).stdout).toContain(letter!.fingerprint);
    expect(await json('dlq', 'groups')).toMatchObject({ data: [{ count: 2 }] });

    const patch = ['--patch', '{"metrics":{"text":"fine"}}', '--note', 'by hand', '--wait'];
    expect(await json('dlq', 'edit', letter!.id, ...patch)).toMatchObject({ state: 'done', counts: { stored: 1 } });
    const { stdout } = await fleetwire(['dlq', 'show', letter!.id]);
    expect(stdout).toContain('status       stored');
    expect(stdout).toContain('olga  edited  {"note":"by hand","difference":{"metrics":{"text":"fine"}}}');
  });

  it('replays dead letters, exits with 1 when a reading failed again, and lists the replays', async () => {
    const dry = await json<{ state: string }>('dlq', 'replay', '--device', 'cli', '--dry-run');
    expect(dry).toMatchObject({ state: 'dry-run', counts: { matched: 1 } });
    const { code, stdout } = await fleetwire(['dlq', 'replay', '--device', 'cli', '--wait']);
    expect(code).toBe(1);
    expect(stdout).toMatch(/^replay \S+: done, 1 of 1 published, 0 stored, 1 failed again, 0 pending\n$/);
    const id = /^replay (\S+):/.exec(stdout)![1]!;
    expect((await fleetwire(['dlq', 'replays'])).stdout).toContain(id);
    expect(await json('dlq', 'replays', id)).toMatchObject({ id, counts: { failedAgain: 1 } });
    expect(await fleetwire(['dlq', 'cancel', id])).toMatchObject({ code: 1, stderr: expect.stringContaining('409') });
  });

  it('discards and restores dead letters, by id and by filter', async () => {
    const open = ['--device', 'cli', '--status', 'open'];
    const [letter] = (await json<{ data: { id: string }[] }>('dlq', 'ls', ...open)).data;
    expect(await json('dlq', 'discard', letter!.id, '--why', 'a test')).toEqual({ count: 1 });
    expect(await json('dlq', 'restore', '--device', 'cli', '--why', 'no')).toEqual({ count: 1 });
    expect(await fleetwire(['dlq', 'discard', '--why', 'all'])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('--confirm must be true'),
    });
    expect(await json('dlq', 'discard', '--confirm', '--why', 'all')).toEqual({ count: 1 });
  });
});

describe('fleetwire send, tail, devices and queues', () => {
  it('shows a reading that was sent from the shell', async () => {
    const tail = start(['tail', '--interval', '100ms', '--json']);
    const tailed: { deviceId: string; metrics: object }[] = [];
    tail.stdout.setEncoding('utf8').on('data', (lines: string) => {
      tailed.push(
        ...lines
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line)),
      );
    });
    const sent = await fleetwire(['send', 'temperature=21.5', 'state=on', '--epoch', 'e', '--seq', '7', '--json'], {
      env: device,
    });
    expect(JSON.parse(sent.stdout)).toMatchObject({ accepted: 1, streams: [{ deviceId: 'probe', firstSeq: 7 }] });
    await eventually(async () => expect(await platform.stored('probe')).toMatchObject([{ seq: 7 }]));
    let seq = 8;
    await eventually(async () => {
      const body = [{ epoch: 'e', seq: seq++, ts: Date.now(), metrics: { temperature: 22 } }];
      expect(await fleetwire(['send', '-'], { env: device, input: JSON.stringify(body) })).toMatchObject({ code: 0 });
      expect(tailed.at(-1)).toMatchObject({ deviceId: 'probe', metrics: { temperature: 22, state: 'on' } });
    });
    const exited = once(tail, 'exit');
    tail.kill('SIGINT');
    expect(await exited).toEqual([0, null]);

    expect(await json('devices', '--search', 'PRO')).toMatchObject({ data: [{ deviceId: 'probe' }], complete: true });
    const queues = await json<{ data: { name: string }[] }>('queues');
    expect(queues.data.map(({ name }) => name)).toContain('telemetry.persist');
    expect((await fleetwire(['queues'])).stdout).toContain('telemetry.persist');
  });

  it('registers, patches, shows and retires a device, and refuses a version that is not the present one', async () => {
    const made = await json('devices', 'register', 'press-7', '--name', 'Press 7', '--tag', 'site:north', 'line:2');
    expect(made).toMatchObject({ name: 'Press 7', tags: ['site:north', 'line:2'], version: 1 });
    const patched = await json('devices', 'patch', 'press-7', '--set', '{"metadata":{"firmware":"1.2"},"name":null}');
    expect(patched).toMatchObject({ name: null, metadata: { firmware: '1.2' }, version: 2 });
    expect(await json('devices', 'list', '--tag', 'line:2')).toMatchObject({ data: [{ deviceId: 'press-7' }] });
    const stale = await fleetwire(['devices', 'patch', 'press-7', '--set', '{"name":"x"}', '--version', '1']);
    expect(stale).toMatchObject({ code: 1, stderr: expect.stringContaining('412') });
    expect(await json('devices', 'status', 'press-7', '--set', 'maintenance')).toMatchObject({ status: 'maintenance' });
    expect(await json('devices', 'retire', 'press-7')).toMatchObject({ status: 'retired', version: 4 });
    expect((await fleetwire(['devices', 'show', 'press-7'])).stdout).toContain('retired');
    expect(await json('devices', '--search', 'press-7')).toMatchObject({ data: [] });
  });

  it('tails the readings of one device, each once', async () => {
    const tail = start(['tail', 'probe', '--interval', '100ms', '--json']);
    const seqs: number[] = [];
    tail.stdout.setEncoding('utf8').on('data', (lines: string) => {
      seqs.push(
        ...lines
          .trim()
          .split('\n')
          .map((line) => (JSON.parse(line) as { seq: number }).seq),
      );
    });
    let seq = 100;
    await eventually(async () => {
      await fleetwire(['send', 'temperature=1', '--epoch', 'e', '--seq', String(seq++)], { env: device });
      expect(seqs.length).toBeGreaterThanOrEqual(2);
    });
    expect(seqs).toEqual(seqs.map((_, index) => seqs[0]! + index));
    const exited = once(tail, 'exit');
    tail.kill('SIGINT');
    expect(await exited).toEqual([0, null]);
  });
});

describe('fleetwire', () => {
  it.for([
    [['dlq', 'ls', '--reason', 'bad luck'], 2, 'Allowed choices'],
    [['dlq', 'ls', '--limit', '0'], 2, 'whole number from 1'],
    [['dlq', 'edit', 'x'], 2, '--patch or --replacement'],
    [['dlq', 'edit', 'x', '--patch', '[]'], 2, 'JSON object'],
    [['dlq', 'discard', 'x'], 2, '--why'],
    [['send', 'temperature'], 2, 'name=value'],
    [['tail', '--interval', '1ms'], 2, '100ms'],
    [['dlq', 'show', 'nothing'], 1, '404 There is no dead letter nothing'],
    [['dlq', 'ls', '--token', 'nonsense'], 1, '401'],
    [['dlq', 'ls', '--url', 'http://127.0.0.1:1'], 1, 'http://127.0.0.1:1 does not answer'],
    [['dlq', 'ls', '--from', 'whenever'], 1, '--from is "whenever"'],
  ] as const)('%j ends with exit code %i', async ([args, code, reason]) => {
    expect(await fleetwire(args)).toMatchObject({ code, stderr: expect.stringContaining(reason) });
  });

  it('prints errors as JSON with --json', async () => {
    const { code, stdout, stderr } = await fleetwire(['dlq', 'show', 'nothing', '--json']);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(JSON.parse(stderr)).toMatchObject({ problem: { status: 404 } });
  });

  it('replaces control characters of a payload before they reach the terminal', async () => {
    await platform.publish(Buffer.from('\u001B[2Jgone\u0007'));
    const id = await eventually(async () => {
      const { body } = await platform.call('GET', '/dead-letters?reason=unreadable');
      expect(body.data).toHaveLength(1);
      return body.data[0]!.id;
    });
    const { stdout } = await fleetwire(['dlq', 'show', id]);
    expect(stdout).toContain('\u{FFFD}[2Jgone\u{FFFD}');
    expect(stdout).not.toContain('\u001B');
  });
});

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, describe, it, onTestFinished, vi } from 'vitest';
import { runCommandLine } from '../src/command-line.ts';
import { fleetwireCommand } from '../src/fleetwire-command.ts';

const never = new AbortController().signal;

interface Outcome {
  code: number;
  stdout: string;
  stderr: string;
}

/** Runs a command in this process: some tests need ten of them, and ten processes take long on a busy machine. */
async function fleetwire(...args: string[]): Promise<Outcome> {
  const captured = (stream: NodeJS.WriteStream) => vi.spyOn(stream, 'write').mockImplementation(() => true).mock.calls;
  const [stdout, stderr] = [captured(process.stdout), captured(process.stderr)];
  try {
    await runCommandLine(fleetwireCommand(never), ['node', 'fleetwire', ...args]);
    return { code: Number(process.exitCode ?? 0), stdout: stdout.join(''), stderr: stderr.join('') };
  } finally {
    vi.restoreAllMocks();
    process.exitCode = undefined;
  }
}

async function keyFile(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'fleetwire-keys-'));
  onTestFinished(() => rm(directory, { recursive: true }));
  return join(directory, 'keys.json');
}

describe('fleetwire devices', () => {
  it('names the option and the variable of the token when the API requires one', async () => {
    const api = createServer((_, response) => {
      response.writeHead(401, { 'content-type': 'application/problem+json' }).end('{"detail":"Send a token"}');
    }).listen(0, '127.0.0.1');
    await once(api, 'listening');
    onTestFinished(() => void api.close());
    const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
    vi.stubEnv('FLEETWIRE_TOKEN', undefined);
    onTestFinished(() => void vi.unstubAllEnvs());
    expect(await fleetwire('devices', '--url', url)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining(`${url} requires a token: pass --token, or set FLEETWIRE_TOKEN`),
    });
  });
});

describe('fleetwire keys', () => {
  it('generates a private key set that only its owner can read, and its public half', async () => {
    const path = await keyFile();
    expect(await fleetwire('keys', 'generate', '--out', path, '--kid', 'first')).toMatchObject({ code: 0 });
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect(JSON.parse(await readFile(path, 'utf8')).keys).toMatchObject([{ kid: 'first', d: expect.any(String) }]);
    const shared = JSON.parse(await readFile(path.replace('.json', '.public.json'), 'utf8'));
    expect(shared.keys[0]).toMatchObject({ kid: 'first', x: expect.any(String) });
    expect(shared.keys[0]).not.toHaveProperty('d');
  });

  it('does not replace an existing key file', async () => {
    const path = await keyFile();
    await fleetwire('keys', 'generate', '--out', path);
    expect(await fleetwire('keys', 'generate', '--out', path)).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('already exists'),
    });
  });

  it('rotates keys: tokens of the previous key stay valid, tokens of older keys do not', async () => {
    const path = await keyFile();
    await fleetwire('keys', 'generate', '--out', path, '--kid', 'k1');
    const mint = async () =>
      (await fleetwire('token', 'mint', '--keys', path, '--role', 'device', '--subject', 'thermo-1')).stdout.trim();
    const old = await mint();
    await fleetwire('keys', 'rotate', '--keys', path, '--kid', 'k2');
    const recent = await mint();
    expect((await fleetwire('token', 'inspect', recent)).stdout).toContain('k2');
    expect(await fleetwire('token', 'inspect', old, '--keys', path)).toMatchObject({
      code: 0,
      stdout: expect.stringContaining('good'),
    });
    await fleetwire('keys', 'rotate', '--keys', path, '--kid', 'k3');
    expect(await fleetwire('token', 'inspect', old, '--keys', path)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining('refused: no key'),
    });
    expect(await fleetwire('token', 'inspect', recent, '--keys', path)).toMatchObject({ code: 0 });
  });
});

describe('fleetwire token', () => {
  it('mints a token that inspect verifies with the public key set', async () => {
    const path = await keyFile();
    await fleetwire('keys', 'generate', '--out', path);
    const { stdout } = await fleetwire(
      'token',
      'mint',
      '--keys',
      path,
      '--role',
      'analyst',
      '--subject',
      'ada',
      '--expires',
      '2h',
      '--json',
    );
    const minted = JSON.parse(stdout) as { token: string; expiresAt: string };
    expect(Date.parse(minted.expiresAt) - Date.now()).toBeGreaterThan(7_100_000);
    const inspected = await fleetwire(
      'token',
      'inspect',
      minted.token,
      '--keys',
      path.replace('.json', '.public.json'),
      '--json',
    );
    expect(JSON.parse(inspected.stdout)).toMatchObject({
      subject: 'ada',
      role: 'analyst',
      isExpired: false,
      verdict: 'good',
    });
  });

  it.for([
    [['token', 'mint', '--keys', 'k', '--role', 'king', '--subject', 'a'], 2, 'king'],
    [['token', 'mint', '--keys', 'k', '--role', 'device', '--subject', 'a b'], 2, 'letter or digit'],
    [['token', 'mint', '--keys', 'k', '--role', 'device', '--subject', 'a', '--expires', 'soon'], 2, '30d'],
    [['token', 'mint', '--role', 'device', '--subject', 'a'], 2, '--keys'],
    [['token', 'mint', '--keys', '/nowhere/keys.json', '--role', 'device', '--subject', 'a'], 1, '/nowhere/keys.json'],
    [['token', 'inspect', 'nonsense'], 1, 'not a JSON web token'],
    [['tokens'], 2, 'tokens'],
  ] as const)('%j ends with exit code %i', async ([args, code, reason]) => {
    expect(await fleetwire(...args)).toMatchObject({ code, stderr: expect.stringContaining(reason) });
  });

  it('reports a file without keys and does not print its content', async () => {
    const path = await keyFile();
    await writeFile(path, 'secret');
    const { code, stderr } = await fleetwire('token', 'mint', '--keys', path, '--role', 'device', '--subject', 'a');
    expect(code).toBe(1);
    expect(stderr).toContain('must be JSON');
    expect(stderr).not.toContain('secret');
  });
});

it('the program ends with the exit code of its command', async () => {
  const main = new URL('../src/main.ts', import.meta.url).pathname;
  expect(
    await once(spawn(process.execPath, [main, 'token', 'inspect', 'nonsense'], { stdio: 'ignore' }), 'exit'),
  ).toEqual([1, null]);
});

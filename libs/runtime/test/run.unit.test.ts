import { describe, expect, it } from 'vitest';
import { ServiceProcess } from './service-process.ts';

describe('a running service', () => {
  it('reports not ready while the listener is still open, finishes the request in flight, then exits with 0', async () => {
    await using service = new ServiceProcess({});
    const url = await service.url();
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const slow = fetch(`${url}/slow`);
    await service.logged('slow request is in flight');

    service.child.kill('SIGTERM');
    await service.logged('readiness is off');
    const readiness = await fetch(`${url}/readyz`);
    expect(readiness.status).toBe(503);
    expect(await readiness.json()).toMatchObject({ ready: false, draining: true });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);

    service.child.stdin.write('go on\n');
    expect(await (await slow).text()).toBe('finished');
    expect(await service.exitCode).toBe(0);
    await expect(fetch(`${url}/readyz`)).rejects.toThrow();
  });

  it('exits with 1 and logs the deadline when draining exceeds it', async () => {
    await using service = new ServiceProcess({ BEHAVIOUR: 'never-drains', DRAIN_TIMEOUT_MS: '100' });
    await service.url();
    service.child.kill('SIGINT');
    expect(await service.exitCode).toBe(1);
    expect(service.lines.at(-1)).toMatchObject({ level: 'fatal', drainTimeoutMs: 100 });
  });

  it('exits immediately with 1 at a second signal', async () => {
    await using service = new ServiceProcess({ BEHAVIOUR: 'never-drains' });
    await service.url();
    service.child.kill('SIGTERM');
    await service.logged('readiness is off');
    service.child.kill('SIGINT');
    expect(await service.exitCode).toBe(1);
    expect(service.lines.at(-1)?.msg).toBe('second signal: exiting without draining');
  });

  it.each([
    ['cannot-start', 'could not start', 'the broker said no'],
    ['throws-later', 'uncaught exception', 'a bug'],
    ['rejects-later', 'unhandled rejection', 'not caught'],
  ])('exits with 1 and logs the reason when it %s', async (behaviour, msg, message) => {
    await using service = new ServiceProcess({ BEHAVIOUR: behaviour });
    expect(await service.exitCode).toBe(1);
    expect(service.lines.at(-1)).toMatchObject({ level: 'fatal', msg, err: { message } });
  });

  it('exits with 1 and logs every problem of its environment', async () => {
    await using service = new ServiceProcess({ BEHAVIOUR: 'badly', DRAIN_TIMEOUT_MS: 'soon' });
    expect(await service.exitCode).toBe(1);
    expect(service.lines.at(-1)?.['problems']).toHaveLength(2);
  });
});

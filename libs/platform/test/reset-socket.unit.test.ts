import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';

/** Ends and resets a connection in one tick. */
const program = `
  import { once } from 'node:events';
  import { connect, createServer } from 'node:net';
  import { resetSocket } from ${JSON.stringify(new URL('../src/faults/reset-socket.ts', import.meta.url).href)};
  const server = createServer({ allowHalfOpen: true }, (accepted) => {
    accepted.on('error', () => {}).on('end', () => accepted.destroy()).resume();
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const socket = connect({ port: server.address().port, host: '127.0.0.1', allowHalfOpen: true });
  socket.on('error', () => {});
  await once(socket, 'connect');
  socket.end();
  resetSocket(socket);
  await once(socket, 'close');
  console.log('closed');
  server.close();
`;
const exitsWithinMs = 15_000;

it('lets the process exit after a socket was reset while its end was being sent', async () => {
  const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', program], {
    timeout: exitsWithinMs,
    killSignal: 'SIGKILL',
  });
  expect(stdout).toBe('closed\n');
});

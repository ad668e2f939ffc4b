import type { Socket } from 'node:net';

/**
 * Closes with RST. A socket whose FIN is being sent is closed without: libuv refuses to reset it, Node then regards it as closed although it is
 * not, and the process never exits (seen with Node 24.21: it spins in `Environment::CleanupHandles`).
 */
export function resetSocket(socket: Socket): void {
  if (socket.writableEnded && !socket.writableFinished) socket.destroy();
  else socket.resetAndDestroy();
}

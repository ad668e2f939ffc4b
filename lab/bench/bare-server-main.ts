import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { WebSocketServer } from 'ws';

// A process of its own: the bench starts it with the number of readings per frame, and gets the port as a message.
// It does the least that the load generator accepts: greets each socket, and acknowledges each frame without parsing it.

const readingsPerFrame = Number(process.argv[2]);
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false });
server.on('connection', (socket) => {
  let upTo = 0;
  socket.send(JSON.stringify({ type: 'hello' }));
  socket.on('message', () => {
    upTo += readingsPerFrame;
    socket.send(JSON.stringify({ type: 'ack', upTo }));
  });
});
await once(server, 'listening');
process.send?.((server.address() as AddressInfo).port);
// The bench has exited: so does this process, when nothing is open any more.
process.once('disconnect', () => {
  server.close();
  for (const socket of server.clients) socket.terminate();
});

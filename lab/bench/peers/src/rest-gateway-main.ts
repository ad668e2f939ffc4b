import { once } from 'node:events';
import { type WebSocket, WebSocketServer } from 'ws';

const { PORT, API_URL = '' } = process.env;

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(PORT) });

/** Posts a device's readings one after the other, in order, and answers each once it is stored. */
server.on('connection', (device: WebSocket, { headers }) => {
  const deviceId = headers.authorization?.replace('Bearer ', '');
  const post = async (text: string) => {
    const { seq, ts, metrics } = JSON.parse(text) as { seq: number; ts: number; metrics: object };
    const response = await fetch(`${API_URL}/readings`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ deviceId, ts, metrics }),
    });
    await response.arrayBuffer();
    if (response.ok) device.send(JSON.stringify({ type: 'ack', upTo: seq }));
  };
  let posted = Promise.resolve();
  device.on('message', (data: Buffer) => {
    posted = posted.then(() => post(data.toString('utf8')));
  });
  device.send(JSON.stringify({ type: 'hello' }));
});

await once(server, 'listening');
console.log('ready');

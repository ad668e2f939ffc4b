import { request } from 'node:http';

/** Sends one request with exactly these headers (`fetch` does not send any `Host`), also an upgrade. @returns status and headers of the answer */
export async function sendHeaders(
  url: string,
  headers: Record<string, string>,
  method = 'GET',
): Promise<{ status: number; headers: NodeJS.Dict<string | string[]> }> {
  const answer = Promise.withResolvers<{ status: number; headers: NodeJS.Dict<string | string[]> }>();
  const sent = request(url.replace(/^ws/, 'http'), { headers, method });
  sent.on('response', (response) => {
    response.resume();
    answer.resolve({ status: response.statusCode ?? 0, headers: response.headers });
  });
  sent.on('upgrade', (response, socket) => {
    socket.destroy();
    answer.resolve({ status: response.statusCode ?? 0, headers: response.headers });
  });
  sent.on('error', answer.reject);
  sent.end();
  return answer.promise;
}

/** Headers of a WebSocket upgrade (RFC 6455, 4.1). */
export const upgradeHeaders = {
  Connection: 'Upgrade',
  Upgrade: 'websocket',
  'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==',
  'Sec-WebSocket-Version': '13',
};

import { createServer } from 'node:http';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import pg from 'pg';

// A process of its own: the bench starts it with the database's URL and the statements by name, and gets the port as a message.
// It does the least that answers a question: runs the statement, and writes its rows as JSON.

const [, , databaseUrl, statementsText] = process.argv;
const statements = JSON.parse(statementsText!) as Record<string, string>;
const pool = new pg.Pool({ connectionString: databaseUrl, max: 8 });
pg.types.setTypeParser(pg.types.builtins.INT8, Number);

const server = createServer((request, response) => {
  const text = statements[decodeURIComponent(request.url!.slice(1))]!;
  pool.query(text).then(
    ({ rows }) => response.setHeader('content-type', 'application/json').end(JSON.stringify(rows)),
    (error: Error) => response.writeHead(500).end(error.message),
  );
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
process.send?.((server.address() as AddressInfo).port);
process.once('disconnect', () => {
  server.close();
  server.closeAllConnections();
  void pool.end();
});

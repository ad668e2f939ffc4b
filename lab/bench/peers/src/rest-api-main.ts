import { once } from 'node:events';
import express from 'express';
import pg from 'pg';

const { PORT, DATABASE_URL } = process.env;

const pool = new pg.Pool({ connectionString: DATABASE_URL });
await pool.query(`
  create table readings (
    id bigint generated always as identity primary key,
    device_id text not null,
    ts timestamptz not null,
    metrics jsonb not null
  );
  create index on readings (device_id, ts)`);

const app = express();
app.post('/readings', express.json(), async (request, response) => {
  const { deviceId, ts, metrics } = request.body as { deviceId: string; ts: number; metrics: object };
  const { rows } = await pool.query<{ id: string }>(
    'insert into readings (device_id, ts, metrics) values ($1, $2, $3) returning id',
    [deviceId, new Date(ts), metrics],
  );
  response.status(201).json(rows[0]);
});

await once(app.listen(Number(PORT), '127.0.0.1'), 'listening');
console.log('ready');

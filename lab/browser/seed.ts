import { type Database, openDatabase } from '@fleetwire/store/database';
import { insertQueueSamples, queueSampleMs } from '@fleetwire/store/queue-samples';
import { eventually } from '@fleetwire/platform/testing/eventually';
import { type DeviceClient, startDeviceClient } from '../fleet/device-client.ts';
import type { BrowserPlatform } from './platform.ts';
import { fleet, historyMs, measure, metadata, minuteMs, type SeedDevice, truck } from './seed-devices.ts';
import { epochOf, publishHistory, timeout } from './seed-history.ts';

const tickMs = 1_000;
const storedWithinMs = 600_000;

type Call = <Answer>(method: string, path: string, body?: unknown, subject?: string) => Promise<Answer>;
type Client = Readonly<{ device: SeedDevice; client: DeviceClient }>;

/** A fleet with a day of history, whose devices stay connected and send until it is disposed of. Resolves once that day is stored. */
export async function seedFleet(
  platform: BrowserPlatform,
  { amqpUrl, databaseUrl }: { readonly amqpUrl: string; readonly databaseUrl: string },
): Promise<AsyncDisposable> {
  const call = callsOf(platform);
  for (const { deviceId, name, type, depot, firmware, everyMs } of fleet)
    await call('POST', '/devices', {
      deviceId,
      name,
      type,
      tags: [`depot:${depot}`, `firmware:${firmware}`],
      expectedIntervalMs: everyMs,
      metadata,
    });
  const now = Date.now();
  const { deadLetters, numbers } = await publishHistory(amqpUrl, {
    now,
    from: now - historyMs,
    to: now,
    isFirst: true,
  });
  await refuseCommand(call);
  await eventually(
    async () => {
      const { total } = await call<{ total: { inFlight: number } }>('GET', '/ledger?from=now-25h');
      if (total.inFlight > 0) throw new Error(`${total.inFlight} readings are not stored yet`);
      const groups = await call<{ data: { count: number }[] }>('GET', '/dead-letters/groups');
      const found = groups.data.reduce((sum, { count }) => sum + count, 0);
      if (found < deadLetters) throw new Error(`${found} of ${deadLetters} dead letters are there yet`);
    },
    { timeoutMs: storedWithinMs, intervalMs: tickMs },
  );
  // That took its time: the fleet goes on without a pause.
  const connectedAt = Date.now();
  const since = await publishHistory(amqpUrl, { now, from: now, to: connectedAt, isFirst: false });
  await using started = new AsyncDisposableStack();
  const clients: Client[] = [];
  for (const device of fleet) {
    if (device.now === 'offline') continue;
    const client = startDeviceClient({
      url: `${platform.url.replace('http', 'ws')}/ws`,
      deviceId: device.deviceId,
      token: await platform.platform.keys.token(device.deviceId, 'device'),
      epoch: epochOf(device),
      firstSeq: (since.numbers.get(device.deviceId) ?? numbers.get(device.deviceId) ?? 0) + 1,
    });
    started.defer(() => client.stop({ settleTimeoutMs: tickMs }));
    clients.push({ device, client });
  }
  started.use(sendOn(clients, now, connectedAt));
  await sendCommands(call);
  await replayed(call);
  const database = openDatabase({ databaseUrl, poolMax: 1, statementTimeoutMs: 60_000, applicationName: 'seed' });
  try {
    await moveBack(database, now);
    await sampleQueue(database, now);
  } finally {
    await database.close();
  }
  const resources = started.move();
  return { [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

function callsOf({ url, platform }: BrowserPlatform): Call {
  return async <Answer>(method: string, path: string, body?: unknown, subject = 'ops'): Promise<Answer> => {
    const authorization = `Bearer ${await platform.keys.token(subject, 'admin')}`;
    const answer = await fetch(`${url}/api/v1${path}`, {
      method,
      headers: { authorization, 'content-type': 'application/json', prefer: 'wait=30' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`${method} ${path} answered ${answer.status}: ${await answer.text()}`);
    return (await answer.json()) as Answer;
  };
}

/** Each device goes on where its history ends, at its interval. */
function sendOn(clients: readonly Client[], now: number, connectedAt: number): Disposable {
  const sentUntil = new Map(clients.map(({ client }) => [client, connectedAt]));
  const timer = setInterval(() => {
    const time = Date.now();
    for (const { device, client } of clients) {
      if (device.now === 'silent') continue;
      const { everyMs, number } = device;
      const phase = (number * 7_919) % everyMs;
      const last = sentUntil.get(client)!;
      const due = [];
      const start = now + phase;
      for (let at = start + Math.ceil((last - start) / everyMs) * everyMs; at < time; at += everyMs)
        due.push({ ts: at, metrics: measure(device, at, now) });
      sentUntil.set(client, time);
      if (due.length > 0) client.send(...due);
    }
  }, tickMs);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

const commandsPath = `/devices/${truck.deviceId}/commands`;

/** The device is not connected yet. */
async function refuseCommand(call: Call): Promise<void> {
  await call('POST', commandsPath, { command: 'locate', timeoutMs: 5_000 }).catch((error: Error) => {
    if (!error.message.includes('device-offline')) throw error;
  });
}

async function sendCommands(call: Call): Promise<void> {
  // The device may be connecting still.
  await call('POST', commandsPath, { command: 'report-now', mode: 'when-online' });
  for (const [command, args] of [
    ['set-point', -22],
    ['mode', 'boost'],
    ['set-point', -18],
    ['mode', 'cooling'],
  ] as const)
    await call('POST', commandsPath, { command, args, timeoutMs: 30_000 });
  await eventually(
    async () => {
      const { data } = await call<{ data: { state: string; finishedAt: string | null }[] }>('GET', commandsPath);
      const open = data.filter(({ finishedAt }) => finishedAt === null).length;
      if (open > 0) throw new Error(`${open} commands have not ended`);
    },
    { intervalMs: tickMs },
  );
}

/** What failed for a transient reason is replayed by itself, after a minute. */
async function replayed(call: Call): Promise<void> {
  await eventually(
    async () => {
      const { data } = await call<{ data: { source: string; counts: { matched: number; stored: number } }[] }>(
        'GET',
        '/dead-letters/replays',
      );
      const replay = data.find(({ source }) => source === 'automatic');
      if (replay === undefined || replay.counts.stored < replay.counts.matched) throw new Error('not replayed yet');
    },
    { timeoutMs: storedWithinMs, intervalMs: tickMs },
  );
}

/** Of what happens while the fleet is made, the services write the times of now: connections, commands and failures began earlier in this story. */
async function moveBack({ pool }: Database, now: number): Promise<void> {
  await pool.query(
    `update connections set started_at = now() - case device_id when $1 then $2 * interval '1 ms' else (120 + abs(hashtext(device_id)) % 1200) * interval '1 min' end
     where ended_at is null`,
    [truck.deviceId, truck.tunnel.to],
  );
  await pool.query(
    'update presence p set since = c.started_at from connections c where c.device_id = p.device_id and c.ended_at is null',
  );
  await pool.query(
    `update dead_letters set first_failed_at = received_at + interval '1 s', last_failed_at = received_at + interval '1 s'
     where reason in ('refused-by-database', 'invalid-reading')`,
  );
  // The queue was as deep as no queue is while a day arrived in a minute.
  await pool.query('delete from queue_samples where at >= $1', [new Date(now)]);
  await pool.query('delete from alarms where started_at >= $1', [new Date(now)]);
  await pool.query(
    `insert into alarms (name, subject, summary, started_at, ended_at)
     values ('FleetwireWorkerHolds', '', 'Workers hold readings, because Postgres does not write', $1, $2)`,
    [new Date(now - timeout.from), new Date(now - timeout.to)],
  );
  await pool.query(
    `update commands c set created_at = created_at - ago, sent_at = sent_at - ago, delivered_at = delivered_at - ago, finished_at = finished_at - ago
     from (select number, row_number() over (order by number desc) * interval '23 min' as ago from commands) as a where a.number = c.number`,
  );
}

/** The depth of the queue, as query-api would have written it: Postgres did not write for a while, and the queue drained quickly then. */
async function sampleQueue(database: Database, now: number): Promise<void> {
  const end = Math.floor(Date.now() / queueSampleMs) * queueSampleMs;
  const perSecond = fleet.reduce((sum, { everyMs }) => sum + 1_000 / everyMs, 0);
  const [stopped, drained] = [now - timeout.from, now - timeout.to + minuteMs];
  for (let at = end - historyMs; at < end; at += end - at > 65 * minuteMs ? 5 * minuteMs : queueSampleMs) {
    const inRate = perSecond * (1 + 0.12 * Math.sin(at / 90_000) + 0.05 * Math.sin(at / 21_000));
    const sinceMs = at - stopped;
    const isHeld = sinceMs >= 0 && at < now - timeout.to;
    const drains = at >= now - timeout.to && at < drained;
    const most = (perSecond * (timeout.from - timeout.to)) / 1_000;
    const readings = Math.round(
      isHeld ? (perSecond * sinceMs) / 1_000 : drains ? (most * (drained - at)) / minuteMs : 0,
    );
    await insertQueueSamples(database, {
      at,
      samples: [
        {
          queue: 'telemetry.persist',
          ready: readings,
          unacked: 0,
          readings,
          inRate,
          outRate: isHeld ? 0 : drains ? inRate + most / 60 : inRate,
          oldestSeconds: isHeld ? sinceMs / 1_000 : readings / perSecond,
        },
      ],
    });
  }
}

import { eventually } from '@fleetwire/platform/testing/eventually';
import pg from 'pg';
import WebSocket from 'ws';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { deviceIdOf } from '../workload.ts';
import { measureRuns } from './runs.ts';

const deviceCount = 5_000;
const connectingMax = 50;
const waiting = { timeoutMs: 60_000, intervalMs: 50 };

/** 5,000 devices connect to an ingest-ws, which is then killed: until presence is stored, of all of them. */
export async function studyPresence(context: StudyContext): Promise<StudyResult> {
  return measureRuns(context, measure, [
    {
      id: { kind: 'presenceOnline', devices: deviceCount },
      name: `presence of ${deviceCount} devices online, after the last one connected`,
      unit: 's',
      valueOf: ({ onlineSeconds }) => onlineSeconds,
    },
    {
      id: { kind: 'presenceEdgeKilled', devices: deviceCount },
      name: `presence of ${deviceCount} devices offline, after kill -9 of their ingest-ws`,
      unit: 's',
      goal: { direction: 'at most', bar: 15 },
      valueOf: ({ lostSeconds }) => lostSeconds,
    },
  ]);
}

async function measure(context: StudyContext) {
  await using platform = await BenchPlatform.start(context, { name: 'presence' });
  const [url] = platform.webSocketUrls as [string];
  const [edge] = platform.ingests;
  const tokens = await Promise.all(
    Array.from({ length: deviceCount }, (_, index) => platform.tokenOf(deviceIdOf(index))),
  );
  const client = new pg.Client({ connectionString: platform.databaseUrl });
  await client.connect();
  const sockets: WebSocket[] = [];
  /** Seconds until all devices have this presence. */
  const untilAllAre = async (presence: string): Promise<number> => {
    const startedAt = performance.now();
    await eventually(async () => {
      const { rows } = await client.query<{ n: number }>(
        `select count(*)::int4 as n from presence where status || ': ' || reason = $1`,
        [presence],
      );
      if (rows[0]?.n !== deviceCount) throw new Error(`${rows[0]?.n} of ${deviceCount} devices are ${presence}`);
    }, waiting);
    return (performance.now() - startedAt) / 1_000;
  };
  try {
    const meter = await platform.meter({ devices: process.pid });
    for (let first = 0; first < deviceCount; first += connectingMax)
      sockets.push(
        ...(await Promise.all(tokens.slice(first, first + connectingMax).map((token) => connect(url, token)))),
      );
    const onlineSeconds = await untilAllAre('online: connected');
    const { othersCpuShare } = await meter.stop();
    await edge!.kill();
    return { othersCpuShare, onlineSeconds, lostSeconds: await untilAllAre('offline: edge-lost') };
  } finally {
    for (const socket of sockets) socket.terminate();
    await client.end();
  }
}

async function connect(url: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(`${url}?epoch=1`, { headers: { authorization: `Bearer ${token}` } });
  socket.on('error', () => {});
  await new Promise((resolve, reject) => socket.once('open', resolve).once('close', reject));
  return socket;
}

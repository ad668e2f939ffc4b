import type { DeviceClient } from '../../fleet/device-client.ts';
import { startDeviceClient } from '../../fleet/device-client.ts';
import { eventually } from '@fleetwire/platform/testing/eventually';
import WebSocket from 'ws';
import { percentile } from '../figure.ts';
import { BenchPlatform } from '../platform.ts';
import type { StudyContext, StudyResult } from '../study.ts';
import { measureRuns } from './runs.ts';

const answeringDevices = 20;
const silentDevices = 20;
const pendingCommands = 1_000;
const waitSeconds = 10;
const env = { RATE_LIMIT_PER_MINUTE: '1000000' };

type Measured = Awaited<ReturnType<typeof measure>>;

/**
 * From `POST /devices/{id}/commands` with `Prefer: wait` to its answer with the device's result, one command after the other, to devices on two
 * instances; then the same beside 1,000 commands that other devices have not answered.
 */
export async function studyCommands(context: StudyContext): Promise<StudyResult> {
  const conditions = [
    ['alone', 'command to result'],
    ['pending', `command to result, beside ${pendingCommands} pending ones`],
  ] as const;
  return measureRuns(
    context,
    measure,
    conditions.flatMap(([beside, name]) => [
      {
        id: { kind: 'commandP50', beside },
        name: `${name}, p50`,
        unit: 'ms',
        valueOf: (measured: Measured) => percentile(measured.roundTripsMs[beside], 50),
      },
      {
        id: { kind: 'commandP99', beside },
        name: '  p99',
        unit: 'ms',
        goal: { direction: 'at most', bar: 100, moonshot: 10 } as const,
        valueOf: (measured: Measured) => percentile(measured.roundTripsMs[beside], 99),
      },
    ]),
  );
}

async function measure(context: StudyContext) {
  const { seconds } = context.settings;
  await using platform = await BenchPlatform.start(context, { name: 'commands', ingests: 2, apis: 1, env });
  await using stack = new AsyncDisposableStack();
  const send = createSender(platform, await platform.roleToken('bench', 'operator'));
  const urls = platform.webSocketUrls;
  const answering = names('answering', answeringDevices);
  const silent = names('silent', silentDevices);
  for (const [index, deviceId] of answering.entries()) {
    const url = urls[index % urls.length]!;
    const client: DeviceClient = startDeviceClient({ url, deviceId, token: await platform.tokenOf(deviceId) });
    stack.defer(() => client.stop({ settleTimeoutMs: 0 }));
  }
  for (const [index, deviceId] of silent.entries())
    stack.adopt(await openSilent(urls[index % urls.length]!, await platform.tokenOf(deviceId)), (one) =>
      one.terminate(),
    );

  const meter = await platform.meter({});
  const roundTrips = async (): Promise<number[]> => {
    const times: number[] = [];
    const endsAt = performance.now() + seconds * 1_000;
    for (let n = 0; performance.now() < endsAt; n += 1) {
      const startedAt = performance.now();
      const { state } = await send(answering[n % answering.length]!, `wait=${waitSeconds}`);
      if (state !== 'succeeded') throw new Error(`a command ended as ${state}`);
      times.push(performance.now() - startedAt);
    }
    return times;
  };
  // Until a device is known to query-api, its commands are refused; the first ones also warm the path.
  for (const deviceId of [...answering, ...silent])
    await eventually(async () => void (await send(deviceId, 'wait=0')), { timeoutMs: 60_000 });
  const alone = await roundTrips();
  for (let sent = 0; sent < pendingCommands; sent += 1) await send(silent[sent % silentDevices]!, 'wait=0');
  await eventually(async () => {
    const pending = await platform.ingestMetric('fleetwire_edge_commands_pending');
    if (pending < pendingCommands) throw new Error(`${pending} of ${pendingCommands} commands are pending`);
  });
  const pending = await roundTrips();
  const { othersCpuShare } = await meter.stop();
  return { roundTripsMs: { alone, pending }, othersCpuShare };
}

function names(kind: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => `${kind}-${index + 1}`);
}

function createSender(platform: BenchPlatform, token: string) {
  return async (deviceId: string, prefer: string): Promise<{ state: string }> => {
    const response = await fetch(`${platform.apiUrl}/api/v1/devices/${deviceId}/commands`, {
      method: 'POST',
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json', prefer },
      body: JSON.stringify({ command: 'set_threshold', args: { min: 22, max: 28 }, timeoutMs: 300_000 }),
    });
    if (!response.ok) throw new Error(`${response.status}: ${await response.text()}`);
    return (await response.json()) as { state: string };
  };
}

/** A device that reads its commands and answers none. */
async function openSilent(url: string, token: string): Promise<WebSocket> {
  const socket = new WebSocket(url, { headers: { authorization: `Bearer ${token}` } });
  socket.on('message', () => {});
  await new Promise<void>((resolve, reject) => {
    socket.once('open', () => resolve());
    socket.once('error', reject);
  });
  return socket;
}

import { type Running, exampleDevice } from './launch.ts';

/** What is printed once everything runs: addresses, and lines to copy. */
export function welcome({ ports, backing, tokens, fleet, dataDir, logDir }: Running): string {
  const ingest = `127.0.0.1:${ports['ingest-ws']}`;
  const api = `http://127.0.0.1:${ports['query-api']}`;
  const servers = backing.describe();
  const rows: [string, string][] = [
    ['Devices, WebSocket', `ws://${ingest}/ws`],
    ['Devices, HTTP', `http://${ingest}/api/v1/telemetry`],
    ['Query API', `${api}/api/v1/status`],
    ['API documentation', `${api}/docs`],
    ['Worker health', `http://127.0.0.1:${ports['persistence-worker']}/readyz`],
    ...servers.map(({ what, version, url }): [string, string] => [`${what} ${version}`, url]),
    ['RabbitMQ management', backing.managementUrl],
    ['Fleet', fleet?.description ?? 'none; node lab/fleet/main.ts --help says how to start one'],
    ['Data', dataDir],
    ...servers.map(({ what, data }): [string, string] => [`  ${what}`, data]),
    ['Logs', `${logDir}/*.log`],
    [
      'Tokens',
      tokens
        ? 'required; three are below, valid for 30 days'
        : 'not required: any program on this machine may do anything',
    ],
  ];
  const width = Math.max(...rows.map(([name]) => name.length)) + 2;
  const table = rows.map(([name, value]) => `  ${name.padEnd(width)}${value}`).join('\n');
  return ['', 'Fleetwire is running.', '', table, '', ...tokenLines(tokens), ...tryLines(ingest, api, tokens), ''].join(
    '\n',
  );
}

function tokenLines(tokens: Running['tokens']): string[] {
  if (!tokens) return [];
  return [
    `Device token, for ${exampleDevice}:`,
    tokens.device,
    '',
    'Analyst token:',
    tokens.analyst,
    '',
    'Operator token, for queues, the reconciliation report and dead letters:',
    tokens.operator,
    '',
  ];
}

function tryLines(ingest: string, api: string, tokens: Running['tokens']): string[] {
  const authorization = (token: string | undefined) => (token ? ` -H 'authorization: Bearer ${token}'` : '');
  const body = JSON.stringify({ deviceId: exampleDevice, metrics: { temperature: 21.5 } });
  return [
    'Send a reading:',
    `curl -sS http://${ingest}/api/v1/telemetry${authorization(tokens?.device)} -H 'content-type: application/json' -d '${body}'`,
    '',
    'Read it back:',
    `curl -sS ${api}/api/v1/devices/${exampleDevice}/latest${authorization(tokens?.analyst)}`,
    '',
    'Press Ctrl-C to drain and stop everything that was started here; the data is kept. Press it again to stop without draining.',
  ];
}

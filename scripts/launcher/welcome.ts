import { join } from 'node:path';
import { type Running, exampleDevice } from './launch.ts';

/** What is printed once everything runs: addresses, and lines to copy. */
export function welcome({ address, ports, backing, tokens, signInLink, fleet, dataDir, logDir }: Running): string {
  const own = (service: keyof typeof ports) => `http://127.0.0.1:${ports[service]}`;
  const ingest = address ?? own('ingest-ws');
  const api = address ?? own('query-api');
  const servers = backing.describe();
  const rows: [string, string][] = [
    ...(address === undefined ? [] : [['Address', address] satisfies [string, string]]),
    ['Dashboard', address === undefined ? `${api}/, without devices and live data: they need nginx` : `${api}/`],
    ['Devices, WebSocket', `${ingest.replace('http', 'ws')}/ws`],
    ['Devices, HTTP', `${ingest}/api/v1/telemetry`],
    ['Query API', `${api}/api/v1/status`],
    ['API documentation', `${api}/docs`],
    ['Worker health', `${own('persistence-worker')}/readyz`],
    ...(address === undefined
      ? []
      : [['ingest-ws, query-api', `${own('ingest-ws')}, ${own('query-api')}`] satisfies [string, string]]),
    ...servers.map(({ what, version, url }): [string, string] => [`${what} ${version}`, url]),
    ['SQL (docs/sql.md)', sqlLine(servers.find(({ what }) => what === 'Postgres')?.url ?? '')],
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
  const lines = [...signInLines(signInLink, dataDir), ...tokenLines(tokens), ...tryLines(ingest, api, tokens)];
  return ['', 'Fleetwire is running.', '', table, '', ...lines, ''].join('\n');
}

/** Connects as the server's user, and has the rights of the role for SQL from then on. */
function sqlLine(url: string): string {
  return `psql '${url}${url.includes('?') ? '&' : '?'}options=-c%20role%3Dfleetwire_sql%20-c%20search_path%3Dapi_v1'`;
}

function signInLines(link: string | undefined, dataDir: string): string[] {
  if (link === undefined) return [];
  return [
    'Sign in to the dashboard as admin; the link works once, within 10 minutes:',
    link,
    `Later, make a token to sign in with: npx fleetwire token mint --keys ${join(dataDir, 'keys.json')} --role admin --subject you --expires 12h`,
    '',
  ];
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
    `curl -sS ${ingest}/api/v1/telemetry${authorization(tokens?.device)} -H 'content-type: application/json' -d '${body}'`,
    '',
    'Read it back:',
    `curl -sS ${api}/api/v1/devices/${exampleDevice}/latest${authorization(tokens?.analyst)}`,
    '',
    'Watch all devices:',
    `curl -sSN '${api}/api/v1/live?pattern=*&since=now-1m'${authorization(tokens?.analyst)}`,
    '',
    'Press Ctrl-C to drain and stop everything that was started here; the data is kept. Press it again to stop without draining.',
  ];
}

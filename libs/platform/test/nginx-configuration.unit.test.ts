import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { listenLines, nginxConfiguration, originLines, serverLines } from '../src/nginx/configuration.ts';

const configuration = nginxConfiguration({
  listen: listenLines('127.0.0.1:8000'),
  ingest: serverLines(['127.0.0.1:8080']),
  queryApi: serverLines(['127.0.0.1:8081']),
  accessLog: 'access.log',
  instance: 'test',
  heartbeatIntervalMs: 60_000,
});

/** deploy/nginx.sh writes the included files and replaces the variables. */
const deployed = nginxConfiguration({
  listen: ['include listen.conf;'],
  ingest: ['include ingest-ws.conf;'],
  queryApi: ['include query-api.conf;'],
  origins: ['include origins.conf;'],
  accessLog: '/dev/stdout',
  instance: 'deploy',
  requestsPerSecondMax: '${NGINX_REQUESTS_PER_SECOND_MAX}',
  connectionsPerAddressMax: '${NGINX_CONNECTIONS_PER_ADDRESS_MAX}',
  shutdownTimeoutSeconds: '${NGINX_SHUTDOWN_TIMEOUT_SECONDS}',
});

const tls = { certificateFile: 'certificate', keyFile: 'key' };

/** What follows `name ` in its lines. */
function directives(name: string): string[] {
  return [...configuration.matchAll(new RegExp(`^ *${name} (.*);$`, 'gm'))].map(([, value]) => value!);
}

describe('the configuration of nginx', () => {
  it('is committed for deploy', async () => {
    await expect(deployed).toMatchFileSnapshot('../../../deploy/nginx.conf');
    const script = readFileSync(new URL('../../../deploy/nginx.sh', import.meta.url), 'utf8');
    for (const line of [...serverLines(['$address']), ...listenLines('8000'), listenLines('8000', tls)[0]!])
      expect(script).toContain(line);
    expect(originLines('https://a.example/, http://b.example:1234')).toEqual([
      '"https://a.example" $http_origin;',
      '"http://b.example:1234" $http_origin;',
    ]);
  });

  it('logs no header, query or referer', () => {
    const format = /log_format fleetwire[^;]*;/.exec(configuration)![0];
    expect(format).not.toMatch(/\$(request|request_uri|args|query_string|is_args|http_\w+|arg_\w+|uri)\b/);
  });

  it('waits longer for a silent socket than ingest-ws', () => {
    expect(directives('proxy_read_timeout')).toContain('135s');
  });

  it('answers its own errors with JSON', () => {
    const bodies = [...configuration.matchAll(/return \d{3} '(\{.*\})';/g)].map(
      ([, body]) => JSON.parse(body!) as object,
    );
    expect(bodies.length).toBeGreaterThan(10);
    for (const body of bodies) expect(JSON.stringify(body)).not.toMatch(/['\\]/);
  });
});

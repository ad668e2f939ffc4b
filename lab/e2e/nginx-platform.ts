import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { type IncomingHttpHeaders, type RequestOptions, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type RunningNginx, type StartOptions, chooseNginx } from '@fleetwire/platform/nginx/start';
import type { Platform } from '@fleetwire/platform/platform';
import { freePort } from '@fleetwire/platform/processes/free-ports';
import type { BackingMode } from '@fleetwire/platform/servers/backing-services';
import { openDataDirectory } from '@fleetwire/platform/servers/data-directory';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';

interface TestedNginx extends RunningNginx {
  readonly webSocketUrl: string;
  /** Of nginx's first process. */
  pid(): number;
  readonly accessLog: () => string;
  readonly errorLog: () => string;
}

/** nginx in front of the running instances of a platform; stopped after the test, or the suite, that started it. */
export async function openNginx(
  platform: Platform,
  { mode = 'native', ...options }: Partial<StartOptions> & { readonly mode?: BackingMode } = {},
): Promise<TestedNginx> {
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-nginx-'));
  cleanUp(() => rmSync(folder, { recursive: true }));
  const directory = await openDataDirectory(folder, true, () => {});
  const accessLog = join(folder, 'access.log');
  const { 'ingest-ws': ingest, 'query-api': queryApi } = platform.services;
  const start = await chooseNginx({ mode, env: process.env, log: () => {} });
  const nginx = await start({
    directory,
    port: await freePort(),
    ingest: ingest.map(({ url }) => new URL(url).host),
    queryApi: queryApi.map(({ url }) => new URL(url).host),
    accessLog,
    ...options,
  });
  cleanUp(() => nginx.stop());
  return {
    ...nginx,
    webSocketUrl: `${nginx.url.replace('http', 'ws')}/ws`,
    pid: () => directory.remembered.processes.find(({ name }) => name === 'nginx')!.pid,
    accessLog: () => readFileSync(accessLog, 'utf8'),
    errorLog: () => readFileSync(join(folder, 'nginx.log'), 'utf8'),
  };
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** One request with these headers, from this address of the machine: `fetch` can choose neither. */
export async function send(
  url: string,
  { body, ...options }: RequestOptions & { readonly body?: string | Buffer } = {},
): Promise<Answer> {
  const answer = Promise.withResolvers<Answer>();
  const sent = request(url, { ...options, agent: false });
  sent.on('error', answer.reject);
  sent.on('response', (response) => {
    const { statusCode = 0, headers } = response;
    text(response).then((content) => answer.resolve({ status: statusCode, headers, body: content }), answer.reject);
  });
  sent.end(body);
  return answer.promise;
}

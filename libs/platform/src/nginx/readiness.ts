import { get } from 'node:http';
import { get as getSecurely } from 'node:https';
import { json } from 'node:stream/consumers';

const probeTimeoutMs = 2_000;

/** Whether this instance of nginx answers there, and not another program. */
export async function answers(url: string, instance: string): Promise<boolean> {
  const target = new URL('/healthz', url);
  const signal = AbortSignal.timeout(probeTimeoutMs);
  const answer = Promise.withResolvers<unknown>();
  const request =
    // The certificate is the operator's, and may name another host.
    target.protocol === 'https:' ? getSecurely(target, { signal, rejectUnauthorized: false }) : get(target, { signal });
  request.on('error', answer.reject);
  request.on('response', (response) => void json(response).then(answer.resolve, answer.reject));
  try {
    return ((await answer.promise) as { instance?: unknown }).instance === instance;
  } catch {
    return false;
  }
}

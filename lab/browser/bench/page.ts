import type { Keys } from '@fleetwire/platform/keys';
import type { Browser, Page } from 'playwright-core';

export interface BenchContext {
  readonly browser: Browser;
  readonly url: string;
  readonly keys: Keys;
  /** Of each measurement of frames. */
  readonly seconds: number;
}

/** A page with an empty cache, signed in as an operator, closed on disposal. */
export async function openPage(
  { browser, url, keys }: BenchContext,
  subject: string,
): Promise<AsyncDisposable & { readonly page: Page }> {
  const context = await browser.newContext({
    baseURL: url,
    viewport: { width: 1_440, height: 1_000 },
    locale: 'en-GB',
    timezoneId: 'Europe/Paris',
  });
  const token = await keys.token(subject, 'admin');
  const answer = await context.request.post('/api/v1/session', { data: { token } });
  if (!answer.ok()) throw new Error(`the sign-in was answered ${answer.status()}`);
  return { page: await context.newPage(), [Symbol.asyncDispose]: () => context.close() };
}

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Role } from '@fleetwire/contracts/access';
import { type Keys, keysOf } from '@fleetwire/platform/keys';
import { cleanUp } from '@fleetwire/platform/testing/clean-up';
import {
  type Browser,
  type BrowserContext,
  type BrowserContextOptions,
  type Locator,
  type Page,
  chromium,
} from 'playwright-core';
import { expect, inject } from 'vitest';

const shared = inject('browser');

/** For `describe.skipIf(withoutBrowser)`: there is no Chromium on this machine, which the set-up has said. */
export const withoutBrowser = shared === null;

/** The address of the platform that all tests share. */
export const url = shared?.url ?? '';

/** Mints tokens that this platform accepts. */
export const keys: Keys = keysOf(shared?.privateJwks ?? { keys: [] });

/** Answers in a row that say 503 or 504, after which a test fails. */
const busyTimesMax = 5;

let browser: Promise<Browser> | undefined;

function connected(): Promise<Browser> {
  return (browser ??= chromium.connect(shared!.wsEndpoint));
}

export interface Dashboard {
  readonly page: Page;
  readonly context: BrowserContext;
  /** What the console of the page said was wrong since the last call, breaches of the content security policy too. A test that expects some takes them; any others fail it. */
  takeErrors(): string[];
  /** Violations of WCAG 2.2 AA, one line each. */
  violations(): Promise<string[]>;
}

export interface DashboardOptions extends Pick<
  BrowserContextOptions,
  'colorScheme' | 'viewport' | 'reducedMotion' | 'timezoneId' | 'locale'
> {
  /** Signs in as this role; without it the page is not signed in. */
  readonly role?: Exclude<Role, 'device'>;
  /** One for each test where calls are counted by subject. */
  readonly subject?: string;
  /** The view that it opens. */
  readonly path?: string;
  /** Of another platform than the shared one. */
  readonly at?: { readonly url: string; readonly keys: Keys };
}

/** On a busy machine a page, a job and a command take their time. */
const waitMsMax = 60_000;

/** A page of the dashboard with cookies of its own, closed after the test. It signs in by a one-time link, as an operator does. */
export async function openDashboard({
  role,
  subject,
  path = '/',
  at = { url, keys },
  ...options
}: DashboardOptions = {}): Promise<Dashboard> {
  const context = await (
    await connected()
  ).newContext({
    baseURL: at.url,
    colorScheme: 'light',
    viewport: { width: 1_440, height: 1_000 },
    locale: 'en-GB',
    timezoneId: 'Europe/Paris',
    ...options,
  });
  context.setDefaultTimeout(waitMsMax);
  let errors: string[] = [];
  /** By path: how often the server was busy since it last answered. */
  const busy = new Map<string, number>();
  const page = await context.newPage();
  page.on('response', (response) => {
    const { pathname } = new URL(response.url());
    const isBusy = [429, 503, 504].includes(response.status());
    if (isBusy) busy.set(pathname, (busy.get(pathname) ?? 0) + 1);
    else busy.delete(pathname);
  });
  page.on('console', (message) => {
    // A server that is busy for a moment is asked again by the page: with as many slow calls of one subject as it may have, too.
    if (/status of (?:429|50[34]) /.test(message.text())) return;
    if (message.type() === 'error') errors.push(`${message.text()} (${message.location().url})`);
  });
  page.on('pageerror', (error) => errors.push(error.stack ?? error.message));
  const takeErrors = () => {
    const lasting = [...busy].filter(([, times]) => times >= busyTimesMax);
    const taken = [...errors, ...lasting.map(([path, times]) => `${path} got no answer ${times} times`)];
    errors = [];
    busy.clear();
    return taken;
  };
  cleanUp(async () => {
    const left = takeErrors();
    await context.close();
    expect(left, 'the page reported errors').toEqual([]);
  });
  if (role === undefined) await page.goto(path);
  else {
    const code = await signInCode(at, subject ?? role, role);
    await page.goto(`/sign-in#code=${code}`);
    await page.getByRole('navigation').first().waitFor();
    // Before it was signed in, it asked whether it is.
    errors = errors.filter((text) => !text.includes('/api/v1/session'));
    if (path !== '/') await page.goto(path);
  }
  return { page, context, takeErrors, violations: () => violationsIn(page) };
}

const tabsMax = 150;

/** Moves the focus as a keyboard does, until it is there. */
export async function tabTo(page: Page, target: Locator): Promise<void> {
  for (let tabs = 0; tabs < tabsMax; tabs += 1) {
    if (await target.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press('Tab');
  }
  throw new Error(`${String(target)} is not reached by ${tabsMax} tabs`);
}

/** A code of a one-time link. */
export async function signInCode(
  { url: address, keys: own }: { readonly url: string; readonly keys: Keys },
  subject: string,
  role: Role,
): Promise<string> {
  const answer = await fetch(`${address}/api/v1/session/codes`, {
    method: 'POST',
    headers: { authorization: `Bearer ${await own.token(subject, role)}` },
  });
  expect(answer.status).toBe(201);
  return ((await answer.json()) as { readonly code: string }).code;
}

const axeSource = readFileSync(fileURLToPath(import.meta.resolve('axe-core/axe.min.js')), 'utf8');

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly help: string;
    readonly nodes: readonly { readonly target: readonly unknown[]; readonly failureSummary?: string }[];
  }[];
}

/** By the debugger of the browser, which the content security policy of the page does not apply to. */
async function violationsIn(page: Page): Promise<string[]> {
  const debugging = await page.context().newCDPSession(page);
  try {
    const evaluate = async (expression: string): Promise<unknown> => {
      const answer = await debugging.send('Runtime.evaluate', { expression, awaitPromise: true, returnByValue: true });
      if (answer.exceptionDetails !== undefined)
        throw new Error(answer.exceptionDetails.exception?.description ?? answer.exceptionDetails.text);
      return answer.result.value;
    };
    await evaluate(`${axeSource};undefined`);
    const tags = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa'];
    const options = { runOnly: { type: 'tag', values: tags }, resultTypes: ['violations'] };
    const { violations } = JSON.parse(
      (await evaluate(`axe.run(document, ${JSON.stringify(options)}).then(JSON.stringify)`)) as string,
    ) as AxeResult;
    return violations.flatMap(({ id, help, nodes }) =>
      nodes.map(
        ({ target, failureSummary = '' }) =>
          `${id}: ${help} (${target.join(' ')}) ${failureSummary.replaceAll(/\s+/g, ' ')}`,
      ),
    );
  } finally {
    await debugging.detach();
  }
}

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { JSONWebKeySet } from '@fleetwire/auth/key-set';
import setUpServers from '@fleetwire/platform/testing/global-setup';
import type { TestProject } from 'vitest/node';
import { findBrowser } from '../../scripts/browser.mjs';
import { launchChromium } from './chromium.ts';
import { startBrowserPlatform } from './platform.ts';

/** What all files of tests share. */
interface SharedBrowser {
  readonly url: string;
  readonly privateJwks: JSONWebKeySet;
  /** Where a test connects to the browser. */
  readonly wsEndpoint: string;
}

declare module 'vitest' {
  export interface ProvidedContext {
    /** Null where there is no browser. */
    browser: SharedBrowser | null;
  }
}

/** One browser and one platform for the whole run. A test that stops a service starts a platform of its own. */
export default async function setUp(project: TestProject) {
  const path = findBrowser();
  if (path === undefined) {
    console.log(
      'browser: SKIPPED, as there is no Chromium: install it (Debian: apt-get install chromium), or give CHROMIUM',
    );
    project.provide('browser', null);
    return undefined;
  }
  await using started = new AsyncDisposableStack();
  started.defer(await setUpServers(project));
  const folder = mkdtempSync(join(tmpdir(), 'fleetwire-browser-'));
  started.defer(() => rmSync(folder, { recursive: true, force: true }));
  const [browser, running] = await Promise.all([
    launchChromium(path).then((one) => started.adopt(one, (server) => server.close())),
    startBrowserPlatform({ ...project.getProvidedContext(), folder }).then((one) => started.use(one)),
  ]);
  const { url, platform } = running;
  project.provide('browser', { url, privateJwks: platform.keys.privateJwks, wsEndpoint: browser.wsEndpoint() });
  const resources = started.move();
  return () => resources.disposeAsync();
}

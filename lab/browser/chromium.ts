import { type BrowserServer, chromium } from 'playwright-core';

/** This machine under a name that a browser does not take for it: over plain HTTP the pages there are of no secure context. */
export const insecureHost = 'fleet.example';

/** Of a browser that runs without a display and as root, and calls nothing but what a page calls. */
const flags = [
  '--no-sandbox',
  '--disable-gpu',
  '--disable-background-networking',
  '--disable-dev-shm-usage',
  `--host-resolver-rules=MAP ${insecureHost} 127.0.0.1`,
];

/** Playwright would end this process at a signal, before it has stopped what else it started. */
const leaveSignals = { handleSIGINT: false, handleSIGTERM: false, handleSIGHUP: false } as const;

/** One browser for many pages; each test has a context, with cookies, of its own. */
export function launchChromium(executablePath: string): Promise<BrowserServer> {
  return chromium.launchServer({ executablePath, args: flags, headless: true, ...leaveSignals });
}

import { describe, expect, it } from 'vitest';
import { openDashboard, withoutBrowser } from './dashboard.ts';
import { differences } from './pictures.ts';

describe.skipIf(withoutBrowser)('The page that signs in', () => {
  it.each([
    ['sign-in-light', 'light', { width: 1_440, height: 900 }],
    ['sign-in-dark', 'dark', { width: 1_440, height: 900 }],
    ['sign-in-phone', 'light', { width: 390, height: 844 }],
  ] as const)('looks like its picture %s', async (name, colorScheme, viewport) => {
    const { page, takeErrors } = await openDashboard({ path: '/sign-in', colorScheme, viewport });
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    // It asks whether it is signed in.
    takeErrors();
    expect(await differences(page, name)).toEqual([]);
    takeErrors();
  });
});

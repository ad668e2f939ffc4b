import { eventually } from '@fleetwire/platform/testing/eventually';
import { describe, expect, it } from 'vitest';
import { keys, openDashboard, signInCode, url, withoutBrowser } from './dashboard.ts';

const isUnauthorized = (text: string) => text.includes('401');

describe.skipIf(withoutBrowser)('sign-in', () => {
  it('by a pasted token opens the fleet; nothing of the token stays in the browser, and no script reads the cookie', async () => {
    const { page, context, takeErrors, violations } = await openDashboard();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await violations()).toEqual([]);
    const token = await keys.token('pasted', 'operator');
    await page.getByLabel('Token').fill(token);
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByRole('navigation').first().waitFor();
    expect(new URL(page.url()).pathname).toBe('/');
    const [cookie] = await context.cookies();
    expect(cookie).toMatchObject({
      name: `fleetwire_session_${new URL(page.url()).port}`,
      httpOnly: true,
      sameSite: 'Strict',
      path: '/',
      expires: -1,
    });
    const kept = await page.evaluate(() =>
      JSON.stringify([
        Object.entries(localStorage),
        Object.entries(sessionStorage),
        document.cookie,
        location.href,
        history.state,
      ]),
    );
    expect(kept).not.toContain(token.slice(0, 20));
    expect(kept).not.toContain('fws_');
    expect(takeErrors().every(isUnauthorized)).toBe(true);
  });

  it('by a token that is refused says so, and stays', async () => {
    const { page, takeErrors } = await openDashboard({ path: '/sign-in' });
    await page.getByLabel('Token').fill('not-a-token');
    await page.getByRole('button', { name: 'Sign in' }).click();
    await page.getByText('The token is refused').first().waitFor();
    expect(new URL(page.url()).pathname).toBe('/sign-in');
    expect(takeErrors().every(isUnauthorized)).toBe(true);
  });

  it('by a one-time link works once, and the code leaves the address', async () => {
    const code = await signInCode({ url, keys }, 'linked', 'analyst');
    const first = await openDashboard({ path: `/sign-in#code=${code}` });
    await first.page.getByRole('navigation').first().waitFor();
    expect(first.page.url()).not.toContain(code);
    expect(await first.page.evaluate(() => history.length)).toBeLessThan(4);
    const second = await openDashboard({ path: `/sign-in#code=${code}` });
    await second.page.getByText('was used').first().waitFor();
    for (const { takeErrors } of [first, second]) expect(takeErrors().every(isUnauthorized)).toBe(true);
  });

  it('ends on the server too: with the cookie of a page that has signed out, nothing is answered', async () => {
    const { page, context, takeErrors } = await openDashboard({ role: 'operator', subject: 'leaving' });
    const [cookie] = await context.cookies();
    const status = async () =>
      (await fetch(`${url}/api/v1/status`, { headers: { cookie: `${cookie!.name}=${cookie!.value}` } })).status;
    expect(await status()).toBe(200);
    await page.getByRole('button', { name: /leaving/ }).click();
    await page.getByText('Sign out').click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await status()).toBe(401);
    expect(await context.cookies()).toEqual([]);
    takeErrors();
  });

  it('goes on where signing out fails, and the page says so', async () => {
    const { page, takeErrors } = await openDashboard({ role: 'operator', subject: 'staying' });
    await page.route('**/api/v1/session', (route) => route.abort());
    await page.getByRole('button', { name: /staying/ }).click();
    await page.getByText('Sign out').click();
    await page.getByRole('alert').getByText('You are still signed in').waitFor();
    await page.unroute('**/api/v1/session');
    await page.getByText('Sign out').click();
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    // A call of the page may come to the server after the session has ended, and before the page knows.
    expect(takeErrors().filter((text) => !text.includes('/api/v1/session') && !isUnauthorized(text))).toEqual([]);
  });

  it('survives a reload and Back, and a link to a view opens that view', async () => {
    const { page } = await openDashboard({ role: 'operator', path: '/explore' });
    await page.reload();
    await page.getByRole('navigation').first().waitFor();
    expect(new URL(page.url()).pathname).toBe('/explore');
    await page.goto('/console');
    await page.goBack();
    await eventually(() => expect(new URL(page.url()).pathname).toBe('/explore'));
  });

  it('a view that the role may not see says which role it needs', async () => {
    const { page } = await openDashboard({ role: 'analyst', path: '/pipeline' });
    const heading = page.getByRole('heading', { level: 1 });
    await heading.waitFor();
    expect(await heading.textContent()).toMatch(/Pipeline needs the role operator.*analyst/);
    await page.getByRole('navigation').first().waitFor();
    expect(await page.getByRole('link', { name: 'Pipeline' }).count()).toBe(0);
  });

  it('leads to a page in which no inline script, style or foreign file runs', async () => {
    const { page, takeErrors } = await openDashboard({ role: 'analyst' });
    const ran = await page.evaluate(async () => {
      const script = document.createElement('script');
      script.textContent = 'window.inline = true';
      document.head.append(script);
      const image = document.createElement('img');
      image.setAttribute('onerror', 'window.handler = true');
      image.setAttribute('src', 'data:image/png;base64,x');
      document.body.append(image);
      const styled = document.createElement('p');
      styled.setAttribute('style', 'color: rgb(1, 2, 3)');
      document.body.append(styled);
      const foreign = await fetch('http://127.0.0.1:9/').catch((error: unknown) => String(error));
      await new Promise((resolve) => setTimeout(resolve));
      const { inline, handler } = window as { inline?: boolean; handler?: boolean };
      return { inline, handler, color: getComputedStyle(styled).color === 'rgb(1, 2, 3)', foreign };
    });
    expect(ran).toMatchObject({ color: false, foreign: expect.stringContaining('TypeError') });
    expect([ran.inline, ran.handler]).toEqual([undefined, undefined]);
    const errors = takeErrors().join('\n');
    for (const directive of ['script-src', 'style-src', 'connect-src']) expect(errors).toContain(directive);
  });
});

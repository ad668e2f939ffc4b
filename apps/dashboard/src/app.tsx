import { ErrorBoundary, LocationProvider, Router, useLocation } from 'preact-iso';
import { useEffect, useLayoutEffect, useState } from 'preact/hooks';
import { Banner } from './banner.tsx';
import { deviceQuestion } from './device-question.ts';
import { firstDevices } from './first-devices.ts';
import { Icon, IconDefinitions } from './icons.tsx';
import { followInstallation } from './installation.ts';
import { addShortcuts } from './keyboard.ts';
import { KeysDialog } from './keys-dialog.tsx';
import { lazyView } from './lazy-view.ts';
import { liveState } from './live.ts';
import { query, readQuery } from './query.ts';
import { type SessionState, loadSession, session } from './session.ts';
import { switchTheme } from './theme.ts';
import { TopBar } from './top-bar.tsx';
import { decoded, viewOf, views, whyForbidden } from './views.ts';
import { Wire } from './wire.tsx';

const SignIn = lazyView(() => import('./views/sign-in/sign-in.tsx'));
const Fleet = lazyView(() => import('./views/fleet/fleet.tsx'));
const Device = lazyView(() => import('./views/device/device.tsx'));
const Pipeline = lazyView(() => import('./views/pipeline/pipeline.tsx'));
const DeadLetters = lazyView(() => import('./views/dead-letters/dead-letters.tsx'));
const Explore = lazyView(() => import('./views/explore/explore.tsx'));
const Console = lazyView(() => import('./views/console/console.tsx'));

/** Begins to load the code of the view at this path. */
export function loadView(path: string): void {
  const view = path.startsWith('/devices/') ? Device : viewCode[viewOf(path)?.path ?? ''];
  void view?.preload();
}

const viewCode: Readonly<Record<string, { readonly preload: () => Promise<unknown> }>> = {
  '/': Fleet,
  '/pipeline': Pipeline,
  '/dead-letters': DeadLetters,
  '/explore': Explore,
  '/console': Console,
};

export function App() {
  return (
    <LocationProvider>
      <IconDefinitions />
      <ErrorBoundary>
        <Page />
      </ErrorBoundary>
    </LocationProvider>
  );
}

function Page() {
  const state = session.value;
  const { path, url, route } = useLocation();
  useEffect(readQuery, [url]);
  useEffect(() => {
    if (state.kind === 'signed-in' && path === '/sign-in' && !location.hash.startsWith('#code=')) route('/', true);
  }, [state.kind, path]);
  switch (state.kind) {
    case 'unknown':
      return null;
    case 'unreachable':
      return <Unreachable />;
    case 'signed-out':
      return <SignIn />;
    case 'signed-in':
      return path === '/sign-in' ? <SignIn /> : <Shell state={state} />;
  }
}

function Shell({ state }: { readonly state: SessionState & { kind: 'signed-in' } }) {
  const { path, route } = useLocation();
  const [keysOpen, setKeysOpen] = useState(false);
  const { role, subject } = state;
  useLayoutEffect(
    () =>
      role === 'device'
        ? undefined
        : followInstallation(path === '/' ? firstDevices(deviceQuestion(query.peek())) : undefined),
    [role, subject],
  );
  useEffect(
    () =>
      addShortcuts([
        ...views
          .filter(({ roles }) => roles.includes(role))
          .map((view) => ({ keys: `g ${view.key}`, does: view.label, run: () => route(view.path) })),
        { keys: '?', does: 'All keys', run: () => setKeysOpen(true) },
        { keys: 't', does: 'Light or dark colors', run: switchTheme },
      ]),
    [role],
  );
  const view = viewOf(path);
  useEffect(() => {
    const name = path.startsWith('/devices/') ? decoded(path.slice(9)) : view?.label;
    document.title = `${name ?? 'Not found'} · Fleetwire`;
  }, [path]);
  const forbidden = view === undefined || path.startsWith('/devices/') ? undefined : whyForbidden(view, role);
  const lost = liveState.value.kind === 'lost';
  return (
    <div id="page" data-view={lost ? 'reconnecting' : undefined}>
      <a class="skip" href="#main">
        Skip to content
      </a>
      <header>
        <TopBar onKeys={() => setKeysOpen(true)} />
        <Wire />
      </header>
      <Banner />
      <main id="main" tabIndex={-1}>
        {forbidden !== undefined ? (
          <Sentence text={forbidden} />
        ) : decoded(path) === undefined ? (
          <Sentence text={`The address ${path} cannot be read: a % in an id is written %25.`} />
        ) : (
          <Router>
            <Fleet path="/" />
            <Device path="/devices/:id" />
            <Pipeline path="/pipeline" />
            <DeadLetters path="/dead-letters" />
            <DeadLetters path="/dead-letters/:id" />
            <Explore path="/explore" />
            <Console path="/console" />
            <NotFound default />
          </Router>
        )}
      </main>
      <nav class="tabbar" aria-label="Views">
        {views
          .filter(({ roles }) => roles.includes(role))
          .map((one) => (
            <a key={one.path} href={one.path} aria-current={one === view ? 'page' : undefined}>
              <svg aria-hidden="true">
                <use href={`#${one.icon}`} />
              </svg>
              {one.short}
            </a>
          ))}
      </nav>
      {keysOpen && <KeysDialog onClose={() => setKeysOpen(false)} />}
    </div>
  );
}

function NotFound(_: { readonly default?: boolean }) {
  return <Sentence text="There is no such view." />;
}

function Sentence({ text }: { readonly text: string }) {
  return (
    <section class="say">
      <Icon name="info" tone="dim" />
      <div>
        <h1>{text}</h1>
        <p>
          <a class="link" href="/">
            Fleet
          </a>
        </p>
      </div>
    </section>
  );
}

const askAgainMs = 3_000;

function Unreachable() {
  useEffect(() => {
    const timer = setInterval(() => void loadSession(), askAgainMs);
    return () => clearInterval(timer);
  }, []);
  return (
    <main id="main">
      <section class="say" role="status">
        <Icon name="crit" tone="crit" />
        <div>
          <h1>The server does not answer.</h1>
          <p>This page tries again every {askAgainMs / 1_000} s. Devices keep their readings and send them again.</p>
        </div>
      </section>
    </main>
  );
}

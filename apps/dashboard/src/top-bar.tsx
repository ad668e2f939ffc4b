import { useLocation } from 'preact-iso';
import { useEffect, useRef, useState } from 'preact/hooks';
import { type Failure, failureOf } from './api.ts';
import { now } from './clock.ts';
import { count, duration } from './format.ts';
import { fleet, fleetVersion } from './fleet.ts';
import { Icon, Mark } from './icons.tsx';
import { openDeadLetters } from './installation.ts';
import { addShortcuts, singleKeys, switchSingleKeys } from './keyboard.ts';
import { liveState } from './live.ts';
import { type Session, session, signOut } from './session.ts';
import { isDark, switchTheme } from './theme.ts';
import { chooseZone, deviceZone, ownZone, timeOfDay, zone, zoneName } from './times.ts';
import { viewOf, views } from './views.ts';

export function TopBar({ onKeys }: { readonly onKeys: () => void }) {
  const { path } = useLocation();
  const state = session.value;
  const current = viewOf(path);
  if (state.kind !== 'signed-in') return null;
  return (
    <div class="top">
      <a class="brand" href="/" aria-label="Fleetwire, Fleet">
        <Mark />
        Fleetwire
      </a>
      <nav class="nav" aria-label="Views">
        {views
          .filter(({ roles }) => roles.includes(state.role))
          .map((view) => (
            <a key={view.path} href={view.path} aria-current={view === current ? 'page' : undefined}>
              {view.label}
              {view.path === '/dead-letters' && <OpenCount />}
            </a>
          ))}
      </nav>
      <div class="tools">
        <Search />
        <LiveBadge />
        <Clock />
        <Menu session={state} onKeys={onKeys} />
      </div>
    </div>
  );
}

function OpenCount() {
  const open = openDeadLetters.value?.open ?? 0;
  return open === 0 ? null : (
    <span class="n">
      <Icon name="warn" /> {count(open)}
    </span>
  );
}

function Clock() {
  return (
    <span class="nw clock">
      <b>{timeOfDay(now.value)}</b> {zoneName(now.value)}
    </span>
  );
}

function LiveBadge() {
  const state = liveState.value;
  if (state.kind === 'open')
    return (
      <span class="livebadge">
        <Icon name="on" tone="wirec" />
        Live
      </span>
    );
  if (state.kind === 'lost')
    return (
      <span class="livebadge warn">
        <Icon name="stale" />
        {duration(Math.max(1_000, Math.floor((now.value - state.since) / 1_000) * 1_000)).replace('.0', '')} old
      </span>
    );
  return (
    <span class="livebadge dim">
      <Icon name="never" />
      connecting
    </span>
  );
}

/** Finds a device by id or name, or a view. */
function Search() {
  const { route } = useLocation();
  const input = useRef<HTMLInputElement>(null);
  const [text, setText] = useState('');
  useEffect(() => addShortcuts([{ keys: '/', does: 'Search', run: () => input.current?.focus() }]), []);
  const wanted = text.trim();
  // What is typed before all devices are known finds them once they are.
  if (wanted !== '') void fleetVersion.value;
  const found = wanted === '' ? [] : search(wanted);
  const open = (target: string) => {
    setText('');
    input.current?.blur();
    route(target);
  };
  return (
    <form
      class="find"
      role="search"
      onSubmit={(event) => {
        event.preventDefault();
        open(found[0]?.target ?? `/?q=${encodeURIComponent(wanted)}`);
      }}
    >
      <Icon name="find" />
      <input
        ref={input}
        type="search"
        aria-label="Search a device, tag or view"
        placeholder="Device, tag, view…"
        autocomplete="off"
        value={text}
        onInput={({ currentTarget }) => setText(currentTarget.value)}
        onKeyDown={({ key, currentTarget }) => {
          if (key !== 'Escape') return;
          setText('');
          currentTarget.blur();
        }}
      />
      <span class="kbd" aria-hidden="true">
        /
      </span>
      {found.length > 0 && (
        <ul class="found">
          {found.map(({ target, label, note }) => (
            <li key={target}>
              <a href={target} onClick={() => setText('')}>
                <span class="id">{label}</span> <span class="dim">{note}</span>
              </a>
            </li>
          ))}
        </ul>
      )}
    </form>
  );
}

const foundMax = 8;

function search(text: string): { target: string; label: string; note: string }[] {
  const wanted = text.toLowerCase();
  const found = views
    .filter(({ label }) => label.toLowerCase().startsWith(wanted))
    .map(({ path, label }) => ({ target: path, label, note: 'view' }));
  const tags = new Set<string>();
  for (const { deviceId, registration } of fleet.values()) {
    if (found.length >= foundMax) break;
    if (deviceId.toLowerCase().includes(wanted) || registration?.name?.toLowerCase().includes(wanted))
      found.push({
        target: `/devices/${encodeURIComponent(deviceId)}`,
        label: deviceId,
        note: registration?.name ?? '',
      });
    for (const tag of registration?.tags ?? []) if (tags.size < 3 && tag.toLowerCase().includes(wanted)) tags.add(tag);
  }
  return [
    ...found,
    ...[...tags].map((tag) => ({ target: `/?tag=${encodeURIComponent(tag)}`, label: tag, note: 'tag' })),
  ].slice(0, foundMax + 3);
}

function Menu({
  session: { subject, role, expiresAt },
  onKeys,
}: {
  readonly session: Session;
  readonly onKeys: () => void;
}) {
  const [isOpen, setOpen] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  const root = useRef<HTMLDivElement>(null);
  useEffect(() => {
    if (!isOpen) return;
    const close = (event: Event) => {
      if (event instanceof KeyboardEvent ? event.key === 'Escape' : !root.current?.contains(event.target as Node))
        setOpen(false);
    };
    document.addEventListener('pointerdown', close);
    document.addEventListener('keydown', close);
    return () => {
      document.removeEventListener('pointerdown', close);
      document.removeEventListener('keydown', close);
    };
  }, [isOpen]);
  const zones = new Set([ownZone, 'UTC', ...(deviceZone.value === undefined ? [] : [deviceZone.value])]);
  return (
    <div class="menu" ref={root}>
      <button type="button" class="nw" aria-expanded={isOpen} onClick={() => setOpen(!isOpen)}>
        <span class="no-phone">
          {subject} · {role}
        </span>
        <span class="only-phone">{role}</span> <Icon name="down" />
      </button>
      {isOpen && (
        <div class="menu-items">
          <p class="dim sm0">
            {subject}, {role}
            {expiresAt === null ? '' : `, until ${timeOfDay(expiresAt)}`}
          </p>
          <button type="button" onClick={switchTheme}>
            {isDark() ? 'Light colors' : 'Dark colors'} <span class="kbd">t</span>
          </button>
          {[...zones]
            .filter((name) => name !== zone.value)
            .map((name) => (
              <button key={name} type="button" onClick={() => chooseZone(name)}>
                Times in {name}
                {name === deviceZone.value && ', of this device'}
              </button>
            ))}
          <button type="button" aria-pressed={singleKeys.value} onClick={() => switchSingleKeys(!singleKeys.value)}>
            Single keys: {singleKeys.value ? 'on' : 'off'}
          </button>
          <button
            type="button"
            onClick={() => {
              setOpen(false);
              onKeys();
            }}
          >
            Keys <span class="kbd">?</span>
          </button>
          <a href="/guide/" target="_blank" rel="noreferrer">
            Documentation
          </a>
          <a href="/docs" target="_blank" rel="noreferrer">
            API documentation
          </a>
          {expiresAt !== null && (
            <button
              type="button"
              onClick={() => {
                setFailure(undefined);
                signOut().catch((error: unknown) => setFailure(failureOf(error)));
              }}
            >
              Sign out
            </button>
          )}
          {failure !== undefined && (
            <p class="sm0" role="alert">
              You are still signed in. {failure.title}. {failure.detail}
            </p>
          )}
        </div>
      )}
    </div>
  );
}

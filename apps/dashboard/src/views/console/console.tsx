import '../../styles/console.css';
import { useLocation } from 'preact-iso';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { completeUntil } from '../../installation.ts';
import { serverNow } from '../../clock.ts';
import { copy } from '../../download.ts';
import { count, plural, rate } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { addShortcuts } from '../../keyboard.ts';
import { sendFrame } from '../../live.ts';
import { useNotice } from '../../notice.ts';
import { query, setQuery } from '../../query.ts';
import { hasRole } from '../../session.ts';
import { timeOfDay, timeWithMilliseconds } from '../../times.ts';
import { FirstDevice } from '../sign-in/first-device.tsx';
import { Connection } from './connection.tsx';
import { type Filter, matcherOf, parseFilter } from './filter.ts';
import { Hops } from './hops.tsx';
import type { Kind } from './log-lines.ts';
import { type KeptLine, ndjsonOf } from './log-store.ts';
import { LogTable } from './log-table.tsx';
import { SendCommand } from './send-command.tsx';
import { SendRaw } from './send-raw.tsx';
import { SendTelemetry } from './send-telemetry.tsx';
import { readingHops } from './sentences.ts';
import { useLog } from './use-log.ts';

const chips: readonly { readonly kind: Kind; readonly label: string }[] = [
  { kind: 'data', label: 'data' },
  { kind: 'presence', label: 'presence' },
  { kind: 'control', label: 'control' },
  { kind: 'settled', label: 'ack, stored, dead' },
  { kind: 'other', label: 'connection' },
];
const shownAtFirst = 'data,presence,control,settled';
const filterRestMs = 400;
const toldMs = 5_000;
const tabs = ['telemetry', 'command', 'raw'] as const;
const tabLabels = { telemetry: 'Telemetry', command: 'Command', raw: 'Raw JSON' } as const;

/** The console: what goes over the wire, and a hand to send with. */
export default function Console(props: { readonly path: string }) {
  const { route } = useLocation();
  return query.value['connect'] === 'device' ? <FirstDevice onDone={() => route('/')} /> : <Log {...props} />;
}

function Log(_: { readonly path: string }) {
  const text = query.value['filter'] ?? '';
  const parsed = parseFilter(text);
  const [filter, setFilter] = useState<Filter>(parsed.ok ? parsed.filter : { devices: [], words: [] });
  // The server is asked for other devices after a moment without keys.
  useEffect(() => {
    if (!parsed.ok) return;
    const timer = setTimeout(() => setFilter(parsed.filter), filterRestMs);
    return () => clearTimeout(timer);
  }, [text]);
  const kinds = (query.value['kinds'] ?? shownAtFirst).split(',') as Kind[];
  const { store, sender, connection, commandSent } = useLog(filter);
  const [held, setHeld] = useState<{ readonly lines: readonly KeptLine[]; readonly count: number }>();
  const [said, told] = useNotice(toldMs);
  const find = useRef<HTMLInputElement>(null);

  function pause(): void {
    setHeld((now) => (now === undefined ? { lines: [...store.lines], count: store.count } : undefined));
  }
  useEffect(() => addShortcuts([{ keys: ' ', does: 'Pause or continue the log', run: pause }]), []);

  const version = store.version.value;
  const kept = held?.lines ?? store.lines;
  const shown = useMemo(
    () => kept.filter(matcherOf(filter, new Set(kinds))).toReversed(),
    [held, held === undefined ? version : 0, filter, kinds.join(',')],
  );
  const behindMs = completeUntil.value === undefined ? undefined : serverNow() - completeUntil.value;
  const last = sender.last.value;
  const dataRate = store.rate('data', Date.now());
  const tab = tabs.find((one) => one === query.value['send']) ?? 'telemetry';

  function toggle(kind: Kind): void {
    const next = kinds.includes(kind) ? kinds.filter((one) => one !== kind) : [...kinds, kind];
    const value = chips
      .map((one) => one.kind)
      .filter((one) => next.includes(one))
      .join(',');
    setQuery({ kinds: value === shownAtFirst ? undefined : value === '' ? 'none' : value });
  }

  return (
    <>
      <h1 class="skip">Console</h1>
      <div class="bar cbar">
        <span class="field w2">
          <Icon name="find" tone="dim3" />
          <input
            ref={find}
            class="mono"
            aria-label="Filter of the log"
            aria-invalid={!parsed.ok}
            placeholder="device:truck-1,frz-* or a word"
            spellcheck={false}
            autocomplete="off"
            value={text}
            onInput={(event) => setQuery({ filter: event.currentTarget.value })}
          />
        </span>
        <span class="hscroll" role="group" aria-label="Kinds of lines">
          {chips.map(({ kind, label }) => (
            <button
              key={kind}
              type="button"
              class="chip"
              aria-pressed={kinds.includes(kind)}
              onClick={() => toggle(kind)}
            >
              {label}
              {kind === 'data' && dataRate > 0 && <span class="dim3">{rate(dataRate)}/s</span>}
            </button>
          ))}
        </span>
        <span class="grow" />
        <span class="dim nw" data-log="count">
          showing {count(shown.length)} of <b>{count(kept.length)}</b> kept
          {kept[0] !== undefined && ` · oldest ${timeOfDay(kept[0].at)}`}
        </span>
        <button class="btn" type="button" aria-pressed={held !== undefined} onClick={pause}>
          <Icon name={held === undefined ? 'pause' : 'play'} />
          {held === undefined ? 'Pause' : `${count(store.count - held.count)} new`}{' '}
          <span class="kbd no-phone">space</span>
        </button>
        <button
          class="btn"
          type="button"
          onClick={() =>
            void copy(ndjsonOf(shown.toReversed())).then((done) =>
              told(done ? `${plural(shown.length, 'line')} copied as NDJSON` : 'The browser did not allow to copy'),
            )
          }
        >
          <Icon name="copy" />
          Copy
        </button>
        <button
          class="btn"
          type="button"
          onClick={() => {
            setHeld(undefined);
            store.clear();
          }}
        >
          Clear
        </button>
      </div>
      <p class={parsed.ok ? (said === '' ? 'seen-not' : 'dim sm0') : 'crit sm0'} role="status">
        {parsed.ok ? said : parsed.why}
      </p>
      <div class="cols" id="concols">
        <section class="log">
          <LogTable
            lines={shown}
            empty={
              kept.length === 0
                ? 'Nothing has come yet. Send a reading with the form, or connect a device.'
                : 'No line matches the filter and the kinds that are chosen.'
            }
          />
        </section>
        <section class="side2">
          <Connection facts={connection} />
          <div class="h sp">
            <h2>Send</h2>
          </div>
          <div class="tabs slimtabs" role="tablist" aria-label="What to send">
            {tabs.map((one) => (
              <button
                key={one}
                type="button"
                role="tab"
                id={`tab-${one}`}
                aria-selected={one === tab}
                aria-controls="send-panel"
                tabIndex={one === tab ? 0 : -1}
                onClick={() => setQuery({ send: one === 'telemetry' ? undefined : one })}
                onKeyDown={(event) => {
                  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
                  if (step === undefined) return;
                  const next = tabs[(tabs.indexOf(one) + step + tabs.length) % tabs.length]!;
                  setQuery({ send: next === 'telemetry' ? undefined : next });
                  document.querySelector<HTMLElement>(`#tab-${next}`)?.focus();
                }}
              >
                {tabLabels[one]}
              </button>
            ))}
          </div>
          <div role="tabpanel" id="send-panel" aria-labelledby={`tab-${tab}`}>
            {tab === 'command' ? (
              <SendCommand onSent={commandSent} />
            ) : tab === 'raw' ? (
              <SendRaw onSend={(frame) => (hasRole('admin') ? sender.sendText(frame) : void sendFrame(frame))} />
            ) : hasRole('admin') ? (
              <SendTelemetry sender={sender} />
            ) : (
              <p class="dim sm0">Readings are sent by devices and by the role admin; this session may send commands.</p>
            )}
          </div>
          {tab !== 'command' && last !== undefined && (
            <div role="status" class="lastsent">
              <div class="h sp">
                <h2>Last sent: seq {count(last.seq)}</h2>
                <span class="r">{timeWithMilliseconds(last.sentAt)}</span>
              </div>
              <Hops hops={readingHops(last, behindMs)} />
              {last.failure !== undefined && <p class="crit sm0">{last.failure}</p>}
            </div>
          )}
          {hasRole('admin') && (
            <>
              <div class="h sp">
                <h2>No device yet?</h2>
              </div>
              <p class="dim sm0">
                Three lines of shell, Node or Python with a fresh token, and a light that turns green when the first
                reading is stored.
              </p>
              <div class="acts2">
                <button class="btn" type="button" onClick={() => setQuery({ connect: 'device' })}>
                  Connect the first device
                </button>
              </div>
            </>
          )}
        </section>
      </div>
    </>
  );
}

import { useState } from 'preact/hooks';
import { answerOf, api } from '../../api.ts';
import { Area } from '../../area.tsx';
import { now } from '../../clock.ts';
import { bytes, count, plural } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { moment, timeWithMilliseconds, zoneName } from '../../times.ts';
import { hexLines } from './edit.ts';
import { Editor } from './editor.tsx';
import { Marked } from './marked.tsx';
import { actionText } from './sentences.ts';
import type { Details } from './types.ts';

const tabs = ['edit', 'payload', 'headers', 'history'] as const;
type Tab = (typeof tabs)[number];

/** One dead letter: its error, its payload with the error marked, its history, and what can be done. */
export function LetterPane({
  id,
  onChanged,
}: {
  readonly id: string;
  readonly onChanged: (replayId?: string) => void;
}) {
  const letter = useResource(
    (signal) => answerOf(api.GET('/api/v1/dead-letters/{id}', { params: { path: { id } }, signal })),
    { about: id, everyMs: 3_000 },
  );
  const [tab, setTab] = useState<Tab>('edit');
  const known = letter.state.value.data;
  const name =
    known === undefined
      ? `Letter ${id}`
      : [known.deviceId ?? 'no device', known.epoch, known.seq === null ? null : count(known.seq)]
          .filter(Boolean)
          .join(' · ');
  return (
    <article class="letter" aria-label="Dead letter">
      <Area
        title={name}
        right={known === undefined ? undefined : <span class="tag">{known.status}</span>}
        resource={letter}
        about={`letter ${id}`}
      >
        {(data) =>
          data === undefined ? null : (
            <>
              <Facts letter={data} />
              <div class="tabs slimtabs" role="tablist" aria-label="Letter">
                {tabs.map((one) => (
                  <button
                    key={one}
                    type="button"
                    role="tab"
                    id={`tab-${one}`}
                    aria-selected={tab === one}
                    aria-controls="letter-panel"
                    tabIndex={tab === one ? 0 : -1}
                    onClick={() => setTab(one)}
                    onKeyDown={(event) => {
                      const step = event.key === 'ArrowRight' ? 1 : event.key === 'ArrowLeft' ? -1 : 0;
                      if (step === 0) return;
                      const next = tabs[(tabs.indexOf(one) + step + tabs.length) % tabs.length]!;
                      setTab(next);
                      document.getElementById(`tab-${next}`)?.focus();
                    }}
                  >
                    {tabText(one, data)}
                  </button>
                ))}
              </div>
              <div id="letter-panel" role="tabpanel" aria-labelledby={`tab-${tab}`} tabIndex={0}>
                {tab === 'payload' && <Payload letter={data} />}
                {tab === 'headers' && (
                  <pre class="code" tabIndex={0}>
                    {JSON.stringify(data.headers, null, 2)}
                  </pre>
                )}
                {tab === 'history' && <History letter={data} />}
                {/* It stays in the page, so that a text that was begun is not lost with the tab. */}
                <div hidden={tab !== 'edit'}>
                  <Editor
                    letter={data}
                    onChanged={(replayId) => {
                      letter.refresh();
                      onChanged(replayId);
                    }}
                  />
                </div>
              </div>
            </>
          )
        }
      </Area>
    </article>
  );
}

function tabText(tab: Tab, { payload, history, status }: Details): string {
  switch (tab) {
    case 'edit':
      return status === 'open' ? 'Edit a copy' : 'Reading';
    case 'payload':
      return `Payload ${bytes(payload.bytes)}`;
    case 'headers':
      return 'Headers';
    case 'history':
      return `History ${history.length}`;
  }
}

function Facts({ letter }: { readonly letter: Details }) {
  const { error, lastFailedAt, firstFailedAt, attempts, receivedAt, replays, repeated, id } = letter;
  const time = (at: string) => <span title={at}>{timeWithMilliseconds(at)}</span>;
  return (
    <dl class="kv">
      <dt>Error</dt>
      <dd class="crit">
        {error.code} {error.message}
      </dd>
      <dt>Failed</dt>
      <dd>
        {time(lastFailedAt)} {zoneName(lastFailedAt)}, {plural(attempts, 'attempt')}
        {firstFailedAt !== lastFailedAt && <>, first {time(firstFailedAt)}</>}
        {receivedAt !== null && <> · received {time(receivedAt)}</>}
      </dd>
      {replays > 0 && (
        <>
          <dt>Replays</dt>
          <dd>
            {count(replays)}, failed again {repeated === 0 ? 'never' : plural(repeated, 'time')}
          </dd>
        </>
      )}
      <dt>Link</dt>
      <dd>
        <a class="link" href={`/dead-letters/${encodeURIComponent(id)}`}>
          /dead-letters/{id}
        </a>
      </dd>
    </dl>
  );
}

/** The unchanged payload: decoded where it is a reading, as bytes where it is not. */
function Payload({ letter: { payload, error } }: { readonly letter: Details }) {
  const text = payload.json === undefined ? undefined : JSON.stringify(payload.json, null, 2);
  return (
    <>
      <pre class="code" tabIndex={0}>
        {text === undefined ? hexLines(payload.base64).join('\n') : <Marked text={text} message={error.message} />}
      </pre>
      {payload.truncated && <p class="dim sm">Only the first part is shown: the payload has {bytes(payload.bytes)}.</p>}
    </>
  );
}

function History({ letter }: { readonly letter: Details }) {
  if (letter.history.length === 0) return <p class="dim">No decision and no replay yet.</p>;
  return (
    <table class="tight slim">
      <thead>
        <tr>
          <th>Time</th>
          <th>Who</th>
          <th>What</th>
        </tr>
      </thead>
      <tbody>
        {letter.history.map((event, index) => (
          <tr key={index}>
            <td class="id dim" title={event.at}>
              {moment(event.at, now.value)}
            </td>
            <td>{event.actor}</td>
            <td class="wrap">{actionText(event)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

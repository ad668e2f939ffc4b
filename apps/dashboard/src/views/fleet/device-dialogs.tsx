import type { components } from '@fleetwire/client/openapi';
import { useEffect, useState } from 'preact/hooks';
import { ApiProblem, type Failure, answerOf, api, failureOf } from '../../api.ts';
import { Problem } from '../../area.tsx';
import { serverNow } from '../../clock.ts';
import { Dialog } from '../../dialog.tsx';
import { copy } from '../../download.ts';
import { Icon } from '../../icons.tsx';
import { watch } from '../../live.ts';
import { hasRole } from '../../session.ts';
import { dayAndYear, hourAndMinute, timeWithMilliseconds, zoneName } from '../../times.ts';

type Device = components['schemas']['Device'];
type MintedToken = components['schemas']['MintedToken'];

/** What can be set of a device, as texts of a form. */
interface Fields {
  readonly name: string;
  readonly type: string;
  readonly tags: string;
  readonly interval: string;
}

export function AddDevice({ onClose }: { readonly groupKey?: string; readonly onClose: () => void }) {
  const [added, setAdded] = useState<string>();
  const [token, setToken] = useState<MintedToken>();
  if (token !== undefined)
    return <TokenDialog title={`${token.subject} is added. This is its token.`} token={token} onClose={onClose} />;
  if (added !== undefined)
    return (
      <Dialog title={`${added} is added.`} onClose={onClose}>
        <p class="dim">
          A token for it is minted by an admin, or with <code>npx fleetwire token mint</code>.
        </p>
        <form method="dialog" class="acts2">
          <a class="btn" href={`/devices/${encodeURIComponent(added)}`} onClick={onClose}>
            Open {added}
          </a>
          <button class="btn main">Done</button>
        </form>
      </Dialog>
    );
  return (
    <DeviceForm
      title="Add a device"
      action="Add device"
      fields={{ name: '', type: '', tags: '', interval: '' }}
      withId
      onClose={onClose}
      onSubmit={async (deviceId, fields) => {
        await answerOf(api.POST('/api/v1/devices', { body: { deviceId, ...setFields(fields) } }));
        try {
          if (hasRole('admin')) setToken(await mintToken(deviceId));
          else setAdded(deviceId);
        } catch (error) {
          // Some installations mint elsewhere: the device is added all the same.
          if (!(error instanceof ApiProblem && error.status === 501)) throw error;
          setAdded(deviceId);
        }
      }}
    />
  );
}

export function EditDevice({
  device,
  onSaved,
  onClose,
}: {
  readonly device: Device;
  readonly onSaved: () => void;
  readonly onClose: () => void;
}) {
  const fields = {
    name: device.name ?? '',
    type: device.type ?? '',
    tags: (device.tags ?? []).join(' '),
    interval:
      device.expectedIntervalMs === null || device.expectedIntervalMs === undefined
        ? ''
        : String(device.expectedIntervalMs / 1_000),
  };
  return (
    <DeviceForm
      title={`Edit ${device.deviceId}`}
      action="Save"
      fields={fields}
      onClose={onClose}
      onSubmit={async (_id, changed) => {
        const { name, type, tags, interval } = changed;
        const body = {
          name: name.trim() || null,
          type: type.trim() || null,
          tags: tagList(tags),
          expectedIntervalMs: interval.trim() === '' ? null : Math.round(Number(interval) * 1_000),
        };
        const header = device.version === undefined ? {} : { header: { 'if-match': `"${device.version}"` } };
        await answerOf(
          api.PATCH('/api/v1/devices/{id}', {
            params: { path: { id: device.deviceId }, ...header },
            body,
            headers: { 'content-type': 'application/merge-patch+json' },
          }),
        );
        onSaved();
        onClose();
      }}
    />
  );
}

/** A token of a device, minted for 30 days. @throws {ApiProblem} */
export function mintToken(deviceId: string): Promise<MintedToken> {
  return answerOf(
    api.POST('/api/v1/tokens', { body: { subject: deviceId, role: 'device', expiresInSeconds: 30 * 86_400 } }),
  );
}

function DeviceForm({
  title,
  action,
  fields,
  withId = false,
  onSubmit,
  onClose,
}: {
  readonly title: string;
  readonly action: string;
  readonly fields: Fields;
  readonly withId?: boolean;
  readonly onSubmit: (deviceId: string, fields: Fields) => Promise<void>;
  readonly onClose: () => void;
}) {
  const [failure, setFailure] = useState<Failure>();
  const [busy, setBusy] = useState(false);
  async function submit(form: HTMLFormElement): Promise<void> {
    const text = (name: string) => (form.elements.namedItem(name) as HTMLInputElement | null)?.value ?? '';
    setBusy(true);
    setFailure(undefined);
    try {
      await onSubmit(text('deviceId').trim(), {
        name: text('name'),
        type: text('type'),
        tags: text('tags'),
        interval: text('interval'),
      });
    } catch (error) {
      setFailure(failureOf(error));
      setBusy(false);
    }
  }
  return (
    <Dialog title={title} onClose={onClose}>
      <form
        class="form deviceform"
        onSubmit={(event) => {
          event.preventDefault();
          void submit(event.currentTarget);
        }}
      >
        {withId && (
          <>
            <label for="deviceId">Id</label>
            <input
              id="deviceId"
              name="deviceId"
              class="field mono"
              required
              maxLength={128}
              pattern="[A-Za-z0-9][A-Za-z0-9._:\-]*"
              title="letters, digits and . _ : -, beginning with a letter or digit"
              autocomplete="off"
            />
          </>
        )}
        <label for="name">Name</label>
        <input id="name" name="name" class="field" defaultValue={fields.name} autocomplete="off" />
        <label for="type">Type</label>
        <input id="type" name="type" class="field" defaultValue={fields.type} autocomplete="off" />
        <label for="tags">Tags</label>
        <input
          id="tags"
          name="tags"
          class="field mono"
          placeholder="depot:lyon-est firmware:4.1.9"
          defaultValue={fields.tags}
          autocomplete="off"
        />
        <label for="interval">Interval, s</label>
        <input
          id="interval"
          name="interval"
          class="field"
          type="number"
          min="0.001"
          step="any"
          defaultValue={fields.interval}
          aria-describedby="interval-help"
        />
        <span />
        <span id="interval-help" class="dim">
          How often it sends. It is stale when it is silent for longer than that allows.
        </span>
        {failure !== undefined && (
          <div class="formwide">
            <Problem failure={failure} />
          </div>
        )}
        <div class="acts2 formwide">
          <button class="btn main" disabled={busy}>
            {action}
          </button>
          <button type="button" class="btn" onClick={onClose}>
            Cancel
          </button>
        </div>
      </form>
    </Dialog>
  );
}

const shells = {
  shell: (token: string) =>
    `export DEVICE_TOKEN=${token}\ncurl -sS ${location.origin}/api/v1/telemetry -H "authorization: Bearer $DEVICE_TOKEN" \\\n  -H 'content-type: application/json' -d '{"metrics":{"temperature":21.5}}'`,
  Node: (token: string) =>
    `const socket = new WebSocket('${location.origin.replace('http', 'ws')}/ws', ['fleetwire.v1.json', 'fleetwire.token.${token}']);\nsocket.onopen = () => socket.send(JSON.stringify({ type: 'telemetry', metrics: { temperature: 21.5 } }));\nsocket.onmessage = ({ data }) => console.log(data);`,
  Python: (token: string) =>
    `import json, urllib.request\nrequest = urllib.request.Request('${location.origin}/api/v1/telemetry', json.dumps({'metrics': {'temperature': 21.5}}).encode(), {'Authorization': 'Bearer ${token}', 'Content-Type': 'application/json'})\nprint(urllib.request.urlopen(request).read().decode())`,
};

/** The token is shown once; the dialog waits for the first reading of the device. */
export function TokenDialog({
  title,
  token: { token, subject, expiresAt },
  onClose,
}: {
  readonly title: string;
  readonly token: MintedToken;
  readonly onClose: () => void;
}) {
  const [arrivedAt, setArrived] = useState<number>();
  const [copied, setCopied] = useState('');
  useEffect(() => {
    // A device may be quicker than the subscription: its reading is history then.
    const since = new Date(serverNow() - 2_000).toISOString();
    return watch({ devices: [subject], events: ['readings'], since }, (message) => {
      if (message.type === 'data_update') setArrived((before) => before ?? Date.now());
    });
  }, [subject]);
  const copyText = async (what: string, text: string) =>
    setCopied((await copy(text)) ? `${what} copied` : 'The browser does not allow to copy: select the text');
  return (
    <Dialog title={title} onClose={onClose}>
      <p class="dim">
        It is shown only now: Fleetwire keeps no copy. It sends readings as {subject} and does nothing else, until{' '}
        {dayAndYear(expiresAt)}, {hourAndMinute(expiresAt)} {zoneName(expiresAt)}.
      </p>
      <pre class="code tok1 token" tabIndex={0}>
        {token}
      </pre>
      <div class="acts2">
        <button type="button" class="btn main" onClick={() => void copyText('Token', token)}>
          <Icon name="copy" />
          Copy token
        </button>
        {Object.entries(shells).map(([name, lines]) => (
          <button key={name} type="button" class="btn" onClick={() => void copyText(`Lines for ${name}`, lines(token))}>
            For {name}
          </button>
        ))}
        <span class="grow" />
        <form method="dialog">
          <button class="btn">Done</button>
        </form>
      </div>
      <p class="wait" role="status">
        <svg class="hops1" viewBox="0 0 90 12" aria-hidden="true">
          <path
            class={arrivedAt === undefined ? 'flowline' : 'wirel'}
            d="M8 6H82"
            stroke="var(--wire)"
            stroke-width="2"
          />
          <circle
            cx="6"
            cy="6"
            r="4.5"
            fill={arrivedAt === undefined ? 'none' : 'var(--wire)'}
            stroke="var(--edge)"
            stroke-dasharray="2 2"
          />
          <circle
            cx="84"
            cy="6"
            r="4.5"
            fill={arrivedAt === undefined ? 'none' : 'var(--wire)'}
            stroke="var(--edge)"
            stroke-dasharray="2 2"
          />
        </svg>
        {arrivedAt === undefined ? (
          'Waiting for its first reading…'
        ) : (
          <>
            <Icon name="ok" tone="okc" /> First reading at {timeWithMilliseconds(arrivedAt)}.{' '}
            <a class="link" href={`/devices/${encodeURIComponent(subject)}`} onClick={onClose}>
              Open {subject}
            </a>
          </>
        )}
        <span class="dim">{copied}</span>
      </p>
    </Dialog>
  );
}

function setFields({ name, type, tags, interval }: Fields) {
  return {
    ...(name.trim() !== '' && { name: name.trim() }),
    ...(type.trim() !== '' && { type: type.trim() }),
    ...(tagList(tags).length > 0 && { tags: tagList(tags) }),
    ...(interval.trim() !== '' && { expectedIntervalMs: Math.round(Number(interval) * 1_000) }),
  };
}

function tagList(text: string): string[] {
  return text.split(/[\s,]+/).filter(Boolean);
}

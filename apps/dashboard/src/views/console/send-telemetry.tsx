import { useEffect, useState } from 'preact/hooks';
import { serverNow } from '../../clock.ts';
import { Icon } from '../../icons.tsx';
import { Code } from './code.tsx';
import { typedMetrics } from './metrics-input.ts';
import type { Sender } from './sender.ts';

const repeatMs = 1_000;
const deviceIdPattern = '[A-Za-z0-9][A-Za-z0-9._:\\-]{0,127}';

/** Readings by hand. The frame that is sent is shown. */
export function SendTelemetry({ sender }: { readonly sender: Sender }) {
  const [device, setDevice] = useState('bench-1');
  const [lines, setLines] = useState<readonly string[]>(['temperature = 21.5']);
  const [time, setTime] = useState('');
  const [repeats, setRepeats] = useState(false);
  const typed = typedMetrics(lines);
  const isDevice = new RegExp(`^${deviceIdPattern}$`).test(device);
  const isTime = time === '' || !Number.isNaN(Date.parse(time));
  const why = !isDevice
    ? 'A device id has letters, digits and . _ : -, and begins with a letter or digit'
    : !typed.ok
      ? typed.why
      : isTime
        ? undefined
        : 'The time is RFC 3339, like 2026-11-21T14:00:00Z; empty is now';
  void sender.last.value;
  const at = () => (time === '' ? new Date(serverNow()).toISOString() : new Date(time).toISOString());

  function send(): void {
    if (why === undefined && typed.ok) sender.send(device, typed.metrics, at());
  }

  useEffect(() => {
    if (!repeats || why !== undefined) return;
    const timer = setInterval(send, repeatMs);
    return () => clearInterval(timer);
  }, [repeats, device, lines, time]);

  return (
    <form
      onSubmit={(event) => {
        event.preventDefault();
        send();
      }}
      onKeyDown={(event) => {
        if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) send();
      }}
    >
      <div class="form">
        <label for="send-device">Device</label>
        <input
          id="send-device"
          class="field mono"
          value={device}
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => setDevice(event.currentTarget.value)}
        />
        {lines.map((line, index) => (
          <>
            <label for={`send-metric-${index}`} class={index === 0 ? undefined : 'seen-not'}>
              {index === 0 ? 'Metrics' : `Metric ${index + 1}`}
            </label>
            {index > 0 && <span />}
            <input
              id={`send-metric-${index}`}
              class="field mono"
              value={line}
              spellcheck={false}
              autocomplete="off"
              onInput={(event) => setLines(lines.map((one, at) => (at === index ? event.currentTarget.value : one)))}
            />
          </>
        ))}
        <span />
        <button class="btn quiet" type="button" onClick={() => setLines([...lines, ''])}>
          <Icon name="plus" />
          metric
        </button>
        <label for="send-time">Time</label>
        <input
          id="send-time"
          class="field mono"
          value={time}
          placeholder="now"
          spellcheck={false}
          autocomplete="off"
          onInput={(event) => setTime(event.currentTarget.value)}
        />
      </div>
      <Code
        value={sender.frameOf(device, typed.ok ? typed.metrics : {}, time === '' ? 'now' : time)}
        label="The frame that is sent"
        isShort
      />
      {why !== undefined && (
        <p class="crit sm0" role="alert">
          {why}
        </p>
      )}
      <div class="acts2">
        <button class="btn main" disabled={why !== undefined}>
          Send <span class="kbd onw no-phone">Ctrl ↵</span>
        </button>
        <button
          class="btn"
          type="button"
          aria-pressed={repeats}
          disabled={why !== undefined}
          onClick={() => setRepeats(!repeats)}
        >
          {repeats ? 'Stop' : 'Repeat every 1 s'}
        </button>
      </div>
    </form>
  );
}

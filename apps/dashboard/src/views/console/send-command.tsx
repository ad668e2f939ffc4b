import { type Signal, useSignal } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { ApiProblem, answerOf, api, failureOf } from '../../api.ts';
import { sleep } from '../../sleep.ts';
import { Code } from './code.tsx';
import { Hops } from './hops.tsx';
import { type CommandFacts, commandHops } from './sentences.ts';
import { timeWithMilliseconds } from '../../times.ts';

const pollMs = 250;
const ended = new Set(['succeeded', 'failed', 'timed-out', 'expired', 'cancelled']);

interface SentCommand extends CommandFacts {
  readonly command: string;
  readonly deviceId: string;
  /** The answer of the device, or why there is none. */
  readonly answer: string | undefined;
}

/** A command by hand, and what becomes of it. */
export function SendCommand({ onSent }: { readonly onSent: (id: string) => void }) {
  const [device, setDevice] = useState('');
  const [command, setCommand] = useState('ping');
  const [args, setArgs] = useState('');
  const [timeout, setTimeoutSeconds] = useState('5');
  const [waits, setWaits] = useState(false);
  const sent: Signal<SentCommand | undefined> = useSignal<SentCommand | undefined>(undefined);
  const call = useRef<AbortController | undefined>(undefined);
  useEffect(() => () => call.current?.abort(), []);
  const parsed = parsedArgs(args);
  const seconds = Number(timeout);
  const why =
    device === ''
      ? 'Name a device'
      : !/^[\w.:-]{1,64}$/.test(command)
        ? 'A command is 1 to 64 letters, digits and _ . : -'
        : !parsed.ok
          ? parsed.why
          : seconds > 0 && seconds <= 3_600
            ? undefined
            : 'The time-out is between 1 and 3,600 seconds';
  const body = {
    command,
    ...(parsed.ok && parsed.value !== undefined && { args: parsed.value }),
    mode: waits ? ('when-online' as const) : ('now' as const),
    timeoutMs: Math.round(seconds * 1_000),
  };

  async function send(): Promise<void> {
    if (why !== undefined) return;
    call.current?.abort();
    const own = new AbortController();
    call.current = own;
    const sentAt = Date.now();
    const base = {
      command,
      deviceId: device,
      sentAt,
      writtenAt: undefined,
      deliveredAt: undefined,
      finishedAt: undefined,
      createdAt: undefined,
      answer: undefined,
    };
    sent.value = { ...base, state: 'queued' };
    try {
      let answer = await answerOf(
        api.POST('/api/v1/devices/{id}/commands', {
          params: { path: { id: device } },
          body: body as never,
          signal: own.signal,
        }),
      );
      onSent(answer.id);
      for (;;) {
        const time = (text: string | null) => (text === null ? undefined : Date.parse(text));
        sent.value = {
          ...base,
          state: answer.state,
          createdAt: time(answer.createdAt),
          writtenAt: time(answer.sentAt),
          deliveredAt: time(answer.deliveredAt),
          finishedAt: time(answer.finishedAt),
          answer:
            answer.state === 'succeeded'
              ? JSON.stringify(answer.result ?? null)
              : answer.error === null
                ? undefined
                : `${answer.error.code} ${answer.error.message ?? ''}`.trim(),
        };
        if (ended.has(answer.state)) return;
        await sleep(pollMs);
        answer = (await answerOf(
          api.GET('/api/v1/commands/{id}', { params: { path: { id: answer.id } }, signal: own.signal }),
        )) as typeof answer;
      }
    } catch (error) {
      if (own.signal.aborted) return;
      const { title, detail } = failureOf(error);
      sent.value = {
        ...base,
        state: error instanceof ApiProblem ? 'refused' : 'unknown',
        answer: `${title}. ${detail}`,
      };
    }
  }

  const last = sent.value;
  return (
    <>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void send();
        }}
      >
        <div class="form">
          <label for="command-device">Device</label>
          <input
            id="command-device"
            class="field mono"
            value={device}
            spellcheck={false}
            autocomplete="off"
            placeholder="press-7"
            onInput={(event) => setDevice(event.currentTarget.value.trim())}
          />
          <label for="command-name">Command</label>
          <input
            id="command-name"
            class="field mono"
            value={command}
            spellcheck={false}
            autocomplete="off"
            onInput={(event) => setCommand(event.currentTarget.value.trim())}
          />
          <label for="command-args">Arguments</label>
          <input
            id="command-args"
            class="field mono"
            value={args}
            spellcheck={false}
            autocomplete="off"
            placeholder={'{"value":-18}'}
            onInput={(event) => setArgs(event.currentTarget.value)}
          />
          <label for="command-timeout">Time-out</label>
          <span class="row">
            <input
              id="command-timeout"
              class="field mono short"
              inputMode="numeric"
              value={timeout}
              onInput={(event) => setTimeoutSeconds(event.currentTarget.value)}
            />{' '}
            s
          </span>
          <span />
          <label class="check">
            <input type="checkbox" checked={waits} onChange={(event) => setWaits(event.currentTarget.checked)} />
            also later, when it is online
          </label>
        </div>
        <Code value={body} label="The command that is sent" isShort />
        {device !== '' && why !== undefined && (
          <p class="crit sm0" role="alert">
            {why}
          </p>
        )}
        <div class="acts2">
          <button class="btn main" disabled={why !== undefined}>
            Send
          </button>
        </div>
      </form>
      {last !== undefined && (
        <div role="status" data-state={last.state} class="lastsent">
          <div class="h sp">
            <h2>
              Last sent: {last.command} to {last.deviceId}
            </h2>
            <span class="r">{timeWithMilliseconds(last.sentAt)}</span>
          </div>
          <Hops hops={commandHops(last)} />
          {last.answer !== undefined && <p class="sm0 mono answer">{last.answer}</p>}
        </div>
      )}
    </>
  );
}

function parsedArgs(
  text: string,
): { readonly ok: true; readonly value: unknown } | { readonly ok: false; readonly why: string } {
  if (text.trim() === '') return { ok: true, value: undefined };
  try {
    return { ok: true, value: JSON.parse(text) as unknown };
  } catch (error) {
    return { ok: false, why: `The arguments are not JSON: ${(error as Error).message}` };
  }
}

import { connect } from 'node:net';
import { type RawInput, rawInputs, tokenPlaceholder } from './raw-inputs.ts';
import { type Subject, shown } from './subject.ts';
import type { Tally } from './tally.ts';

export interface RawSubjectOptions {
  readonly urls: Readonly<Record<RawInput['service'], string>>;
  readonly token: string;
  readonly tally: Tally;
  readonly hangMs: number;
}

/** Bytes on connections of their own. The server must close each one soon after its peer has ended it. */
export function rawSubject({ urls, token, tally, hangMs }: RawSubjectOptions): Subject<RawInput> {
  return {
    name: 'raw',
    inputs: rawInputs,
    close: () => {},
    run: async ({ group, service, chunks }) => {
      const bytes = chunks.map((chunk) =>
        Buffer.from(chunk.toString('latin1').replaceAll(tokenPlaceholder, token), 'latin1'),
      );
      const { received, isClosed } = await exchange(Number(new URL(urls[service]).port), bytes, hangMs);
      const statuses = [...received.matchAll(/HTTP\/1\.1 (\d)(\d\d) /g)];
      for (const [, first] of statuses) tally.add(group, `${first}xx`);
      if (statuses.length === 0) tally.add(group, 'closed');
      const bad = statuses.find(([, first]) => first === '5');
      const what =
        bad !== undefined
          ? `answered ${bad[1]}${bad[2]}: ${received.slice(0, 500)}`
          : isClosed
            ? undefined
            : `did not close the connection within ${hangMs} ms`;
      if (bad === undefined && !isClosed) tally.add(group, 'hang');
      if (what === undefined) return { sent: 1 };
      const input = chunks.map((chunk) => shown(chunk)).join('\n');
      return {
        sent: 1,
        finding: { signature: `${group} ${service} ${what.slice(0, 30)}`, what: `${group}: ${service} ${what}`, input },
      };
    },
  };
}

/** Sends the chunks, ends the sending side, and reads until the server closes the connection. */
function exchange(
  port: number,
  chunks: readonly Buffer[],
  hangMs: number,
): Promise<{ received: string; isClosed: boolean }> {
  return new Promise((resolve) => {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true });
    let received = '';
    const timer = setTimeout(() => finish(false), hangMs);
    const finish = (isClosed: boolean): void => {
      clearTimeout(timer);
      socket.destroy();
      resolve({ received, isClosed });
    };
    socket.on('data', (data) => (received += data.toString('latin1')));
    socket.on('error', () => {});
    socket.on('close', () => finish(true));
    void send();

    async function send(): Promise<void> {
      for (const chunk of chunks) {
        await new Promise((written) => socket.write(chunk, written));
        if (chunk.toString('latin1').includes('Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==')) await firstAnswer();
      }
      socket.end();
    }

    /** Frames that come before the 101 would be read as part of the request. */
    function firstAnswer(): Promise<void> {
      return new Promise((answered) => {
        if (received !== '' || socket.destroyed) return answered();
        socket.once('data', () => answered());
        socket.once('close', () => answered());
      });
    }
  });
}

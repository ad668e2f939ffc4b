import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';

interface Line {
  readonly msg: string;
  readonly level: string;
  readonly [field: string]: unknown;
}

/** The fixture as a real process, with its log as something to await. */
export class ServiceProcess implements AsyncDisposable {
  readonly child: ChildProcessWithoutNullStreams;
  readonly lines: Line[] = [];
  readonly exitCode: Promise<number | null>;
  readonly #waiting = new Set<() => void>();

  constructor(environment: Record<string, string>) {
    this.child = spawn(process.execPath, [`${import.meta.dirname}/fixtures/service.ts`], {
      env: { ...environment, PORT: '0' },
    });
    this.exitCode = once(this.child, 'exit').then(([code]) => code as number | null);
    createInterface({ input: this.child.stdout }).on('line', (line) => {
      this.lines.push(JSON.parse(line) as Line);
      for (const look of this.#waiting) look();
    });
  }

  /** Resolves with the first log line whose message is `message`, past or to come. */
  logged(message: string): Promise<Line> {
    return new Promise((resolve) => {
      const look = (): void => {
        const line = this.lines.find(({ msg }) => msg === message);
        if (line) resolve(line);
        if (line) this.#waiting.delete(look);
      };
      this.#waiting.add(look);
      look();
    });
  }

  async url(): Promise<string> {
    const { port } = await this.logged('listening');
    return `http://127.0.0.1:${String(port)}`;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill('SIGKILL');
    await this.exitCode;
  }
}

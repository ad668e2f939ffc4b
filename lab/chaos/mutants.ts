/** One change of the source that breaks a promise, and what should notice it. */
export interface Mutant {
  readonly name: string;
  /** What the changed program does wrong. */
  readonly what: string;
  readonly edits: readonly Edit[];
  /** Test files that should fail, relative to the repository. */
  readonly tests: readonly string[];
  /** Faults or components of the chaos run that should report a breach. */
  readonly faults: readonly string[];
}

/** `text` occurs exactly once in the file. */
export interface Edit {
  readonly file: string;
  readonly text: string;
  readonly replacement: string;
}

const workerFaults = ['persistence-worker-killed-before-commit'];

/** Faults of ours, planted to see whether the tests and the chaos run notice them. */
export const mutants: readonly Mutant[] = [
  {
    name: 'worker-done-before-commit',
    what: 'the worker acknowledges a message to the broker when it has started to store it',
    edits: [
      {
        file: 'services/persistence-worker/src/envelope-handler.ts',
        text: 'await isolation.handle(delivery, (alone) => this.#route(delivery, alone));',
        replacement: 'void isolation.handle(delivery, (alone) => this.#route(delivery, alone)).catch(() => {});',
      },
    ],
    tests: ['services/persistence-worker/test/faults.test.ts'],
    faults: workerFaults,
  },
  {
    name: 'ack-before-confirm',
    what: 'ingest-ws acknowledges readings when it has published them, without waiting for the confirm',
    edits: [
      {
        file: 'services/ingest-ws/src/intake.ts',
        text: 'await publisher.publish({',
        replacement:
          'await ((message: Parameters<typeof publisher.publish>[0]) => void publisher.publish(message).catch(() => {}))({',
      },
    ],
    tests: ['services/ingest-ws/test/broker-faults.test.ts'],
    faults: ['ingest-ws-killed-before-confirm'],
  },
  {
    name: 'broker-nack-ignored',
    what: 'a publish that the broker nacks counts as confirmed',
    edits: [
      {
        file: 'libs/broker/src/publish-channel.ts',
        text: "entry.settle(nacked ? 'nacked' : entry.isReturned",
        replacement: 'entry.settle(entry.isReturned && !nacked',
      },
    ],
    tests: ['libs/broker/test/publisher.test.ts'],
    faults: ['rabbitmq-queue-full', 'rabbitmq-killed'],
  },
  {
    name: 'device-nack-forgotten',
    what: 'ingest-ws sends no nack for readings that it could not publish',
    edits: [
      {
        file: 'services/ingest-ws/src/intake.ts',
        text: 'else submission.nack(',
        replacement: 'else ((..._forgotten: unknown[]) => {})(',
      },
    ],
    tests: ['services/ingest-ws/test/broker-faults.test.ts'],
    faults: ['rabbitmq-binding-removed', 'rabbitmq-killed'],
  },
  {
    name: 'mandatory-ignored',
    what: 'publishes are not mandatory, so unroutable ones are confirmed and dropped',
    edits: [
      {
        file: 'libs/broker/src/publish-channel.ts',
        text: 'mandatory: true,',
        replacement: 'mandatory: false,',
      },
    ],
    tests: ['libs/broker/test/publisher.test.ts'],
    faults: ['rabbitmq-binding-removed'],
  },
  {
    name: 'no-dedupe',
    what: 'every reading counts as new, so a repeated one is stored twice',
    edits: [
      {
        file: 'libs/store/src/batch-statements.ts',
        text: 'added = excluded.seen - stored.seen',
        replacement: 'added = excluded.seen',
      },
    ],
    tests: ['libs/store/test/batch-writer.test.ts'],
    faults: workerFaults,
  },
  {
    name: 'synchronous-commit-off',
    what: 'commits are answered before the WAL is on disk',
    edits: [
      {
        file: 'libs/store/src/durability.ts',
        text: `select set_config('synchronous_commit', 'on', false)
    where current_setting('synchronous_commit') not in ('on', 'remote_write', 'remote_apply')`,
        replacement: `select set_config('synchronous_commit', 'off', false)`,
      },
      {
        file: 'libs/store/src/durability.ts',
        text: `
      or (name = 'synchronous_commit' and setting not in ('on', 'remote_write', 'remote_apply'))`,
        replacement: '',
      },
    ],
    tests: ['libs/store/test/durability.test.ts'],
    faults: ['postgres-killed', 'postgres-immediate'],
  },
  {
    name: 'not-resubscribed',
    what: 'a worker whose subscription is lost does not subscribe again',
    edits: [
      {
        file: 'libs/broker/src/consumer.ts',
        text: `const reason = await this.#subscription.ended;
        if (stopping.aborted) return;`,
        replacement: `const reason = await this.#subscription.ended;
        if (reason !== undefined) return;`,
      },
    ],
    tests: ['libs/broker/test/consumer.test.ts'],
    faults: ['link worker-rabbitmq', 'rabbitmq-killed'],
  },
  {
    name: 'dead-letter-dropped',
    what: 'dead letters are acknowledged and not stored',
    edits: [
      {
        file: 'services/persistence-worker/src/dead-letter-drain.ts',
        text: 'await this.#store(deadLettersOf(delivery), delivery);',
        replacement: 'deadLettersOf(delivery);',
      },
    ],
    tests: ['services/persistence-worker/test/dead-letter-drain.test.ts'],
    faults: workerFaults,
  },
  {
    name: 'retry-copy-unconfirmed',
    what: 'a message is acknowledged although its copy in a retry queue is not confirmed',
    edits: [
      {
        file: 'services/persistence-worker/src/reading-outcomes.ts',
        text: `await publish({
      exchange: exchanges.default,
      routingKey: retryQueue(step),`,
        replacement: `await ((message: Parameters<typeof publish>[0]) => void publish(message).catch(() => {}))({
      exchange: exchanges.default,
      routingKey: retryQueue(step),`,
      },
    ],
    tests: ['services/persistence-worker/test/faults.test.ts', 'services/persistence-worker/test/persistence.test.ts'],
    faults: ['postgres', 'link worker-rabbitmq', 'persistence-worker'],
  },
  {
    name: 'replay-counted-twice',
    what: 'reconciliation counts the readings of a replay as if they had arrived again',
    edits: [
      {
        file: 'services/persistence-worker/src/reading-outcomes.ts',
        text: "if (deliveries.some(isReplay)) return 'replay';",
        replacement: '',
      },
    ],
    tests: ['lab/e2e/replay.test.ts', 'lab/e2e/dead-letters.test.ts'],
    faults: workerFaults,
  },
  {
    name: 'late-overwrites-latest',
    what: 'a reading that arrives late replaces newer values of the latest state',
    edits: [
      {
        file: 'libs/store/src/batch-statements.ts',
        text: 'when excluded.changed_from >= known.ts and (',
        replacement: 'when excluded.changed_from <= excluded.ts and (',
      },
    ],
    tests: ['libs/store/test/batch-writer.test.ts'],
    faults: workerFaults,
  },
];

/** @throws RangeError for a name that is not in the list */
export function mutantsNamed(names: readonly string[]): readonly Mutant[] {
  return names.map((name) => {
    const found = mutants.find((mutant) => mutant.name === name);
    if (found === undefined)
      throw new RangeError(
        `there is no mutant "${name}"; there are ${mutants.map((mutant) => mutant.name).join(', ')}`,
      );
    return found;
  });
}

/** @throws Error unless the text occurs exactly once: the source has changed, and the mutant must follow it */
export function mutated(source: string, { file, text, replacement }: Edit): string {
  const found = source.split(text).length - 1;
  if (found !== 1) throw new Error(`the text of the mutant is found ${found} times in ${file}, not once: ${text}`);
  return source.replace(text, () => replacement);
}

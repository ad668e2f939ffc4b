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
  /** In the text of the breach; any, unless given. */
  readonly breach?: string;
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
    faults: ['rabbitmq-binding-removed'],
  },
  {
    name: 'reconnect-resends-nothing',
    what: 'after a reconnect the device is told that everything it sent is settled, so it sends nothing again',
    edits: [
      {
        file: 'services/ingest-ws/src/session-streams.ts',
        text: 'const upTo = acks.gaplessUpTo;',
        replacement: 'const upTo = acks.next === undefined ? undefined : acks.next - 1;',
      },
    ],
    tests: ['services/ingest-ws/test/broker-faults.test.ts'],
    faults: ['rabbitmq-paused', 'rabbitmq-killed', 'link device-ingest'],
  },
  {
    name: 'mandatory-ignored',
    what: 'publishes are not mandatory, so unroutable ones are confirmed and dropped',
    edits: [
      {
        file: 'libs/broker/src/publish-channel.ts',
        text: 'mandatory: !isTransient,',
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
        text: 'newly_stored = excluded.seen - stored.seen',
        replacement: 'newly_stored = excluded.seen',
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
    faults: ['link worker-rabbitmq'],
  },
  {
    name: 'dead-letter-dropped',
    what: 'dead letters are acknowledged and not stored',
    edits: [
      {
        file: 'services/persistence-worker/src/dead-letter-drain.ts',
        text: 'await Promise.all(dead.map((deadLetter) => this.#store(deadLetter, delivery)));',
        replacement: '',
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
    tests: ['services/persistence-worker/test/faults.test.ts'],
    faults: ['persistence-worker-killed-while-retrying'],
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
    tests: ['lab/e2e/dead-letters.test.ts'],
    faults: ['persistence-worker-killed-in-replay'],
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
    faults: ['readings-refused'],
  },
  {
    name: 'live-loss-ignored',
    what: 'a subscription does not notice that live messages were lost between instances',
    edits: [
      {
        file: 'libs/live/src/watch.ts',
        text: 'if (prev > hi) this.#addGap(edge, hi + 1, prev, this.#lossReason, from, now);',
        replacement: '',
      },
    ],
    tests: ['libs/live/test/watch.unit.test.ts'],
    faults: ['link ingest-rabbitmq', 'rabbitmq-killed'],
  },
  {
    name: 'lease-never-ends',
    what: 'an edge that gives no sign of life keeps its lease, so its sessions stay open',
    edits: [
      {
        file: 'libs/contracts/src/presence.ts',
        text: 'if (edge.leaseUntil <= now.monotonic) edge.lost = edge.latest;',
        replacement: '',
      },
    ],
    tests: ['libs/contracts/test/presence.unit.test.ts'],
    faults: ['ingest-ws-killed'],
  },
  {
    name: 'command-now-repeated',
    what: 'a command of the mode now is sent again where the session ended before the device said that it has it',
    edits: [
      {
        file: 'libs/store/src/commands/outcomes.ts',
        text: "where id = $1 and device_id = $2 and mode = 'when-online'",
        replacement: 'where id = $1 and device_id = $2',
      },
    ],
    tests: ['libs/store/test/commands.test.ts'],
    faults: ['query-api-killed'],
    breach: 'of the mode now, and reached a socket more than once',
  },
  {
    name: 'command-attempt-written-again',
    what: 'an edge that is asked about an attempt that it has sent writes it to the socket again',
    edits: [
      {
        file: 'services/ingest-ws/src/edge-commands.ts',
        text: 'known.attempt >= dispatch.attempt',
        replacement: 'known.attempt > dispatch.attempt',
      },
    ],
    tests: ['services/ingest-ws/test/commands.test.ts'],
    faults: ['query-api-killed'],
    breach: 'the same attempt came twice on one connection',
  },
  {
    name: 'command-outcome-acked-early',
    what: 'a worker acknowledges what edges report of commands before it is written',
    edits: [
      {
        file: 'services/persistence-worker/src/command-outcomes.ts',
        text: 'return settled.promise;',
        replacement: "return 'ack';",
      },
    ],
    tests: ['services/persistence-worker/test/commands.test.ts'],
    faults: workerFaults,
    breach: 'the answer of the device is not shown',
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

import { randomUUID } from 'node:crypto';
import {
  commandChangedType,
  type CommandChange,
  commandChangesPerMessageMax,
  commandEventSchemaVersion,
} from '@fleetwire/contracts/command-event';
import type { LiveBroker } from '@fleetwire/live/live-broker';
import { Counter, fromZero, type Registry } from '@fleetwire/runtime/metrics';
import type { StoredCommand } from '@fleetwire/store/commands/command';

/** Tells subscribers of commands what this service has entered or cancelled; persistence-worker tells what follows. */
export type TellCommands = (changes: readonly CommandChange[]) => void;

export function openCommandEvents(
  broker: Pick<LiveBroker, 'publishTransient'> | undefined,
  registry: Registry,
): TellCommands {
  const counter = fromZero(
    new Counter({
      name: 'fleetwire_command_changes_total',
      help: 'Changes of the states of commands for the exchange events: published, or dropped because the broker did not take them',
      labelNames: ['result'] as const,
      registers: [registry],
    }),
    'result',
    ['published', 'dropped'],
  );
  return (changes) => {
    for (let first = 0; first < changes.length; first += commandChangesPerMessageMax) {
      const part = changes.slice(first, first + commandChangesPerMessageMax);
      const message = {
        id: randomUUID(),
        type: commandChangedType,
        schemaVersion: commandEventSchemaVersion,
        occurredAt: Date.now(),
        changes: part,
      };
      const isTaken = broker?.publishTransient(commandChangedType, message) === true;
      counter.inc({ result: isTaken ? 'published' : 'dropped' }, part.length);
    }
  };
}

/** Of a command that was just entered. */
export function enteredChange(command: StoredCommand): CommandChange {
  const { id: commandId, deviceId, command: name, state, mode, attempts, jobId, createdAt } = command;
  return { commandId, deviceId, command: name, state, mode, attempts, jobId, at: createdAt };
}

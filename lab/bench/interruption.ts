import { CommanderError } from 'commander';

/**
 * Rejects when this process is interrupted, so that what was started is stopped in order. Further signals do not end it before.
 * @throws {CommanderError} as the promise's reason
 */
export function interruption(log: (line: string) => void): Promise<never> {
  const interrupted = new Promise<never>((_, reject) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const)
      process.on(signal, () => reject(new CommanderError(1, 'bench.interrupted', `interrupted by ${signal}`)));
  });
  interrupted.catch(({ message }: Error) => log(message));
  return interrupted;
}

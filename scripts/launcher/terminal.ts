/** Everything that people see. A terminal that has gone away must not bring the launcher down before it has stopped its children. */
process.stdout.on('error', () => {});

export const terminal = {
  print(text: string): void {
    process.stdout.write(`${text}\n`);
  },

  /** Says what is being done, and how long it took once it is. */
  async step<Result>(title: string, work: () => Promise<Result>): Promise<Result> {
    const startedAt = Date.now();
    try {
      const result = await work();
      terminal.print(`start: ${title} (${seconds(startedAt)})`);
      return result;
    } catch (error) {
      terminal.print(`start: ${title} FAILED (${seconds(startedAt)})`);
      throw error;
    }
  },
};

function seconds(since: number): string {
  return `${((Date.now() - since) / 1000).toFixed(1)} s`;
}

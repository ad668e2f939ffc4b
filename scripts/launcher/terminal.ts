/** Everything the launcher prints. A closed terminal must not end the launcher before it has stopped its processes. */
process.stdout.on('error', () => {});

export const terminal = {
  print(text: string): void {
    process.stdout.write(`${text}\n`);
  },

  /** Prints the title and the duration when the work is done. */
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

import { readFile, writeFile } from 'node:fs/promises';
import { Command } from 'commander';
import { readCostTable, refreshCostTable } from './cost-table.ts';
import { costsOf } from './costs.ts';
import { replaceSection } from './markdown.ts';
import { report } from './report.ts';

const page = new URL('../../docs/scaling.md', import.meta.url);

interface Options {
  readonly bench?: string;
  readonly write: boolean;
}

export function scalingCommand(): Command {
  return new Command('scaling')
    .description('Calculate from measured costs what a fleet needs, and simulate what cannot be run on one machine.')
    .option(
      '--bench <file>',
      'first update costs.json from this JSON file of `npm run bench -- --only fleet,connections`',
    )
    .option('--write', 'write the tables into docs/scaling.md', false)
    .action(async ({ bench, write }: Options) => {
      if (bench !== undefined) await refreshCostTable(bench);
      const table = await readCostTable();
      const sections = report(table, costsOf(table), (line) => process.stderr.write(`${line}\n`));
      for (const [name, text] of Object.entries(sections)) process.stdout.write(`\n## ${name}\n\n${text}\n`);
      if (write)
        await writeFile(
          page,
          Object.entries(sections).reduce(
            (text, [name, section]) => replaceSection(text, name, section),
            await readFile(page, 'utf8'),
          ),
        );
    });
}

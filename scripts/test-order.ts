import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that take longer than about 15 s, the longest first. Begun last, one of them would be waited for alone. */
const longest = [
  'scripts/launcher/test/launcher.test.ts',
  'lab/e2e/chaos.test.ts',
  'lab/e2e/faults.test.ts',
  'lab/e2e/live-oracle.test.ts',
  'lab/e2e/stored-faults.test.ts',
  'lab/e2e/memory-alarm.test.ts',
  'lab/e2e/presence.test.ts',
  'lab/e2e/operations.test.ts',
  'lab/e2e/command-line.test.ts',
  'libs/platform/test/restart.test.ts',
  'lab/e2e/nginx-faults.test.ts',
  'services/persistence-worker/test/faults.test.ts',
  'lab/e2e/tracing.test.ts',
  'lab/e2e/dead-letters.test.ts',
  'services/persistence-worker/test/commands.test.ts',
  'services/ingest-ws/test/broker-faults.test.ts',
  'lab/e2e/live.test.ts',
  'libs/platform/test/control.test.ts',
  'lab/e2e/interruption.test.ts',
  'lab/e2e/commands.test.ts',
  'libs/platform/test/interrupted-run.test.ts',
  'lab/fuzz/test/fuzz.test.ts',
  'services/query-api/test/page-bytes.test.ts',
  'services/persistence-worker/test/change-events.test.ts',
];

/** Begins the longest files first, also where no earlier run has left its durations: by itself vitest then goes by the sizes of the files. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const index = longest.findIndex((file) => moduleId.endsWith(`/${file}`));
      return index === -1 ? longest.length : index;
    };
    return (await super.sort(files)).toSorted((a, b) => rank(a) - rank(b));
  }
}

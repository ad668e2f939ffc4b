import { readFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { alarmRules } from '../src/queues/alarm-rules.ts';

const text = await readFile(new URL('../../../deploy/prometheus/alert.rules.yml', import.meta.url), 'utf8');
const alerts = new Map(
  text
    .split('- alert: ')
    .slice(1)
    .map((rule) => {
      const forSeconds = Number(/^ +for: (\d+)m$/m.exec(rule)?.[1] ?? 0) * 60;
      const [, severity] = /severity: (\w+)/.exec(rule)!;
      const [, action] = /action: '(.*)'$/m.exec(rule)!;
      return [rule.split('\n')[0]!, { severity, forSeconds, action }];
    }),
);

it.each(Object.keys(alarmRules))('%s has the severity, delay and action of the alert of the same name', (name) => {
  const { severity, forSeconds, action } = alarmRules[name]!;
  expect({ severity, forSeconds, action }).toEqual(alerts.get(name));
});

it('every alarm has a heading in docs/alarms.md, to which the dashboard links', async () => {
  const page = await readFile(new URL('../../../docs/alarms.md', import.meta.url), 'utf8');
  const headings = [...page.matchAll(/^## (.*)$/gm)].map(([, heading]) => heading);
  expect(headings.toSorted()).toEqual(Object.keys(alarmRules).toSorted());
});

import type { components } from '@fleetwire/client/openapi';
import { Area } from '../../area.tsx';
import { Icon } from '../../icons.tsx';
import type { Resource } from '../../resource.ts';
import { alarmName, alarmWhen } from './sentences.ts';

type Alarm = components['schemas']['Alarm'];

/** Alarms that hold now and those that ended, with what to do. */
export function Alarms({
  alarms,
  now,
}: {
  readonly alarms: Resource<components['schemas']['Alarms']>;
  readonly now: number;
}) {
  const firing = alarms.state.value.data?.data.filter(({ state }) => state === 'firing').length;
  return (
    <Area
      title="Alarms"
      note={firing === undefined ? undefined : `${firing === 0 ? 'none' : firing} firing`}
      resource={alarms}
      staleMs={45_000}
    >
      {(data) =>
        data === undefined ? null : data.data.length === 0 ? (
          <p class="dim">No alarm fires, and none has.</p>
        ) : (
          <ul class="att tightatt">
            {data.data.map((alarm) => (
              <Line key={`${alarm.name} ${alarm.subject} ${alarm.since}`} alarm={alarm} now={now} />
            ))}
          </ul>
        )
      }
    </Area>
  );
}

function Line({ alarm, now }: { readonly alarm: Alarm; readonly now: number }) {
  const { name, state, severity, subject, summary, action } = alarm;
  const [icon, tone, label] =
    state === 'ended'
      ? (['ok', 'okc', 'Ended'] as const)
      : state === 'pending'
        ? (['info', 'dim', 'Pending'] as const)
        : severity === 'critical'
          ? (['crit', 'crit', 'Critical'] as const)
          : (['warn', 'warn', 'Warning'] as const);
  return (
    <li>
      <Icon name={icon} tone={tone} label={label} />
      <details class="runbook">
        <summary>
          <span class="t">
            {alarmName(name)} {subject !== '' && <span class="dim">· {subject}</span>}
          </span>
          <span class="w">
            {alarmWhen(alarm, now)} <span class="link">what to do</span>
          </span>
        </summary>
        <p class="sm">
          {summary}. <b>{action}</b>{' '}
          <a class="link" href={`/guide/docs/alarms.html#${name.toLowerCase()}`}>
            Runbook
          </a>
        </p>
      </details>
    </li>
  );
}

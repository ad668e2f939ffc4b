import { Area } from '../../area.tsx';
import { now } from '../../clock.ts';
import { count } from '../../format.ts';
import type { Resource } from '../../resource.ts';
import { day, hourAndMinute, moment } from '../../times.ts';
import type { Histogram } from './histogram.ts';
import { MiniBars } from './histogram.tsx';
import { sum } from './sentences.ts';
import { type Group, type Status, statuses } from './types.ts';

const names: Readonly<Record<Status, string>> = {
  open: 'Open',
  replaying: 'Replaying',
  stored: 'Stored',
  discarded: 'Discarded',
};

const shortTime = (time: number, now: number) => (day(time) === day(now) ? hourAndMinute(time) : day(time));

/** One row for each cause. */
export function Groups({
  groups,
  histogram,
  status,
  selected,
  onStatus,
  onSelect,
}: {
  readonly groups: Resource<{ readonly data: readonly Group[] }>;
  readonly histogram: Histogram | undefined;
  readonly status: Status;
  readonly selected: string | undefined;
  readonly onStatus: (status: Status) => void;
  readonly onSelect: (fingerprint: string) => void;
}) {
  const all = groups.state.value.data?.data ?? [];
  const filter = (
    <span class="seg-ctl sm" role="group" aria-label="Status">
      {statuses.map((one) => (
        <button key={one} type="button" aria-pressed={one === status} onClick={() => onStatus(one)}>
          {one} {count(sum(all, one))}
        </button>
      ))}
    </span>
  );
  return (
    <Area title="Groups by cause" right={filter} resource={groups} staleMs={20_000}>
      {(data) => {
        if (data === undefined) return null;
        const rows = data.data.toSorted(
          (a, b) => b.byStatus[status] - a.byStatus[status] || (a.lastSeenAt < b.lastSeenAt ? 1 : -1),
        );
        if (rows.length === 0) return <p class="dim">No reading was refused: there is nothing to decide.</p>;
        return (
          <table class="groups">
            <thead>
              <tr>
                <th>Cause</th>
                <th>
                  {histogram === undefined ? 'Over time' : `Since ${shortTime(Date.parse(histogram.from), now.value)}`}
                </th>
                <th class="num" aria-sort="descending">
                  {names[status]} ↓
                </th>
                <th class="num">Devices</th>
                <th class="num">Newest</th>
              </tr>
            </thead>
            <tbody>
              {rows.map((group) => (
                <tr
                  key={group.fingerprint}
                  class={group.fingerprint === selected ? 'chosen' : ''}
                  onClick={() => onSelect(group.fingerprint)}
                >
                  <td>
                    <button type="button" class="cause" aria-pressed={group.fingerprint === selected}>
                      <b>{group.reason}</b> <span class="tag">{group.errorCode}</span>
                      <span class="dim t2" title={group.example.message}>
                        {group.example.message}
                      </span>
                    </button>
                  </td>
                  <td>
                    {histogram !== undefined && (
                      <MiniBars
                        histogram={histogram}
                        fingerprint={group.fingerprint}
                        isSelected={group.fingerprint === selected}
                      />
                    )}
                  </td>
                  <td class="num">
                    <b>{count(group.byStatus[status])}</b>
                    <br />
                    <span class="dim3">of {count(group.count)}</span>
                  </td>
                  <td class="num">{group.devices === 0 ? '—' : count(group.devices)}</td>
                  <td class="num dim" title={group.lastSeenAt}>
                    {moment(group.lastSeenAt, now.value)}
                  </td>
                </tr>
              ))}
            </tbody>
          </table>
        );
      }}
    </Area>
  );
}

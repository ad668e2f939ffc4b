import { useState } from 'preact/hooks';
import { answerOf, api } from '../../api.ts';
import { Area } from '../../area.tsx';
import { now } from '../../clock.ts';
import { count, plural } from '../../format.ts';
import { useResource } from '../../resource.ts';
import { type Column, Table } from '../../table.tsx';
import { moment } from '../../times.ts';
import type { Group, Letter, Status } from './types.ts';

const pageSize = 100;
const shownMax = 1_000;
const rowPx = 26;
/** Whole rows below the heading. */
const listPx = 30 + 20 * rowPx;

const columns: readonly Column<Letter>[] = [
  {
    id: 'failed',
    label: 'Failed ↓',
    width: '64px',
    cell: ({ lastFailedAt }) => (
      <span class="id dim" title={lastFailedAt}>
        {moment(lastFailedAt, now.peek())}
      </span>
    ),
  },
  {
    id: 'device',
    label: 'Device',
    width: 'minmax(0, 1fr)',
    cell: ({ deviceId }) => <span class="id">{deviceId ?? '—'}</span>,
  },
  {
    id: 'seq',
    label: 'seq',
    width: '50px',
    numeric: true,
    cell: ({ seq }) => (seq === null ? '—' : count(seq)),
  },
  {
    id: 'tries',
    label: 'Tries',
    width: '36px',
    numeric: true,
    cell: ({ attempts, repeated }) => count(attempts + repeated),
  },
];

/** The letters of a group, newest failure first. */
export function Letters({
  group,
  status,
  selected,
  onSelect,
  version,
}: {
  readonly group: Group;
  readonly status: Status;
  readonly selected: string | undefined;
  readonly onSelect: (id: string) => void;
  /** Changes when the group has: the list is asked for again. */
  readonly version: string;
}) {
  const [limit, setLimit] = useState(pageSize);
  const { fingerprint } = group;
  const letters = useResource(
    (signal) =>
      answerOf(api.GET('/api/v1/dead-letters', { params: { query: { fingerprint, status, limit } }, signal })),
    { question: `${version} ${limit}`, about: `${fingerprint} ${status}` },
  );
  const answer = letters.state.value.data;
  return (
    <Area
      note={answer === undefined || answer.covers.complete ? undefined : `the newest ${count(answer.data.length)}`}
      title={plural(group.byStatus[status], status === 'open' ? 'letter' : `${status} letter`)}
      right={group.errorCode}
      resource={letters}
    >
      {(data) =>
        data === undefined ? null : (
          <>
            <Table
              label="Letters"
              columns={columns}
              rows={data.data.toSorted((a, b) => (a.lastFailedAt < b.lastFailedAt ? 1 : -1))}
              keyOf={({ id }) => id}
              rowPx={rowPx}
              heightPx={listPx}
              selected={selected}
              onOpen={({ id }) => onSelect(id)}
              empty={<p class="dim">None of this group is {status}.</p>}
            />
            {!data.covers.complete && limit < shownMax && (
              <button class="btn sm" type="button" onClick={() => setLimit(limit + pageSize)}>
                Show {pageSize} more
              </button>
            )}
          </>
        )
      }
    </Area>
  );
}

import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { useLocation } from 'preact-iso';
import { count } from '../../format.ts';
import { type CellGroup, type CellLayout, cellPath, cellsMax, layoutCells } from './cells-layout.ts';
import { type DeviceRow, noteOf } from './device-rows.ts';

/** A cell for each device, by a tag: a silent depot is a patch. Arrows move, Enter opens the device. The table below holds the same. */
export function PresenceCells({
  rows,
  groupKey,
  onGroup,
}: {
  readonly rows: readonly DeviceRow[];
  readonly groupKey: string | undefined;
  readonly onGroup: (value: string) => void;
}) {
  const root = useRef<HTMLDivElement>(null);
  const [widthPx, setWidth] = useState(690);
  const [chosen, setChosen] = useState<string>();
  const { route } = useLocation();
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(root.current!);
    return () => observer.disconnect();
  }, []);
  const layout = useMemo(() => layoutCells(rows, groupKey, widthPx), [rows, groupKey, widthPx]);
  const group = useRef(onGroup);
  group.current = onGroup;
  // The same elements are drawn again only when a device has changed.
  const drawn = useMemo(
    () =>
      layout.groups.map((one) => (
        <GroupCells key={one.value} group={one} layout={layout} onGroup={(value) => group.current(value)} />
      )),
    [layout],
  );
  const cells = useMemo(() => layout.groups.flatMap((one) => one.cells), [layout]);
  const at = cells.findIndex(({ row }) => row.deviceId === chosen);
  const current = cells[at];

  function move(event: KeyboardEvent): void {
    const steps: Record<string, number> = {
      ArrowDown: 1,
      ArrowUp: -1,
      ArrowRight: 2,
      ArrowLeft: -2,
      Home: -cells.length,
      End: cells.length,
    };
    const step = steps[event.key];
    if (step === undefined && event.key !== 'Enter') return;
    event.preventDefault();
    if (event.key === 'Enter') {
      if (current !== undefined) route(`/devices/${encodeURIComponent(current.row.deviceId)}`);
      return;
    }
    setChosen(cells[Math.max(0, Math.min(cells.length - 1, at + step!))]?.row.deviceId);
  }

  function under(event: MouseEvent & { currentTarget: SVGSVGElement }): string | undefined {
    const { left, top } = event.currentTarget.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    return cells.find((cell) => x >= cell.x && x < cell.x + layout.stepPx && y >= cell.y && y < cell.y + layout.stepPx)
      ?.row.deviceId;
  }

  return (
    <div ref={root} class="cellbox">
      {rows.length === 0 ? null : rows.length > cellsMax ? (
        <ShareBars layout={layout} onGroup={onGroup} />
      ) : (
        <svg
          class="cells"
          viewBox={`0 0 ${widthPx} ${layout.heightPx}`}
          width={widthPx}
          height={layout.heightPx}
          role="application"
          aria-roledescription="presence of devices"
          tabIndex={0}
          aria-label={labelOf(layout, rows.length)}
          onKeyDown={move}
          onMouseMove={(event) => setChosen(under(event))}
          onMouseLeave={() => setChosen(undefined)}
          onClick={(event) => {
            const id = under(event);
            if (id !== undefined) route(`/devices/${encodeURIComponent(id)}`);
          }}
        >
          {drawn}
          {current !== undefined && (
            <rect
              class="c-now"
              x={current.x - 1.5}
              y={current.y - 1.5}
              width={layout.stepPx + 1}
              height={layout.stepPx + 1}
            />
          )}
        </svg>
      )}
      <p class="cellname" aria-live="polite">
        {current === undefined ? (
          ''
        ) : (
          <>
            <span class="id">{current.row.deviceId}</span> {current.row.name} · {current.row.state}
            {noteOf(current.row).text === '' ? '' : `, ${noteOf(current.row).text}`}
          </>
        )}
      </p>
    </div>
  );
}

function GroupCells({
  group,
  layout: { stepPx, notesX },
  onGroup,
}: {
  readonly group: CellGroup;
  readonly layout: CellLayout;
  readonly onGroup: (value: string) => void;
}) {
  const of = (pick: (row: DeviceRow) => boolean) => group.cells.filter(({ row }) => pick(row));
  const isPlain = (row: DeviceRow) => row.state === 'online' && row.deadLetters === 0;
  const baseline = group.y + stepPx + 4;
  const note = [
    group.stale > 0 ? `${count(group.stale)} stale` : '',
    group.offline > 0 ? `${count(group.offline)} off` : '',
  ]
    .filter(Boolean)
    .join(', ');
  return (
    <g>
      <text x="0" y={baseline} class="celllink" onClick={() => onGroup(group.value)}>
        {group.name}
      </text>
      <text x="90" y={baseline} text-anchor="end" class="strong">
        {count(group.total)}
      </text>
      <path class="c-on" d={cellPath(of(isPlain), stepPx, 'square')} />
      <path
        class="c-dl"
        d={cellPath(
          of((row) => row.state === 'online' && !isPlain(row)),
          stepPx,
          'square',
        )}
      />
      <path
        class="c-st"
        d={cellPath(
          of((row) => row.state === 'stale'),
          stepPx,
          'open',
        )}
      />
      <path
        class="c-of"
        d={cellPath(
          of((row) => row.state === 'offline'),
          stepPx,
          'cross',
        )}
      />
      <path
        class="c-nv"
        d={cellPath(
          of((row) => row.state === 'never seen'),
          stepPx,
          'open',
        )}
      />
      <text x={notesX} y={baseline} class={group.stale > group.total / 20 ? 'w' : ''}>
        {note}
      </text>
    </g>
  );
}

/** Where there are too many devices for cells: the shares of states in each group. */
function ShareBars({ layout, onGroup }: { readonly layout: CellLayout; readonly onGroup: (value: string) => void }) {
  return (
    <table class="tight">
      <tbody>
        {layout.groups.map((group) => {
          const online = group.total - group.stale - group.offline;
          return (
            <tr key={group.value}>
              <td>
                <button type="button" class="link" onClick={() => onGroup(group.value)}>
                  {group.name}
                </button>
              </td>
              <td class="num">
                <b>{count(group.total)}</b>
              </td>
              <td>
                <svg class="bar-share" viewBox="0 0 300 10" preserveAspectRatio="none" aria-hidden="true">
                  <path class="c-on" d={`M0 1h${(300 * online) / group.total}v8H0z`} />
                  <path
                    class="c-stale-share"
                    d={`M${(300 * online) / group.total} 1h${(300 * group.stale) / group.total}v8h-${(300 * group.stale) / group.total}z`}
                  />
                </svg>
              </td>
              <td class={group.stale > 0 ? 'warn' : 'dim'}>
                {count(group.stale)} stale, {count(group.offline)} off
              </td>
            </tr>
          );
        })}
      </tbody>
    </table>
  );
}

function labelOf({ groups }: CellLayout, total: number): string {
  const worst = groups
    .filter(({ stale, offline }) => stale + offline > 0)
    .slice(0, 4)
    .map(({ name, stale, offline, total: of }) => `${name}: ${stale} stale, ${offline} offline of ${of}`);
  return `Presence of ${total} devices. ${worst.join('. ')}. The table below holds the same.`;
}

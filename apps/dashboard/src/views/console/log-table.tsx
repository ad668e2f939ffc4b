import { useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { count } from '../../format.ts';
import { Icon } from '../../icons.tsx';
import { type Column, Table } from '../../table.tsx';
import { timeWithMilliseconds, zoneName } from '../../times.ts';
import { Code } from './code.tsx';
import type { KeptLine } from './log-store.ts';

const tones = { none: '', wire: 'wirec', ok: 'okc', warn: 'warn', crit: 'crit' } as const;

const columnsOf = (zoneText: string): Column<KeptLine>[] => [
  {
    id: 'time',
    label: `Time (${zoneText}) ↓`,
    width: '96px',
    fromPx: 560,
    cell: ({ at }) => <span class="id dim">{timeWithMilliseconds(at)}</span>,
  },
  {
    id: 'direction',
    label: '⇄',
    width: '16px',
    cell: ({ direction }) => (
      <span class="dim3">
        <span aria-hidden="true">{direction === 'sent' ? '→' : '←'}</span>
        <span class="seen-not">{direction}</span>
      </span>
    ),
  },
  {
    id: 'type',
    label: 'Type',
    width: 'minmax(84px, 0.17fr)',
    cell: ({ type, tone }) => (
      <span class={`id ${tones[tone]}`}>
        {tone === 'ok' && <Icon name="ok" />}
        {tone === 'warn' && <Icon name={type === 'stale' ? 'stale' : 'warn'} />}
        {tone === 'crit' && <Icon name="crit" />}
        {tone === 'none' && type === 'online' && <Icon name="on" />} {type}
      </span>
    ),
  },
  {
    id: 'device',
    label: 'Device',
    width: 'minmax(76px, 0.16fr)',
    cell: ({ deviceId }) => <span class="id">{deviceId}</span>,
  },
  {
    id: 'content',
    label: 'Content',
    width: 'minmax(0, 1fr)',
    cell: ({ content }) => <span class="id">{content}</span>,
  },
  {
    id: 'seq',
    label: 'seq',
    width: '64px',
    numeric: true,
    fromPx: 560,
    cell: ({ seq }) => <span class="id dim">{seq === undefined ? '' : count(seq)}</span>,
  },
];

/** The log, newest first; a line opens to its JSON. */
export function LogTable({ lines, empty }: { readonly lines: readonly KeptLine[]; readonly empty: string }) {
  const [opened, setOpened] = useState<KeptLine>();
  const [heightPx, setHeight] = useState(560);
  const root = useRef<HTMLDivElement>(null);
  const zoneText = zoneName(Date.now());
  const columns = useMemo(() => columnsOf(zoneText), [zoneText]);
  useLayoutEffect(() => {
    const fit = () =>
      setHeight(Math.max(240, window.innerHeight - root.current!.getBoundingClientRect().top - window.scrollY - 24));
    fit();
    window.addEventListener('resize', fit);
    return () => window.removeEventListener('resize', fit);
  }, []);
  return (
    <div ref={root}>
      {opened !== undefined && (
        <div class="opened">
          <div class="h">
            <h2>
              {opened.type} {opened.deviceId}
            </h2>
            <span>{timeWithMilliseconds(opened.at)}</span>
            <span class="r">
              <button class="btn sm" type="button" onClick={() => setOpened(undefined)}>
                Close
              </button>
            </span>
          </div>
          <Code value={opened.body} label="The line as JSON" />
        </div>
      )}
      <Table
        label="Log of the connection"
        columns={columns}
        rows={lines}
        keyOf={({ number }) => String(number)}
        rowPx={27}
        heightPx={opened === undefined ? heightPx : Math.max(240, heightPx - 220)}
        selected={opened === undefined ? undefined : String(opened.number)}
        onOpen={(line) => setOpened(line.number === opened?.number ? undefined : line)}
        empty={empty}
      />
    </div>
  );
}

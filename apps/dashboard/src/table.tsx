import {
  Virtualizer,
  observeElementOffset,
  observeElementRect,
  observeWindowOffset,
  observeWindowRect,
  elementScroll,
  windowScroll,
} from '@tanstack/virtual-core';
import type { ComponentChildren, VNode } from 'preact';
import { useCallback, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from 'preact/hooks';

export interface Column<Row> {
  readonly id: string;
  readonly label: string;
  /** A track of a CSS grid: `96px`, `minmax(120px, 1fr)`. */
  readonly width: string;
  readonly numeric?: boolean;
  readonly sortable?: boolean;
  /** From which width of the table on it is shown; columns go from the right. */
  readonly fromPx?: number;
  readonly cell: (row: Row) => ComponentChildren;
}

export interface Sort {
  readonly column: string;
  readonly descending: boolean;
}

interface TableProps<Row> {
  readonly label: string;
  readonly columns: readonly Column<Row>[];
  readonly rows: readonly Row[];
  /** Where more rows are coming: how many there will be. They have their place. */
  readonly total?: number | undefined;
  readonly keyOf: (row: Row) => string;
  readonly sort?: Sort | undefined;
  readonly onSort?: (sort: Sort) => void;
  /** Enter, or a click. */
  readonly onOpen?: (row: Row) => void;
  /** The chosen row: the same one that a chart beside the table shows. */
  readonly selected?: string | undefined;
  readonly onSelect?: (row: Row) => void;
  readonly onVisible?: (rows: readonly Row[]) => void;
  readonly rowPx?: number | undefined;
  /** Scrolls by itself within this height; otherwise with the page. */
  readonly heightPx?: number;
  readonly empty?: ComponentChildren;
}

const overscan = 8;

/**
 * A grid of which only the visible rows are in the page. One row has the focus; j, k and arrows move it, Enter opens, x selects, [ and ]
 * sort by another column.
 */
export function Table<Row>(props: TableProps<Row>) {
  const {
    label,
    rows,
    total = rows.length,
    keyOf,
    sort,
    onSort,
    onOpen,
    selected,
    onSelect,
    onVisible,
    rowPx = 32,
    heightPx,
    empty,
  } = props;
  const [, redraw] = useReducer((n: number) => n + 1, 0);
  const body = useRef<HTMLDivElement>(null);
  const root = useRef<HTMLDivElement>(null);
  const [widthPx, setWidth] = useState(0);
  const [focused, setFocused] = useState(0);
  const columns = useMemo(
    () => props.columns.filter(({ fromPx = 0 }) => widthPx === 0 || widthPx >= fromPx),
    [props.columns, widthPx],
  );
  const count = Math.max(total, rows.length);
  const marginPx = useRef(0);
  /** As many elements as rows were visible at the same time. */
  const slots = useRef(1);
  /** What each slot shows: an element that is given again as it was is not drawn again, which is most of them while rows scroll through. */
  const drawn = useRef(new Map<number, { readonly props: RowProps<Row>; readonly element: VNode }>());

  const virtualizer = useMemo(() => {
    const common = { count: 0, estimateSize: () => rowPx, overscan, onChange: () => redraw(undefined) };
    return heightPx === undefined
      ? new Virtualizer<Window, HTMLElement>({
          ...common,
          getScrollElement: () => window,
          observeElementRect: observeWindowRect,
          observeElementOffset: observeWindowOffset,
          scrollToFn: windowScroll,
          initialOffset: () => window.scrollY,
        })
      : new Virtualizer<HTMLElement, HTMLElement>({
          ...common,
          getScrollElement: () => root.current,
          observeElementRect,
          observeElementOffset,
          scrollToFn: elementScroll,
        });
  }, [heightPx === undefined, rowPx]) as Virtualizer<HTMLElement, HTMLElement>;
  virtualizer.setOptions({
    ...virtualizer.options,
    count,
    estimateSize: () => rowPx,
    scrollMargin: marginPx.current,
  });

  useEffect(() => virtualizer._didMount(), [virtualizer]);
  useLayoutEffect(() => {
    virtualizer._willUpdate();
    if (virtualizer.isScrolling) return;
    const top =
      heightPx === undefined && body.current !== null ? body.current.getBoundingClientRect().top + window.scrollY : 0;
    if (Math.abs(top - marginPx.current) < 1) return;
    marginPx.current = top;
    redraw(undefined);
  });
  useLayoutEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.round(entry!.contentRect.width)));
    observer.observe(root.current!);
    return () => observer.disconnect();
  }, []);
  useLayoutEffect(() => {
    root.current!.style.setProperty('--columns', columns.map(({ width }) => width).join(' '));
    root.current!.style.setProperty('--row', `${rowPx}px`);
    if (heightPx !== undefined) root.current!.style.maxHeight = `${heightPx}px`;
    body.current!.style.height = `${count * rowPx}px`;
  }, [columns, rowPx, heightPx, count]);

  const items = virtualizer.getVirtualItems();
  slots.current = Math.max(slots.current, items.length);
  const seen = items.length === 0 ? '' : `${items[0]!.index}-${items.at(-1)!.index}-${rows.length}`;
  useEffect(() => {
    onVisible?.(items.flatMap(({ index }) => rows[index] ?? []));
  }, [seen, rows]);

  const latest = useRef(props);
  latest.current = props;
  const choose = useCallback((index: number) => {
    const { rows: all, onOpen: open, onSelect: select } = latest.current;
    setFocused(index);
    if (all[index] !== undefined) (open ?? select)?.(all[index]);
  }, []);

  function moveTo(index: number): void {
    const next = Math.max(0, Math.min(rows.length - 1, index));
    setFocused(next);
    virtualizer.scrollToIndex(next, { align: 'auto' });
    requestAnimationFrame(() =>
      root.current?.querySelector<HTMLElement>(`[aria-rowindex="${next + 2}"]`)?.focus({ preventScroll: true }),
    );
    if (onSelect !== undefined && selected !== undefined && rows[next] !== undefined) onSelect(rows[next]);
  }

  function sortNext(step: number): void {
    const sortable = props.columns.filter(({ sortable: can }) => can);
    if (sortable.length === 0) return;
    const at = sortable.findIndex(({ id }) => id === sort?.column);
    onSort?.({ column: sortable[(at + step + sortable.length) % sortable.length]!.id, descending: false });
  }

  function onKeyDown(event: KeyboardEvent): void {
    if (event.ctrlKey || event.metaKey || event.altKey || !(event.target as HTMLElement).matches('[role=row]')) return;
    const page = Math.max(1, items.length - 2 * overscan);
    const actions: Record<string, () => void> = {
      j: () => moveTo(focused + 1),
      ArrowDown: () => moveTo(focused + 1),
      k: () => moveTo(focused - 1),
      ArrowUp: () => moveTo(focused - 1),
      PageDown: () => moveTo(focused + page),
      PageUp: () => moveTo(focused - page),
      Home: () => moveTo(0),
      End: () => moveTo(rows.length - 1),
      Enter: () => rows[focused] !== undefined && onOpen?.(rows[focused]),
      x: () => rows[focused] !== undefined && onSelect?.(rows[focused]),
      '[': () => sortNext(-1),
      ']': () => sortNext(1),
    };
    const action = actions[event.key];
    if (action === undefined) return;
    event.preventDefault();
    action();
  }

  return (
    <div
      class={`vtable${heightPx === undefined ? '' : ' scrolls'}`}
      role="grid"
      aria-label={label}
      aria-rowcount={count + 1}
      aria-colcount={columns.length}
      ref={root}
      onKeyDown={onKeyDown}
    >
      <div class="vhead" role="row" aria-rowindex={1}>
        {columns.map((column) => (
          <Header key={column.id} column={column} sort={sort} onSort={onSort} />
        ))}
      </div>
      <div class="vbody" role="rowgroup" ref={body}>
        {items.map(({ index, start }) => {
          const row = rows[index];
          if (row === undefined) return null;
          const slot = index % slots.current;
          const next: RowProps<Row> = {
            row,
            index,
            columns,
            topPx: start - marginPx.current,
            hasFocus: index === focused,
            isSelected: selected === undefined ? undefined : selected === keyOf(row),
            onFocus: setFocused,
            onChoose: choose,
          };
          const held = drawn.current.get(slot);
          if (held !== undefined && areSame(held.props, next)) return held.element;
          const element = <RowView key={slot} {...(next as RowProps<unknown>)} />;
          drawn.current.set(slot, { props: next, element });
          return element;
        })}
      </div>
      {rows.length === 0 && empty !== undefined && <p class="dim empty">{empty}</p>}
    </div>
  );
}

interface RowProps<Row> {
  readonly row: Row;
  readonly index: number;
  readonly columns: readonly Column<Row>[];
  readonly topPx: number;
  readonly hasFocus: boolean;
  readonly isSelected: boolean | undefined;
  readonly onFocus: (index: number) => void;
  readonly onChoose: (index: number) => void;
}

function areSame<Row>(before: RowProps<Row>, next: RowProps<Row>): boolean {
  return (
    before.row === next.row &&
    before.index === next.index &&
    before.columns === next.columns &&
    before.topPx === next.topPx &&
    before.hasFocus === next.hasFocus &&
    before.isSelected === next.isSelected
  );
}

/** The elements are reused: a slot keeps its element while other rows scroll through it. */
function RowView({ row, index, columns, topPx, hasFocus, isSelected, onFocus, onChoose }: RowProps<unknown>) {
  const element = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    element.current!.style.transform = `translateY(${topPx}px)`;
  }, [topPx]);
  return (
    <div
      role="row"
      class="vrow"
      tabIndex={hasFocus ? 0 : -1}
      aria-rowindex={index + 2}
      aria-selected={isSelected}
      ref={element}
      onFocus={() => onFocus(index)}
      onClick={() => onChoose(index)}
    >
      {columns.map((column) => (
        <div key={column.id} role="gridcell" class={column.numeric === true ? 'num' : undefined}>
          {column.cell(row)}
        </div>
      ))}
    </div>
  );
}

function Header<Row>({
  column,
  sort,
  onSort,
}: {
  readonly column: Column<Row>;
  readonly sort: Sort | undefined;
  readonly onSort: ((sort: Sort) => void) | undefined;
}) {
  const { id, label, numeric = false, sortable = false } = column;
  const isSorted = sort?.column === id;
  const direction = isSorted ? (sort.descending ? 'descending' : 'ascending') : undefined;
  return (
    <div
      role="columnheader"
      class={numeric ? 'num' : undefined}
      aria-sort={sortable ? (direction ?? 'none') : undefined}
    >
      {sortable ? (
        <button type="button" onClick={() => onSort?.({ column: id, descending: isSorted && !sort.descending })}>
          {label}
          {isSorted ? (sort.descending ? ' ↓' : ' ↑') : ''}
        </button>
      ) : (
        label
      )}
    </div>
  );
}

import {
  type ColumnVisibilityState,
  columnVisibilityFeature,
  createSortedRowModel,
  type RowSelectionState,
  rowSelectionFeature,
  rowSortingFeature,
  type SortingState,
  sortFns,
  tableFeatures,
  useTable,
} from "@tanstack/react-table";
import { useVirtualizer } from "@tanstack/react-virtual";
import clsx from "clsx";
import { ArrowDown, ArrowUp, ChevronsUpDown, Columns3 } from "lucide-react";
import { type ReactNode, useCallback, useEffect, useMemo, useRef, useState } from "react";
import { Button } from "./button";
import { Menu, MenuCheck, MenuLabel } from "./menu";

/** One column: how it is called, and what stands in it. */
export type Column<Row> = {
  id: string;
  header: string;
  cell: (row: Row) => ReactNode;
  width?: number; // px at least; what is left of the table's width is shared by weight
  grow?: number; // weight; 0: stays as wide as it is
  align?: "right";
  hidden?: boolean; // until somebody shows it
  fixed?: boolean; // cannot be hidden
  /** What rows are sorted by. `true`: the server sorts, see `sort`. */
  sort?: true | ((row: Row) => string | number | null | undefined);
};

/** A column's id, `-` before it puts the largest first; empty: as the rows come. */
export type Sort = string;

const features = tableFeatures({
  columnVisibilityFeature,
  rowSelectionFeature,
  rowSortingFeature,
  sortedRowModel: createSortedRowModel(),
  sortFns,
});

const ROW = 40; // px

/**
 * A table of any number of rows, of which only those in sight are drawn.
 *
 * It scrolls within itself once it is taller than `height`. Which columns are shown is remembered in the browser
 * under `name`.
 */
export function DataTable<Row extends object>({
  name,
  label,
  columns,
  rows,
  rowId,
  sort = "",
  onSort,
  onEnd,
  more = false,
  selected,
  onSelect,
  onOpen,
  height = "calc(100vh - 16rem)",
  empty,
  tools,
}: {
  name: string;
  label: string; // what the table is, for those who do not see it
  columns: Column<Row>[];
  rows: Row[];
  rowId: (row: Row) => string;
  sort?: Sort;
  onSort?: (sort: Sort) => void; // without it the table keeps its order itself
  onEnd?: () => void; // the last row came into sight: fetch more
  more?: boolean; // rows are on their way
  selected?: ReadonlySet<string>;
  onSelect?: (selected: ReadonlySet<string>) => void; // shows a box in each row
  onOpen?: (row: Row) => void; // a click anywhere in the row; a link in it serves the keyboard
  height?: string;
  empty?: ReactNode;
  tools?: ReactNode; // beside the choice of columns
}) {
  const [ownSort, setOwnSort] = useState(sort);
  const order = onSort ? sort : ownSort;
  const sorting: SortingState = useMemo(
    () => (order ? [{ id: order.replace(/^-/, ""), desc: order.startsWith("-") }] : []),
    [order],
  );
  const [visible, setVisible] = useColumns(name, columns);
  const selection: RowSelectionState = useMemo(
    () => Object.fromEntries([...(selected ?? [])].map((id) => [id, true])),
    [selected],
  );
  const defined = useMemo(
    () =>
      columns.map((each) => ({
        id: each.id,
        header: each.header,
        accessorFn: (row: Row) =>
          typeof each.sort === "function" ? (each.sort(row) ?? undefined) : undefined,
        enableSorting: each.sort !== undefined,
        enableHiding: !each.fixed,
        sortUndefined: "last" as const,
      })),
    [columns],
  );
  const table = useTable({
    features,
    columns: defined,
    data: rows,
    getRowId: rowId,
    state: { sorting, columnVisibility: visible, rowSelection: selection },
    manualSorting: onSort !== undefined,
    enableRowSelection: onSelect !== undefined,
  });

  const byId = useMemo(() => new Map(columns.map((each) => [each.id, each])), [columns]);
  const shown = columns.filter((each) => visible[each.id] !== false);
  const template = [
    ...(onSelect ? ["36px"] : []),
    ...shown.map((each) => `minmax(${each.width ?? 100}px, ${each.grow ?? 1}fr)`),
  ]
    .join(" ")
    .replaceAll("0fr)", "auto)");
  const least = shown.reduce((sum, each) => sum + (each.width ?? 100), onSelect ? 36 : 0) + 24;

  const scroller = useRef<HTMLDivElement>(null);
  const drawn = table.getRowModel().rows;
  const virtual = useVirtualizer({
    count: drawn.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 12,
    getItemKey: (at) => drawn[at]?.id ?? at,
  });
  const items = virtual.getVirtualItems();
  const lastSeen = items.at(-1)?.index ?? -1;
  useEffect(() => {
    if (onEnd && !more && lastSeen >= drawn.length - 1 && drawn.length > 0) onEnd();
  }, [onEnd, more, lastSeen, drawn.length]);

  const turn = (column: Column<Row>) => {
    const next = order === column.id ? `-${column.id}` : order === `-${column.id}` ? "" : column.id;
    if (onSort) onSort(next);
    else setOwnSort(next);
  };
  const pick = (id: string, on: boolean) => {
    const next = new Set(selected);
    if (on) next.add(id);
    else next.delete(id);
    onSelect?.(next);
  };
  const all = drawn.length > 0 && drawn.every((each) => selected?.has(each.id));

  return (
    <div className="min-w-0 rounded-lg border border-line bg-surface shadow-card">
      <div className="flex flex-wrap items-center justify-between gap-2 border-b border-line px-3 py-1.5">
        <div className="flex min-w-0 grow flex-wrap items-center gap-2">{tools}</div>
        <Menu
          align="end"
          trigger={
            <Button small look="quiet">
              <Columns3 /> Columns
            </Button>
          }
        >
          <MenuLabel>Columns of this table</MenuLabel>
          {columns
            .filter((each) => !each.fixed)
            .map((each) => (
              <MenuCheck
                key={each.id}
                checked={visible[each.id] !== false}
                onChange={(on) => setVisible({ ...visible, [each.id]: on })}
              >
                {each.header}
              </MenuCheck>
            ))}
        </Menu>
      </div>
      {rows.length === 0 && !more && empty ? (
        empty
      ) : (
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
        <div ref={scroller} tabIndex={0} className="overflow-auto rounded-b-lg" style={{ maxHeight: height }}>
          {/* biome-ignore lint/a11y/useSemanticElements: rows are placed by a grid, of which only some are drawn */}
          <div
            role="table"
            aria-label={label}
            aria-rowcount={more ? -1 : drawn.length + 1}
            style={{ minWidth: least }}
          >
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            <div role="rowgroup" className="sticky top-0 z-10 border-b border-line bg-surface">
              {/* biome-ignore lint/a11y/useSemanticElements: see above */}
              {/* biome-ignore lint/a11y/useFocusableInteractive: a row of headers */}
              <div
                role="row"
                aria-rowindex={1}
                className="grid items-center gap-x-3 px-3 text-xs text-muted"
                style={{ gridTemplateColumns: template }}
              >
                {onSelect && (
                  // biome-ignore lint/a11y/useSemanticElements: see above
                  // biome-ignore lint/a11y/useFocusableInteractive: the box in it is
                  <span role="columnheader" className="py-2">
                    <input
                      type="checkbox"
                      aria-label="select all rows shown"
                      checked={all}
                      onChange={(event) =>
                        onSelect(new Set(event.target.checked ? drawn.map((each) => each.id) : []))
                      }
                      className="size-4 align-middle accent-(--accent)"
                    />
                  </span>
                )}
                {shown.map((each) => (
                  // biome-ignore lint/a11y/useSemanticElements: see above
                  // biome-ignore lint/a11y/useFocusableInteractive: the button in it is
                  <span
                    key={each.id}
                    role="columnheader"
                    aria-sort={
                      order === each.id ? "ascending" : order === `-${each.id}` ? "descending" : undefined
                    }
                    className={clsx("min-w-0 truncate py-2 font-medium", each.align && "text-right")}
                  >
                    {each.sort ? (
                      <button
                        type="button"
                        className="inline-flex items-center gap-1 hover:text-ink"
                        onClick={() => turn(each)}
                      >
                        {each.header}
                        {order === each.id ? (
                          <ArrowUp className="size-3" aria-hidden />
                        ) : order === `-${each.id}` ? (
                          <ArrowDown className="size-3" aria-hidden />
                        ) : (
                          <ChevronsUpDown className="size-3 opacity-50" aria-hidden />
                        )}
                      </button>
                    ) : (
                      each.header
                    )}
                  </span>
                ))}
              </div>
            </div>
            {/* biome-ignore lint/a11y/useSemanticElements: see above */}
            <div role="rowgroup" className="relative" style={{ height: virtual.getTotalSize() }}>
              {items.map((item) => {
                const row = drawn[item.index];
                if (!row) return null;
                return (
                  // biome-ignore lint/a11y/useSemanticElements: see above
                  // biome-ignore lint/a11y/useFocusableInteractive: links in it are
                  // biome-ignore lint/a11y/useKeyWithClickEvents: for the keyboard there is a link in the row
                  <div
                    key={row.id}
                    role="row"
                    aria-rowindex={item.index + 2}
                    onClick={(event) => {
                      const on = event.target as HTMLElement;
                      if (onOpen && !on.closest("a,button,input,label") && !window.getSelection()?.toString())
                        onOpen(row.original);
                    }}
                    className={clsx(
                      "absolute inset-x-0 grid items-center gap-x-3 border-b border-line px-3 hover:bg-sunken",
                      onOpen && "cursor-pointer",
                      selected?.has(row.id) && "bg-accent-soft",
                    )}
                    style={{
                      gridTemplateColumns: template,
                      height: ROW,
                      transform: `translateY(${item.start}px)`,
                    }}
                  >
                    {onSelect && (
                      // biome-ignore lint/a11y/useSemanticElements: see above
                      <span role="cell">
                        <input
                          type="checkbox"
                          aria-label={`select ${row.id}`}
                          checked={selected?.has(row.id) ?? false}
                          onChange={(event) => pick(row.id, event.target.checked)}
                          className="size-4 align-middle accent-(--accent)"
                        />
                      </span>
                    )}
                    {shown.map((each) => (
                      // biome-ignore lint/a11y/useSemanticElements: see above
                      <span
                        key={each.id}
                        role="cell"
                        className={clsx("min-w-0 truncate", each.align && "text-right tabular-nums")}
                      >
                        {byId.get(each.id)?.cell(row.original)}
                      </span>
                    ))}
                  </div>
                );
              })}
            </div>
          </div>
          {more && (
            <p role="status" className="p-3 text-center text-xs text-muted">
              loading …
            </p>
          )}
        </div>
      )}
    </div>
  );
}

/** Which columns are shown, remembered in this browser. */
function useColumns<Row>(
  name: string,
  columns: Column<Row>[],
): [ColumnVisibilityState, (next: ColumnVisibilityState) => void] {
  const key = `tilth.columns.${name}`;
  const [chosen, setChosen] = useState<ColumnVisibilityState>(() => {
    try {
      return JSON.parse(localStorage.getItem(key) ?? "{}");
    } catch {
      return {};
    }
  });
  // Columns may come with the rows: each is as it usually is until somebody chooses.
  const visible = useMemo(
    () => ({
      ...Object.fromEntries(columns.filter((each) => each.hidden).map((each) => [each.id, false])),
      ...chosen,
    }),
    [columns, chosen],
  );
  const keep = useCallback(
    (next: ColumnVisibilityState) => {
      setChosen(next);
      try {
        localStorage.setItem(key, JSON.stringify(next));
      } catch {
        // A browser that keeps nothing shows the usual columns next time.
      }
    },
    [key],
  );
  return [visible, keep];
}

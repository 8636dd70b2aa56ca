import { count } from "@/ui/format";
import { shown } from "../metadata";
import type { ColumnSummary } from "../queries";

/** What a column holds: how its numbers are spread, or which of its values are frequent. */
export function Histogram({ column }: { column: ColumnSummary }) {
  const missing = column.missing ?? 0;
  return (
    <figure className="min-w-0 rounded-md border border-line p-3">
      <figcaption className="mb-2 flex items-baseline justify-between gap-2">
        <span className="truncate text-[13px] font-medium" title={column.name}>
          {column.name || "values"}
        </span>
        <span className="shrink-0 text-xs text-muted">{column.type}</span>
      </figcaption>
      {column.problem ? (
        <p className="text-xs text-muted">{column.problem}</p>
      ) : column.kind === "values" ? (
        <Frequent column={column} />
      ) : (
        <Spread column={column} />
      )}
      {missing > 0 && (
        <p className="mt-2 text-xs text-wait">
          {count(missing)} missing ({share(missing, column.looked_at ?? 0)})
        </p>
      )}
    </figure>
  );
}

function Spread({ column }: { column: ColumnSummary }) {
  const counts = column.counts ?? [];
  const edges = column.edges ?? [];
  const most = Math.max(...counts, 1);
  if (counts.length === 0) return <p className="text-xs text-muted">no values</p>;
  const width = 100 / counts.length;
  return (
    <>
      <svg
        viewBox="0 0 100 40"
        preserveAspectRatio="none"
        className="h-16 w-full"
        role="img"
        aria-label={`histogram of ${column.name || "the values"}, from ${column.low} to ${column.high}`}
      >
        {counts.map((each, at) => (
          // biome-ignore lint/suspicious/noArrayIndexKey: bars are told apart by their place
          <g key={at}>
            <title>
              {column.kind === "numbers"
                ? `${shown(edges[at])} to ${shown(edges[at + 1])}: ${count(each)}`
                : count(each)}
            </title>
            <rect x={at * width} y={0} width={width} height={40} fill="transparent" />
            <rect
              x={at * width + width * 0.06}
              y={40 - (each / most) * 39}
              width={width * 0.88}
              height={(each / most) * 39}
              fill="var(--accent)"
            />
          </g>
        ))}
      </svg>
      <p className="flex justify-between gap-2 border-t border-line-strong pt-1 text-xs text-muted tabular-nums">
        <span className="truncate">{short(column.low)}</span>
        {column.mean !== null && column.mean !== undefined && (
          <span className="truncate">mean {shown(column.mean)}</span>
        )}
        <span className="truncate">{short(column.high)}</span>
      </p>
    </>
  );
}

function Frequent({ column }: { column: ColumnSummary }) {
  const top = column.top ?? [];
  const looked = (column.looked_at ?? 0) - (column.missing ?? 0);
  const most = Math.max(...top.map((each) => each.count), 1);
  return (
    <>
      <ul className="space-y-1 text-xs">
        {top.slice(0, 5).map((each) => (
          <li key={each.value} className="relative flex justify-between gap-2 px-1.5 py-0.5">
            <span
              aria-hidden
              className="absolute inset-y-0 left-0 rounded bg-accent-soft"
              style={{ width: `${(100 * each.count) / most}%` }}
            />
            <span className="relative truncate" title={each.value}>
              {each.value || "(empty)"}
            </span>
            <span className="relative shrink-0 tabular-nums">{share(each.count, looked)}</span>
          </li>
        ))}
      </ul>
      <p className="mt-2 text-xs text-muted">{count(column.distinct)} different values</p>
    </>
  );
}

function share(part: number, whole: number): string {
  if (whole === 0) return "0 %";
  const percent = (100 * part) / whole;
  return percent > 0 && percent < 1 ? "< 1 %" : `${Math.round(percent)} %`;
}

function short(label: string | undefined): string {
  const number = Number(label);
  return label && Number.isFinite(number) ? shown(number) : (label ?? "");
}

import clsx from "clsx";
import type { ReactNode } from "react";

export type Header = { name: string; note?: ReactNode; index?: boolean };
export type Value = string | number | boolean | null;

/** Rows of values under sticky headers, a hundred or so at a time. */
export function Grid({
  label,
  headers,
  rows,
  height = "60vh",
}: {
  label: string;
  headers: Header[];
  rows: Value[][];
  height?: string;
}) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard
    <div tabIndex={0} className="overflow-auto" style={{ maxHeight: height }}>
      <table className="w-max min-w-full border-separate border-spacing-0 text-[13px]" aria-label={label}>
        <thead>
          <tr>
            {headers.map((each, at) => (
              <th
                // biome-ignore lint/suspicious/noArrayIndexKey: names may be equal
                key={at}
                scope="col"
                className={clsx(
                  "sticky top-0 z-10 max-w-80 border-b border-line bg-surface px-3 py-1.5 text-left align-bottom font-medium",
                  each.index && "text-muted",
                )}
              >
                <span className="block truncate" title={each.name}>
                  {each.name || (each.index ? "index" : "\u00a0")}
                </span>
                {each.note && <span className="block text-xs font-normal text-muted">{each.note}</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, number) => (
            // biome-ignore lint/suspicious/noArrayIndexKey: rows have no names
            <tr key={number} className="hover:bg-sunken">
              {headers.map((each, at) => (
                // biome-ignore lint/suspicious/noArrayIndexKey: as their columns
                <Cell key={at} value={row[at]} pale={each.index ?? false} />
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Cell({ value, pale }: { value: Value | undefined; pale: boolean }) {
  const number = typeof value === "number";
  const text = value === null || value === undefined ? "" : String(value);
  return (
    <td
      className={clsx(
        "max-w-80 truncate border-b border-line px-3 py-1",
        number && "text-right tabular-nums",
        pale && "text-muted",
      )}
      title={text.length > 30 ? text : undefined}
    >
      {value === null ? <span className="text-muted italic">missing</span> : text}
    </td>
  );
}

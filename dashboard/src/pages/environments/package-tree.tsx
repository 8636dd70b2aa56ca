import { useVirtualizer } from "@tanstack/react-virtual";
import clsx from "clsx";
import { ChevronDown, ChevronRight, ShieldAlert } from "lucide-react";
import { useMemo, useRef, useState } from "react";
import { Button } from "@/ui/button";
import { Card } from "@/ui/card";
import { bytes, count } from "@/ui/format";
import { SearchField } from "@/ui/input";
import { Badge } from "@/ui/state";
import { vulnerabilities } from "./parts";
import type { EnvironmentView } from "./queries";
import { tree, withReasons } from "./tree";

const ROW = 34; // px

/** Why each package is there: below each what it requires, with sizes as bars of one scale. */
export function PackageTree({
  found,
  text,
  onText,
}: {
  found: EnvironmentView;
  text: string;
  onText: (text: string) => void;
}) {
  const [closed, setClosed] = useState<ReadonlySet<string>>(new Set());
  const lines = useMemo(
    () => tree(withReasons(found.packages, text), closed),
    [found.packages, text, closed],
  );
  const bad = useMemo(() => new Set(vulnerabilities(found.check).map((each) => each.package)), [found.check]);
  const largest = Math.max(1, ...found.packages.map((each) => each.unpacked || each.size));
  const scroller = useRef<HTMLDivElement>(null);
  const virtual = useVirtualizer({
    count: lines.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => ROW,
    overscan: 20,
    getItemKey: (at) => lines[at]?.key ?? at,
  });
  const turn = (key: string) => {
    const next = new Set(closed);
    if (!next.delete(key)) next.add(key);
    setClosed(next);
  };
  const parents = lines.filter((each) => each.children > 0 && each.depth === 0).map((each) => each.key);
  const unknown = found.packages.filter((each) => each.requires === null).length;
  return (
    <Card
      flush
      title="Packages, and why each is there"
      actions={
        <>
          <Button small look="quiet" onClick={() => setClosed(closed.size ? new Set() : new Set(parents))}>
            {closed.size ? "Open all" : "Close all"}
          </Button>
          <SearchField value={text} onChange={onText} label="Search packages" className="w-48" />
        </>
      }
    >
      {unknown > 0 && (
        <p className="border-b border-line px-4 py-2 text-xs text-muted">
          {found.told
            ? `Of ${count(unknown)} of its packages it is not known what they require.`
            : "What its packages require is recorded with the next run in it: this one is of an older tilth, or of an image alone."}
        </p>
      )}
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reached by keyboard */}
      <div ref={scroller} tabIndex={0} className="max-h-[60vh] overflow-auto rounded-b-lg">
        {lines.length === 0 && (
          <p className="px-4 py-6 text-center text-sm text-muted">
            {text ? `No package has “${text}” in its name.` : "Nothing is known to be in it."}
          </p>
        )}
        <ul
          className="relative min-w-[34rem]"
          style={{ height: virtual.getTotalSize() }}
          aria-label="packages"
        >
          {virtual.getVirtualItems().map((item) => {
            const line = lines[item.index];
            if (!line) return null;
            const { node } = line;
            const size = node.unpacked || node.size;
            const open = !closed.has(line.key);
            return (
              <li
                key={line.key}
                className="absolute inset-x-0 grid grid-cols-[minmax(14rem,2fr)_minmax(8rem,2fr)_9rem] items-center gap-3 border-b border-line px-4 text-sm hover:bg-sunken"
                style={{ height: ROW, transform: `translateY(${item.start}px)` }}
              >
                <span
                  className="flex min-w-0 items-center gap-1"
                  style={{ paddingLeft: Math.min(line.depth, 12) * 18 }}
                >
                  {line.children > 0 ? (
                    <button
                      type="button"
                      aria-expanded={open}
                      aria-label={`what ${node.name} requires`}
                      className="flex size-5 shrink-0 items-center justify-center rounded text-muted hover:text-ink"
                      onClick={() => turn(line.key)}
                    >
                      {open ? <ChevronDown className="size-4" /> : <ChevronRight className="size-4" />}
                    </button>
                  ) : (
                    <span className="w-5 shrink-0" />
                  )}
                  <span
                    className={clsx("truncate", line.depth === 0 && "font-medium")}
                    title={[node.summary, node.licence].filter(Boolean).join("\n")}
                  >
                    {node.name}
                  </span>
                  <code className="shrink-0 text-muted">{node.version}</code>
                  {bad.has(node.name) && (
                    <ShieldAlert
                      className="size-4 shrink-0 text-bad"
                      aria-label="has a known vulnerability"
                    />
                  )}
                  {node.builder && <Badge tone="busy">built</Badge>}
                </span>
                <span className="truncate text-xs text-muted" title={node.summary}>
                  {line.again
                    ? "as above"
                    : line.depth === 0
                      ? node.requested.length
                        ? `requested: ${node.requested.join(", ")}`
                        : node.why || "required by none here"
                      : line.asked || "any version"}
                </span>
                <span className="flex items-center justify-end gap-2">
                  <span className="h-1.5 w-16 overflow-hidden rounded-full bg-sunken" aria-hidden>
                    <span
                      className="block h-full rounded-full bg-cached"
                      style={{ width: `${(100 * size) / largest}%` }}
                    />
                  </span>
                  <span className="w-14 text-right text-xs text-muted tabular-nums">
                    {size ? bytes(size) : "–"}
                  </span>
                </span>
              </li>
            );
          })}
        </ul>
      </div>
    </Card>
  );
}

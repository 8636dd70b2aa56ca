import clsx from "clsx";
import { useEffect, useRef, useState } from "react";
import { Card } from "@/ui/card";
import { bytes, plural } from "@/ui/format";
import { Key, Legend, vulnerabilities } from "./parts";
import type { EnvironmentView } from "./queries";
import { treemap } from "./scale";
import { isTop } from "./tree";

const HEIGHT = 220; // px

/** Packages as areas: how much of the environment each one is. */
export function Treemap({ found }: { found: EnvironmentView }) {
  const box = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    if (!box.current) return;
    const watching = new ResizeObserver(([entry]) => setWidth(entry?.contentRect.width ?? 0));
    watching.observe(box.current);
    return () => watching.disconnect();
  }, []);
  const onDisk = found.packages.some((each) => each.unpacked > 0);
  const size = (each: EnvironmentView["packages"][number]) => (onDisk ? each.unpacked : each.size);
  const bad = new Set(vulnerabilities(found.check).map((each) => each.package));
  const placed = width > 0 ? treemap(found.packages, size, width, HEIGHT) : [];
  const whole = placed.reduce((sum, each) => sum + each.size, 0);
  const known = found.packages.filter((each) => size(each) > 0).length;
  return (
    <Card
      title={onDisk ? "Size on disk" : "Size to download"}
      actions={
        <Legend>
          <Key className="bg-accent">requested, or required by none</Key>
          <Key className="bg-cached">required by others</Key>
          {bad.size > 0 && <Key className="bg-bad">vulnerable</Key>}
        </Legend>
      }
    >
      <div
        ref={box}
        role="img"
        aria-label={`${plural(known, "package")} by size; the largest: ${placed
          .slice(0, 5)
          .map((each) => `${each.item.name} ${bytes(each.size)}`)
          .join(", ")}`}
        className="relative overflow-hidden rounded"
        style={{ height: HEIGHT }}
      >
        {placed.map((each) => (
          <div
            key={each.item.name}
            title={`${each.item.name} ${each.item.version}: ${bytes(each.size)}, ${((100 * each.size) / whole).toFixed(1)} %\n${each.item.why}`}
            className={clsx(
              "absolute overflow-hidden rounded-[3px] border border-surface",
              bad.has(each.item.name)
                ? "bg-bad text-surface"
                : isTop(each.item)
                  ? "bg-accent text-accent-ink"
                  : "bg-cached text-surface",
            )}
            style={{ left: each.x, top: each.y, width: each.width, height: each.height }}
          >
            {each.width > 56 && each.height > 22 && (
              <div className="truncate px-1.5 pt-1 text-xs font-medium">{each.item.name}</div>
            )}
            {each.width > 56 && each.height > 40 && (
              <div className="truncate px-1.5 text-[11px]">{bytes(each.size)}</div>
            )}
          </div>
        ))}
      </div>
      {known < found.packages.length && (
        <p className="mt-2 text-xs text-muted">
          of {plural(found.packages.length - known, "package")} the size is not known
        </p>
      )}
    </Card>
  );
}

import { useEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useTheme } from "@/shell/theme";

/** One line, or one part of each bar. */
export type Series = {
  label: string;
  values: Array<number | null>;
  colour: string; // a name of the theme, as `--good`
  kind?: "line" | "bar"; // bars stand on each other, the first at the bottom
  dashed?: boolean;
};

type Shown = { at: number; left: number };

/**
 * A chart over time, or over steps. Pointing at it tells the values; `label` tells them to who does not see it.
 *
 * Only lazy pages import this: uPlot is no part of the first load.
 */
export function Chart({
  label,
  x,
  series,
  format,
  time = true,
  step,
  height = 180,
  zero = true,
  xLabel,
  seconds = false,
}: {
  label: string;
  x: number[]; // seconds since 1970, or steps
  series: Series[];
  format: (value: number) => string;
  time?: boolean;
  step?: number; // between two bars, in the units of x
  height?: number;
  zero?: boolean; // values begin at 0
  xLabel?: (value: number) => string;
  seconds?: boolean; // values are seconds: the axis counts in minutes and hours
}) {
  const place = useRef<HTMLDivElement>(null);
  const theme = useTheme();
  const [shown, setShown] = useState<Shown | null>(null);

  // biome-ignore lint/correctness/useExhaustiveDependencies: colours of the canvas are read anew for each theme
  useEffect(() => {
    const on = place.current;
    if (!on) return;
    const colours = getComputedStyle(document.documentElement);
    const colour = (name: string) => colours.getPropertyValue(name).trim();
    const { data, stacked } = stack(x, series);
    const axis = {
      stroke: colour("--muted"),
      font: "11px Inter Variable, system-ui, sans-serif",
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { show: false },
    };
    const half = (step ?? 0) / 2;
    const plot = new uPlot(
      {
        width: on.clientWidth,
        height,
        legend: { show: false },
        cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
        scales: {
          x: {
            time,
            range: (_, low, high) =>
              step ? [low - half, high + half] : low === high ? [low - 1, high + 1] : [low, high],
          },
          y: {
            range: (_, low, high) => {
              const top = high > 0 ? high * 1.08 : high < 0 && zero ? 0 : 1;
              if (zero) return [Math.min(0, low ?? 0), top];
              const room = (high - low || Math.abs(high) || 1) * 0.08;
              return [low - room, high + room];
            },
          },
        },
        padding: [8, 20, 0, 0],
        axes: [
          {
            ...axis,
            grid: { show: false },
            size: 26,
            space: 64,
            ...(step &&
              time && {
                incrs: [
                  3600,
                  7200,
                  10_800,
                  21_600,
                  43_200,
                  ...[1, 2, 4, 7, 14, 28].map((each) => each * 86_400),
                ],
              }),
            values: (_, at) =>
              at.map((value) => xLabel?.(value) ?? (time ? tick(value, step) : String(value))),
          },
          {
            ...axis,
            size: 58,
            ...(seconds && { incrs: SECONDS }),
            values: (_, at) => at.map((value) => (value === null ? "" : value === 0 ? "0" : format(value))),
          },
        ],
        series: [
          {},
          ...stacked.map((each) => ({
            label: each.label,
            stroke: colour(each.colour),
            width: each.kind === "bar" ? 0 : 2,
            ...(each.dashed && { dash: [5, 4] }),
            ...(each.kind === "bar" && {
              fill: colour(each.colour),
              paths: uPlot.paths.bars?.({ size: [0.7, 40], radius: 0.15 }),
            }),
            points: { show: each.kind !== "bar" && x.length < 60, size: 5, fill: colour(each.colour) },
            spanGaps: true,
          })),
        ],
        hooks: {
          setCursor: [
            (on) => {
              const at = on.cursor.idx;
              setShown(
                at === null || at === undefined || (on.cursor.left ?? -1) < 0
                  ? null
                  : { at, left: on.cursor.left ?? 0 },
              );
            },
          ],
        },
      },
      data as uPlot.AlignedData,
      on,
    );
    const watch = new ResizeObserver(() => plot.setSize({ width: on.clientWidth, height }));
    watch.observe(on);
    return () => {
      watch.disconnect();
      plot.destroy();
    };
  }, [x, series, height, time, step, zero, theme]);

  const at = shown?.at;
  return (
    <figure className="relative min-w-0">
      <div ref={place} role="img" aria-label={label} className="w-full overflow-hidden" style={{ height }} />
      {at !== undefined && x[at] !== undefined && (
        <div
          className="pointer-events-none absolute top-0 z-10 max-w-64 rounded-md border border-line bg-surface px-2 py-1 text-xs shadow-pop"
          style={
            (shown?.left ?? 0) > 160
              ? { left: 60 + (shown?.left ?? 0) - 12, transform: "translateX(-100%)" }
              : { left: 80 + (shown?.left ?? 0) }
          }
        >
          <div className="font-medium whitespace-nowrap">
            {xLabel?.(x[at] as number) ?? told(x[at] as number, time, step)}
          </div>
          {series.map((each) => (
            <div key={each.label} className="flex items-center gap-1.5 whitespace-nowrap">
              <Dot colour={each.colour} />
              <span className="truncate text-muted">{each.label}</span>
              <span className="ml-auto pl-2 tabular-nums">
                {typeof each.values[at] === "number" ? format(each.values[at] as number) : "–"}
              </span>
            </div>
          ))}
        </div>
      )}
      <figcaption className="flex flex-wrap gap-x-4 gap-y-1 pt-1 text-xs text-muted">
        {series.map((each) => (
          <span key={each.label} className="inline-flex min-w-0 items-center gap-1.5">
            <Dot colour={each.colour} />
            <span className="truncate">{each.label}</span>
          </span>
        ))}
      </figcaption>
    </figure>
  );
}

function Dot({ colour }: { colour: string }) {
  return (
    <span aria-hidden className="size-2 shrink-0 rounded-full" style={{ background: `var(${colour})` }} />
  );
}

function told(x: number, time: boolean, step?: number): string {
  if (!time) return String(x);
  const at = new Date(x * 1000);
  if (step && step >= 86_400)
    return at.toLocaleDateString(undefined, { weekday: "short", day: "numeric", month: "short" });
  return at.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

// Between two marks of an axis: what people count time in.
const SECONDS = [
  ...[0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30],
  ...[60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800],
];

function tick(x: number, step?: number): string {
  const at = new Date(x * 1000);
  const day = at.toLocaleDateString(undefined, { day: "numeric", month: "short" });
  if (step && step >= 86_400) return day;
  const midnight = at.getHours() === 0 && at.getMinutes() === 0;
  return midnight
    ? day
    : at.toLocaleTimeString(undefined, { hour: "numeric", minute: "2-digit", hourCycle: "h23" });
}

/** Bars on each other: the sums are drawn first, so that each covers what is above it. Lines stay as they are. */
export function stack(
  x: number[],
  series: Series[],
): { data: Array<Array<number | null>>; stacked: Series[] } {
  const bars = series.filter((each) => each.kind === "bar");
  const lines = series.filter((each) => each.kind !== "bar");
  const sums: Array<Array<number | null>> = [];
  let below = x.map(() => 0);
  for (const each of bars) {
    below = below.map((sum, at) => sum + (each.values[at] ?? 0));
    sums.push(below);
  }
  return {
    data: [x, ...sums.reverse(), ...lines.map((each) => each.values)],
    stacked: [...bars.reverse(), ...lines],
  };
}

import { useEffect, useMemo, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useTheme } from "@/shell/theme";

const COLOURS = ["--accent", "--busy", "--wait", "--bad", "--cached", "--calm"];

/** Numbers over versions. Each series has an axis of its own colour's scale where their sizes differ much. */
export default function Chart({
  data,
  keys,
  height = 240,
  onPick,
}: {
  data: [number[], ...Array<Array<number | null>>];
  keys: string[];
  height?: number;
  onPick?: (version: number) => void; // a click
}) {
  const box = useRef<HTMLDivElement>(null);
  const theme = useTheme();
  const pick = useRef(onPick);
  pick.current = onPick;
  const named = useMemo(() => keys.join("\n"), [keys]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `theme` changes what the colours are
  useEffect(() => {
    const place = box.current;
    if (!place) return;
    const style = getComputedStyle(document.documentElement);
    const colour = (name: string) => style.getPropertyValue(name).trim();
    const axis = {
      stroke: colour("--muted"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line"), width: 1 },
      font: "12px Inter Variable, sans-serif",
    };
    const labels = named.split("\n");
    const apart = differ(data.slice(1));
    const chart = new uPlot(
      {
        width: place.clientWidth,
        height,
        scales: { x: { time: false, range: padded } },
        legend: { live: true },
        cursor: { drag: { x: false, y: false }, points: { size: 8 } },
        axes: [
          { ...axis, values: (_, ticks) => ticks.map((each) => (Number.isInteger(each) ? `v${each}` : "")) },
          ...(apart
            ? labels.slice(0, 2).map((_, at) => ({
                ...axis,
                scale: `y${at}`,
                side: (at === 0 ? 3 : 1) as uPlot.Axis.Side,
                stroke: colour(COLOURS[at] as string),
                grid: { ...axis.grid, show: at === 0 },
                size: 64,
              }))
            : [{ ...axis, scale: "y0", size: 64 }]),
        ],
        series: [
          { label: "version", value: (_, value) => (value === null ? "–" : `v${value}`) },
          ...labels.map((label, at) => ({
            label,
            scale: apart ? `y${at}` : "y0",
            stroke: colour(COLOURS[at % COLOURS.length] as string),
            width: 2,
            spanGaps: true,
            points: { show: (data[0]?.length ?? 0) < 100, size: 6 },
            value: (_: uPlot, value: number | null) =>
              value === null ? "–" : String(Number(value.toPrecision(6))),
          })),
        ],
        hooks: {
          ready: [
            (made) =>
              made.over.addEventListener("click", () => {
                const at = made.cursor.idx;
                const version = at === null || at === undefined ? undefined : made.data[0]?.[at];
                if (version !== undefined) pick.current?.(version);
              }),
          ],
        },
      },
      data as uPlot.AlignedData,
      place,
    );
    const watcher = new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height }));
    watcher.observe(place);
    return () => {
      watcher.disconnect();
      chart.destroy();
    };
  }, [data, named, height, theme]);
  return (
    <div
      ref={box}
      className="min-w-0 [&_.u-legend]:font-sans [&_.u-legend]:text-xs [&_.u-legend_th]:font-medium"
      style={{ minHeight: height }}
    />
  );
}

/** Whether two series are so unlike in size that one scale would flatten one of them. */
function differ(all: Array<Array<number | null>>): boolean {
  if (all.length < 2) return false;
  const sizes = all.map((each) => Math.max(...each.map((value) => Math.abs(value ?? 0)), 0)).filter(Boolean);
  return sizes.length > 1 && Math.max(...sizes) > 5 * Math.min(...sizes);
}

function padded(_: uPlot, low: number | null, high: number | null): uPlot.Range.MinMax {
  return [(low ?? 0) - 0.5, (high ?? 1) + 0.5];
}

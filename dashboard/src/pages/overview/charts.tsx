import { useMemo } from "react";
import { Card } from "@/ui/card";
import { Chart, type Series } from "@/ui/chart";
import { duration, plural } from "@/ui/format";
import { Select } from "@/ui/input";
import { DAYS, fill, percent, type Span, totals } from "./spans";

/** How many runs there were, what came of them, and how long they took. */
export function SpanCharts({
  spans,
  spanS,
  days,
  now,
}: {
  spans: Span[];
  spanS: number;
  days: number;
  now: number;
}) {
  // By the hour: what is drawn does not change with every look at the clock.
  const hour = Math.floor(now / 3_600_000) * 3_600_000;
  const filled = useMemo(() => fill(spans, spanS, days, hour + 3_599_999), [spans, spanS, days, hour]);
  const { runs, success, failed } = totals(spans);
  const counts = useMemo<Series[]>(() => {
    const drawn: Array<[string, string]> = [
      ["completed", "--good"],
      ["failed", "--bad"],
      ["cancelled", "--calm"],
      ["running", "--busy"],
      ["queued", "--wait"],
    ];
    return drawn
      .filter(([state], at) => at < 2 || filled.states[state]?.some((each) => each > 0))
      .map(([state, colour]) => ({ label: state, colour, kind: "bar", values: filled.states[state] ?? [] }));
  }, [filled]);
  const times = useMemo<Series[]>(
    () => [
      { label: "half took no longer", colour: "--accent", values: filled.median },
      { label: "19 of 20 took no longer", colour: "--wait", values: filled.slow, dashed: true },
    ],
    [filled],
  );
  const each = spanS === 3600 ? "hour" : "day";
  return (
    <div className="grid min-w-0 gap-4 lg:grid-cols-2">
      <Card title={`Runs by ${each}`}>
        <Chart
          label={`${plural(runs, "run")} in ${plural(days, "day")}, ${plural(failed, "failure")}; ${percent(success)} succeeded`}
          x={filled.x}
          series={counts}
          step={spanS}
          format={(value) => (Number.isInteger(value) ? String(value) : "")}
        />
      </Card>
      <Card title="How long they took">
        <Chart
          label={`How long runs that completed took, by ${each}`}
          x={filled.x}
          series={times}
          step={spanS}
          format={duration}
          seconds
        />
      </Card>
    </div>
  );
}

export function DaysSelect({ days, onChange }: { days: number; onChange: (days: number) => void }) {
  return (
    <Select
      aria-label="time that is looked at"
      className="w-36!"
      value={String(days)}
      options={DAYS.map((each) => ({ value: String(each), label: each === 1 ? "24 hours" : `${each} days` }))}
      onChange={(event) => onChange(Number(event.target.value))}
    />
  );
}

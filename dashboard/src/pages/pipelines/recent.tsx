import clsx from "clsx";
import type { components } from "@/api/schema";
import { duration, exact } from "@/ui/format";
import { toneOf } from "@/ui/state";

const FILL = {
  good: "bg-good",
  cached: "bg-cached",
  busy: "bg-busy",
  wait: "bg-wait",
  bad: "bg-bad",
  calm: "bg-calm",
} as const;

/** The newest runs of a pipeline as bars: the colour is the state, the height how long it took. */
export function Recent({ runs }: { runs: components["schemas"]["RecentRun"][] }) {
  const most = Math.max(...runs.map((each) => each.seconds ?? 0), 0.001);
  const bad = runs.filter((each) => each.state === "failed").length;
  return (
    <span
      role="img"
      aria-label={`the newest ${runs.length} runs, of which ${bad} failed`}
      className="flex h-7 items-end gap-px"
    >
      {[...runs].reverse().map((each) => (
        <span
          key={each.id}
          title={`${each.state}, ${exact(each.created_at)}, ${duration(each.seconds)}`}
          className={clsx("w-1 shrink-0 rounded-xs", FILL[toneOf(each.state)])}
          style={{ height: `${Math.max(14, ((each.seconds ?? most) / most) * 100)}%` }}
        />
      ))}
    </span>
  );
}

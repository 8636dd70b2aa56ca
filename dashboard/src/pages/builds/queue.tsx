import { useQuery } from "@tanstack/react-query";
import { Card } from "@/ui/card";
import { plural } from "@/ui/format";
import { Badge, State } from "@/ui/state";
import { Ago, Took } from "@/ui/time";
import { Quoted } from "../environments/parts";
import { buildQueue, WAITING } from "./queries";

/** Builds that were ordered on runners: those that wait or go on, and the newest that came to nothing. */
export function Queue({ project }: { project: string }) {
  const { data } = useQuery(buildQueue(project));
  const items = data?.items ?? [];
  const waiting = items.filter((each) => WAITING.includes(each.state));
  const failed = items.filter((each) => each.state === "failed").slice(0, 3);
  if (!data || waiting.length + failed.length === 0) return null;
  const nobody = data.takers.length === 0;
  return (
    <Card
      flush
      title="Queue of runners"
      actions={
        <span className="text-xs text-muted" title={data.takers.join(", ")}>
          {nobody ? "no runner that builds images is there" : `${plural(data.takers.length, "runner")} there`}
        </span>
      }
    >
      <ul className="divide-y divide-line text-sm">
        {[...waiting, ...failed].map((each) => (
          <li key={each.id} className="flex flex-wrap items-center gap-x-3 gap-y-1 px-4 py-2">
            <State state={STATES[each.state] ?? each.state} />
            <span>
              ordered by <b className="font-medium">{each.user || "somebody"}</b>
            </span>
            {each.runner ? (
              <Badge tone="busy">on {each.runner}</Badge>
            ) : (
              <span className="text-muted">
                {each.wanted ? `waits for runner ${each.wanted}` : "waits for any runner"}
              </span>
            )}
            {each.failure && (
              <span className="min-w-0 break-words text-bad">
                <Quoted text={each.failure.message || each.failure.reason} />
              </span>
            )}
            <span className="ml-auto text-xs text-muted">
              {WAITING.includes(each.state) ? (
                <Took from={each.created_at} to={null} running />
              ) : (
                <Ago at={each.finished_at ?? each.created_at} />
              )}
            </span>
          </li>
        ))}
      </ul>
      {nobody && waiting.length > 0 && (
        <p className="border-t border-line px-4 py-2 text-sm text-muted">
          Start one where a container engine is: <code>tilth runner start --builds</code>
        </p>
      )}
    </Card>
  );
}

/** What people call the states of an order. */
const STATES: Record<string, string> = { leased: "queued", started: "running" };

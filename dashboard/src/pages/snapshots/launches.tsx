import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { api, data } from "@/api/client";
import { useProject, useRole } from "@/shell/project";
import { Button } from "@/ui/button";
import { Card } from "@/ui/card";
import { Confirm } from "@/ui/dialog";
import { asText } from "@/ui/form/values";
import { sentence } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { Ago } from "@/ui/time";
import { isOver, type Launch, runsOf } from "./queries";

/** Where runs that were asked for stand: newest first, each with its run as soon as there is one. */
export function Launches({
  launches,
  title = "Runs asked for",
  empty,
}: {
  launches: Launch[];
  title?: string;
  empty: string;
}) {
  const project = useProject();
  const editor = useRole("editor");
  const client = useQueryClient();
  const { data: runs } = useQuery(runsOf(project, launches));
  const cancel = async (launch: Launch) => {
    await data(
      api.POST("/api/v1/projects/{project}/launches/{id}/cancel", {
        params: { path: { project, id: launch.id } },
      }),
    );
    await client.invalidateQueries({ queryKey: ["launches", project] });
  };
  return (
    <Card title={title} flush>
      {launches.length === 0 ? (
        <p className="p-4 text-sm text-muted">{empty}</p>
      ) : (
        <ul className="divide-y divide-line" aria-label={title}>
          {launches.map((each) => {
            const run = runs?.get(each.run ?? "");
            const given = Object.entries(each.parameters ?? {});
            return (
              <li key={each.id} className="flex flex-wrap items-center gap-x-4 gap-y-1 px-4 py-2 text-sm">
                <span className="w-28">
                  <LaunchState launch={each} run={run?.state} />
                </span>
                <span className="min-w-32">
                  {run ? (
                    <Link
                      className="font-medium text-accent hover:underline"
                      to={
                        `/p/${encodeURIComponent(project)}/runs/${encodeURIComponent(run.name ?? "")}` as string
                      }
                    >
                      {run.name}
                    </Link>
                  ) : (
                    <span className="text-muted">no run {isOver(each) ? "came of it" : "yet"}</span>
                  )}
                </span>
                <span className="text-muted">
                  <Ago at={each.created_at} />, by {each.cause}
                </span>
                <span className="min-w-0 grow break-words">
                  {given.map(([name, value]) => (
                    <code key={name} className="mr-2">
                      {name}={asText(value)}
                    </code>
                  ))}
                </span>
                {editor && !isOver(each) && (
                  <Confirm
                    trigger={<Button small>Cancel</Button>}
                    title="End this run?"
                    action="End it"
                    onConfirm={() => cancel(each)}
                  >
                    One that waits is never started; one that runs is stopped by its runner.
                  </Confirm>
                )}
                {each.failure && (
                  <p className="w-full break-words text-bad">
                    {sentence(each.failure.message ?? each.failure.reason ?? "")}{" "}
                    {each.failure.mend && sentence(each.failure.mend)}
                  </p>
                )}
              </li>
            );
          })}
        </ul>
      )}
    </Card>
  );
}

const WORDS: Record<string, string> = { leased: "starting", started: "running", ended: "ended" };

function LaunchState({ launch, run }: { launch: Launch; run?: string }) {
  const state = launch.state ?? "queued";
  if (run && state !== "cancelled") return <State state={run} />;
  if (state === "leased") return <Badge tone="busy">{WORDS[state]}</Badge>;
  return <State state={WORDS[state] ?? state} />;
}

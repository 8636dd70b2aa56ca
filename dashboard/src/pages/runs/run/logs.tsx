import { queryOptions, useQuery } from "@tanstack/react-query";
import { lazy, Suspense } from "react";
import { api, data } from "@/api/client";
import { useProject } from "@/shell/project";
import { bytes, count } from "@/ui/format";
import { Select } from "@/ui/input";
import { Answer, Empty, Loading } from "@/ui/said";
import { To } from "./links";
import { isFinal, type Run } from "./model";

const LogViewer = lazy(async () => ({ default: (await import("../logs")).LogViewer }));

const logsQuery = (project: string, run: string, over: boolean) =>
  queryOptions({
    queryKey: ["run-logs", project, run],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/runs/{run}/logs", { params: { path: { project, run } } })),
    refetchInterval: over ? false : 3000,
  });

/** The logs of a run, one for each attempt of each step that printed something; one of them open. */
export function LogsTab({ run, log, onLog }: { run: Run; log: string; onLog: (log: string) => void }) {
  const project = useProject();
  const over = isFinal(run.state);
  const query = useQuery(logsQuery(project, run.id, over));
  return (
    <Answer query={query}>
      {({ items }) => {
        const names = items.map((each) => each.name);
        // The one that was asked for may be on its way.
        const shown = log || names[0];
        if (!shown) {
          return (
            <Empty title={over ? "Nothing was printed" : "Nothing was printed yet"}>
              What a step prints stands here, one log for each attempt.
            </Empty>
          );
        }
        return (
          <div className="space-y-3">
            <div className="flex flex-wrap items-center gap-3">
              <Select
                aria-label="log that is shown"
                className="w-72! max-w-full"
                value={shown}
                onChange={(event) => onLog(event.target.value)}
                options={[
                  ...(names.includes(shown) ? [] : [{ value: shown, label: called(shown) }]),
                  ...items.map((each) => ({
                    value: each.name,
                    label: `${called(each.name)} · ${bytes(each.size)}`,
                  })),
                ]}
              />
              <span className="text-xs text-muted">{`${count(items.length)} ${items.length === 1 ? "log" : "logs"}`}</span>
              <span className="text-sm">
                <To path={["runs", run.name ?? run.id, "logs", shown]}>Open it over the whole page</To>
              </span>
            </div>
            <Suspense fallback={<Loading rows={8} />}>
              <LogViewer key={shown} project={project} run={run.id} log={shown} live={!over} />
            </Suspense>
          </div>
        );
      }}
    </Answer>
  );
}

/** A log as people call it: `train`, `train, attempt 2`. */
export function called(log: string): string {
  const found = /^(.*)\.(\d+)\.log$/.exec(log);
  if (!found) return log;
  const [, step, attempt] = found;
  return attempt === "1" ? (step ?? log) : `${step}, attempt ${attempt}`;
}

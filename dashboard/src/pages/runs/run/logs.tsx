import { queryOptions, useQuery } from "@tanstack/react-query";
import { api, data } from "@/api/client";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { bytes } from "@/ui/format";
import { Answer, Empty } from "@/ui/said";
import { isFinal, type Run } from "./graph-data";
import { LINK } from "./links";

const logsQuery = (project: string, run: string, over: boolean) =>
  queryOptions({
    queryKey: ["run-logs", project, run],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/runs/{run}/logs", { params: { path: { project, run } } })),
    refetchInterval: over ? false : 3000,
  });

/** The logs of a run, one for each attempt of each step that printed something. */
export function LogsTab({ run }: { run: Run }) {
  const project = useProject();
  const query = useQuery(logsQuery(project, run.id, isFinal(run.state)));
  return (
    <Answer query={query}>
      {({ items }) =>
        items.length === 0 ? (
          <Empty title="Nothing was printed" command={`tilth runs logs ${run.name}`} />
        ) : (
          <Card flush title="Logs">
            <ul className="divide-y divide-line">
              {items.map((each) => (
                <li key={each.name} className="flex justify-between gap-4 px-4 py-2">
                  <a
                    className={LINK}
                    href={`/api/v1/projects/${encodeURIComponent(project)}/runs/${encodeURIComponent(run.id)}/logs/${encodeURIComponent(each.name)}`}
                  >
                    {each.name}
                  </a>
                  <span className="text-muted tabular-nums">{bytes(each.size)}</span>
                </li>
              ))}
            </ul>
          </Card>
        )
      }
    </Answer>
  );
}

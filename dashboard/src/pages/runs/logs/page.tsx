import { useQuery } from "@tanstack/react-query";
import { useNavigate, useParams } from "@tanstack/react-router";
import { api, data } from "@/api/client";
import { ApiError } from "@/api/errors";
import { useProject } from "@/shell/project";
import { bytes } from "@/ui/format";
import { Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer } from "@/ui/said";
import { State } from "@/ui/state";
import { LogViewer } from "./viewer";

/** One log, over the whole page: what a link to a line opens. */
export default function LogPage() {
  const project = useProject();
  const { run: name, log } = useParams({ strict: false }) as { run: string; log: string };
  const navigate = useNavigate();
  const query = useQuery({
    queryKey: ["run-with-logs", project, name],
    queryFn: async () => {
      const path = { project };
      const found = await data(
        api.GET("/api/v1/projects/{project}/runs", { params: { path, query: { name: [name], limit: 1 } } }),
      );
      const run = found.items[0];
      if (!run?.id)
        throw new ApiError(
          404,
          "NotFound",
          `there is no run \`${name}\``,
          "it may have been deleted",
          "see the list of runs",
        );
      const logs = await data(
        api.GET("/api/v1/projects/{project}/runs/{run}/logs", { params: { path: { project, run: run.id } } }),
      );
      return { run, logs: logs.items };
    },
    refetchInterval: ({ state }) => (state.data && !isUnderWay(state.data.run.state) ? false : 3000),
  });
  const base = `/p/${encodeURIComponent(project)}/runs`;
  const here = `${base}/${encodeURIComponent(name)}`;
  return (
    <Page
      title={log.replace(/\.log$/, "")}
      crumbs={[
        { label: "Runs", to: base },
        { label: name, to: here },
      ]}
      note={query.data && <State state={query.data.run.state ?? ""} />}
      actions={
        query.data &&
        query.data.logs.length > 1 && (
          <Select
            aria-label="log that is shown"
            className="w-64! max-w-full"
            value={log}
            options={query.data.logs.map((each) => ({
              value: each.name,
              label: `${each.name.replace(/\.log$/, "")} · ${bytes(each.size)}`,
            }))}
            onChange={(event) =>
              void navigate({ to: `${here}/logs/${encodeURIComponent(event.target.value)}` as string })
            }
          />
        )
      }
    >
      <Answer query={query}>
        {({ run }) => (
          <LogViewer
            key={`${run.id} ${log}`}
            project={project}
            run={run.id}
            log={log}
            live={isUnderWay(run.state)}
            height="calc(100vh - 12rem)"
          />
        )}
      </Answer>
    </Page>
  );
}

function isUnderWay(state: string | undefined): boolean {
  return state === "running" || state === "queued";
}

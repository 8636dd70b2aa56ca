import { queryOptions, useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useMemo } from "react";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Digest } from "@/ui/copy";
import { bytes, duration, plural } from "@/ui/format";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { Ago } from "@/ui/time";
import { LINK, To } from "./links";
import type { Run, RunGraph, RunNode } from "./model";

type Environment = components["schemas"]["Environment"];
type Build = components["schemas"]["Build"];

/** Digests of the environments of a run, each with what it is called and what it is for. */
export function used(run: Run): Array<{ digest: string; name: string; role: string; image: string }> {
  const found = Object.entries(run.environments ?? {}).map(([name, digest]) => ({
    digest,
    name,
    role: "execution",
    image: run.images?.[name] ?? "",
  }));
  if (run.client?.environment)
    found.unshift({ digest: run.client.environment, name: "client", role: "client", image: "" });
  if (run.supervisor)
    found.push({ digest: run.supervisor, name: "supervisor", role: "supervisor", image: "" });
  return found;
}

/** What the steps of an environment had to wait for it, in seconds, and how many they are. */
export function cost(
  nodes: readonly RunNode[],
  digest: string,
  isClient: boolean,
): { steps: number; seconds: number; starting: number } {
  const of = nodes.filter((each) => each.last && (each.last.environment || "") === (isClient ? "" : digest));
  const sum = (name: string) => of.reduce((all, each) => all + (each.last?.seconds?.[name] ?? 0), 0);
  return { steps: of.length, seconds: sum("environment"), starting: sum("fetching") };
}

const environmentsQuery = (project: string, digests: string[]) =>
  queryOptions({
    queryKey: ["run-environments", project, digests.join()],
    queryFn: async () => {
      const path = { project };
      const id = digests;
      const [environments, builds] = await Promise.all([
        data(
          api.GET("/api/v1/projects/{project}/environments", {
            params: { path, query: { id, limit: "100" } as never },
          }),
        ),
        data(
          api.GET("/api/v1/projects/{project}/builds", {
            params: { path, query: { environment: digests, limit: "200" } as never },
          }),
        ),
      ]);
      return { environments: environments.items, builds: builds.items };
    },
    staleTime: 30_000,
  });

/** The environments of a run, and what it cost to have them. */
export function EnvironmentsTab({ graph }: { graph: RunGraph }) {
  const project = useProject();
  const all = useMemo(() => used(graph.run), [graph.run]);
  const digests = useMemo(() => [...new Set(all.map((each) => each.digest))].sort().slice(0, 100), [all]);
  const query = useQuery({ ...environmentsQuery(project, digests), enabled: digests.length > 0 });
  if (all.length === 0)
    return <Empty title="No environment is recorded">An older tilth recorded this run.</Empty>;
  return (
    <Answer query={query}>
      {({ environments, builds }) => (
        <div className="space-y-3">
          <p className="text-sm">
            <SideBySide run={graph.run.id} />
          </p>
          <div className="grid gap-4 lg:grid-cols-2">
            {all.map((each) => (
              <One
                key={`${each.role} ${each.name}`}
                told={each}
                graph={graph}
                environment={environments.find((one) => one.id === each.digest)}
                builds={builds.filter(
                  (one) => one.environment === each.digest && (!each.image || one.image === each.image),
                )}
              />
            ))}
          </div>
        </div>
      )}
    </Answer>
  );
}

function SideBySide({ run }: { run: string }) {
  const project = useProject();
  return (
    <Link to="/p/$project/environments" params={{ project }} search={{ run }} className={LINK}>
      See them side by side, package by package
    </Link>
  );
}

function One({
  told,
  graph,
  environment,
  builds,
}: {
  told: ReturnType<typeof used>[number];
  graph: RunGraph;
  environment: Environment | undefined;
  builds: Build[];
}) {
  const { steps, seconds, starting } = cost(graph.nodes, told.digest, told.role === "client");
  const build = builds[0];
  return (
    <Card
      title={
        <span className="flex items-center gap-2">
          <To path={["environments", told.digest]} className="hover:underline">
            {told.name}
          </To>
          <Badge>{told.role}</Badge>
        </span>
      }
      actions={<Digest value={told.digest} />}
    >
      <dl className="grid grid-cols-[minmax(7rem,auto)_1fr] gap-x-4 gap-y-1.5 text-sm">
        <Row name="Python">{environment?.python || "–"}</Row>
        <Row name="packages">
          {environment ? plural(environment.packages?.length ?? 0, "package") : "it is not recorded any more"}
        </Row>
        <Row name="steps">{steps ? plural(steps, "step") : "none"}</Row>
        {told.role === "execution" && (
          <Row name="steps waited">
            {seconds + starting > 0.0005 ? duration(seconds + starting) : "not at all"}
            <span className="block text-xs text-muted">
              until it was locked, made or pulled, all steps together
            </span>
          </Row>
        )}
        {told.image && (
          <Row name="image">
            <Digest value={told.image} />
          </Row>
        )}
        {build && (
          <>
            <Row name={build.found ? "found" : "built"}>
              <To path={["builds", build.id]}>
                <Ago at={build.created_at} />
              </To>
              {graph.run.started_at &&
                build.created_at < graph.run.started_at &&
                wasEarlier(build, graph.run) && <span className="text-muted">, before this run</span>}
            </Row>
            <Row name="took">
              {Object.entries(build.seconds ?? {})
                .filter(([, each]) => each > 0)
                .map(([name, each]) => `${name} ${duration(each)}`)
                .join(" · ") || "–"}
            </Row>
            <Row name="bytes">
              {`${bytes(build.bytes_made)} made · ${bytes(build.bytes_sent)} sent · ${bytes(build.bytes_reused)} reused`}
            </Row>
          </>
        )}
      </dl>
    </Card>
  );
}

/** Whether a build had ended well before the run began, so that it was not made for it. */
function wasEarlier(build: Build, run: Run): boolean {
  return Date.parse(run.started_at ?? "") - Date.parse(build.created_at) > 60_000;
}

function Row({ name, children }: { name: string; children: React.ReactNode }) {
  return (
    <div className="contents">
      <dt className="text-muted">{name}</dt>
      <dd className="min-w-0 break-words">{children}</dd>
    </div>
  );
}

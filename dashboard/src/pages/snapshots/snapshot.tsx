import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { CalendarClock, CopyPlus, Pencil, Trash2 } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { useProject, useRole } from "@/shell/project";
import { Button, buttonClass } from "@/ui/button";
import { Card, Facts } from "@/ui/card";
import { Digest } from "@/ui/copy";
import { Confirm } from "@/ui/dialog";
import { asText, signatureOf, usual } from "@/ui/form/values";
import { Page } from "@/ui/page";
import { Answer } from "@/ui/said";
import { Badge } from "@/ui/state";
import { Ago } from "@/ui/time";
import { Launches } from "./launches";
import { Describe, NewVersion } from "./new-version";
import { isOver, labelOf, type Snapshot, snapshot, snapshots } from "./queries";
import { StartForm } from "./start";

const route = getRouteApi("/p/$project/snapshots/$id");

export default function SnapshotPage() {
  const { project, id } = route.useParams();
  const query = useQuery(snapshot(project, id));
  const crumbs = [{ label: "Snapshots", to: `/p/${encodeURIComponent(project)}/snapshots` }];
  return (
    <Answer
      query={query}
      loading={
        <Page title="Snapshot" crumbs={crumbs}>
          {null}
        </Page>
      }
    >
      {(found) => <Shown key={found.id} found={found} />}
    </Answer>
  );
}

function Shown({ found }: { found: Snapshot }) {
  const project = useProject();
  const editor = useRole("editor");
  const client = useQueryClient();
  const navigate = useNavigate();
  const [opened, setOpened] = useState<"version" | "words" | "">("");
  const versions = useInfiniteQuery(snapshots(project, found.name));
  const launches = useQuery({
    queryKey: ["launches", project, "snapshot", found.id],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/launches", {
          params: { path: { project }, query: { snapshot: found.id, limit: 50 } },
        }),
      ),
    refetchInterval: ({ state }) => (state.data?.items.some((each) => !isOver(each)) ? 2000 : 15_000),
  });
  const others = versions.data?.pages.flatMap((page) => page.items) ?? [];
  const newest = others.every((each) => (each.version ?? 0) <= (found.version ?? 0));
  const remove = async () => {
    await data(
      api.DELETE("/api/v1/projects/{project}/snapshots/{id}", {
        params: { path: { project, id: found.id } },
      }),
    );
    await client.invalidateQueries({ queryKey: ["snapshots", project] });
    await navigate({ to: "/p/$project/snapshots", params: { project } });
  };
  const options = Object.entries(found.options ?? {});
  return (
    <Page
      title={labelOf(found)}
      crumbs={[{ label: "Snapshots", to: `/p/${encodeURIComponent(project)}/snapshots` }]}
      note={
        <>
          {others.length > 0 && !newest && <Badge tone="wait">not the newest</Badge>}
          {found.tags?.map((each) => (
            <Badge key={each}>{each}</Badge>
          ))}
        </>
      }
      actions={
        editor && (
          <>
            <Link
              to="/p/$project/schedules/new"
              params={{ project }}
              search={{ snapshot: found.name }}
              className={buttonClass()}
            >
              <CalendarClock /> Schedule
            </Link>
            <Button onClick={() => setOpened("version")}>
              <CopyPlus /> New version
            </Button>
            <Button onClick={() => setOpened("words")}>
              <Pencil /> Describe
            </Button>
            <Confirm
              trigger={
                <Button look="danger">
                  <Trash2 /> Delete
                </Button>
              }
              title={`Delete ${labelOf(found)}?`}
              action="Delete it"
              onConfirm={remove}
            >
              Its runs stay. What still waits for a runner fails, and schedules and webhooks take the version
              before.
            </Confirm>
          </>
        )
      }
    >
      {found.description && <p className="max-w-prose whitespace-pre-wrap">{found.description}</p>}
      <div className="grid items-start gap-4 lg:grid-cols-[minmax(0,3fr)_minmax(0,2fr)]">
        <div className="flex min-w-0 flex-col gap-4">
          {editor ? <StartForm snapshot={found} /> : <ParameterList found={found} />}
          <Answer query={launches}>
            {({ items }) => (
              <Launches launches={items} empty="Nobody has asked for a run of this version yet." />
            )}
          </Answer>
        </div>
        <div className="flex min-w-0 flex-col gap-4">
          <Card title="What is in it">
            <Facts
              items={[
                ["pipeline", found.pipeline],
                ["file", <code key="f">{found.file + (found.function ? `:${found.function}` : "")}</code>],
                [
                  "made",
                  <span key="m">
                    <Ago at={found.created_at} /> by {found.created_by || "–"}
                  </span>,
                ],
                ["code", found.bundle ? <Digest key="d" value={found.bundle} /> : "–"],
                found.git && [
                  "git",
                  <code key="g">
                    {String((found.git as { commit?: string }).commit ?? "").slice(0, 12)}
                    {(found.git as { dirty?: boolean }).dirty ? ", changed" : ""}
                  </code>,
                ],
                ["compiled in", `Python ${found.python || "–"}`],
                [
                  "locked for",
                  Object.keys(found.locks ?? {})
                    .sort()
                    .join(", ") || "–",
                ],
                [
                  "environments",
                  Object.keys(found.environments ?? {})
                    .sort()
                    .join(", ") || "none of its own",
                ],
                ["stack", found.stack || "default"],
                [
                  "started",
                  found.image
                    ? "in its runner image"
                    : found.machine
                      ? "by runners of one machine alone"
                      : "by any runner of such a platform",
                ],
                found.image !== undefined &&
                  found.image !== "" && [
                    "image",
                    <code key="i" className="break-all">
                      {found.image}
                    </code>,
                  ],
                options.length > 0 && [
                  "options",
                  options.map(([name, value]) => (
                    <code key={name} className="mr-2">
                      {name}={asText(value)}
                    </code>
                  )),
                ],
              ]}
            />
          </Card>
          <Card title="Versions" flush>
            <ul className="max-h-72 divide-y divide-line overflow-y-auto">
              {others.map((each) => (
                <li key={each.id} className="flex flex-wrap items-center gap-x-3 px-4 py-1.5 text-sm">
                  {each.id === found.id ? (
                    <span className="font-medium" aria-current="true">
                      {labelOf(each)}
                    </span>
                  ) : (
                    <Link
                      to="/p/$project/snapshots/$id"
                      params={{ project, id: each.id }}
                      className="text-accent hover:underline"
                    >
                      {labelOf(each)}
                    </Link>
                  )}
                  <span className="text-muted">
                    <Ago at={each.created_at} /> by {each.created_by || "–"}
                  </span>
                </li>
              ))}
            </ul>
          </Card>
        </div>
      </div>
      {opened === "version" && <NewVersion snapshot={found} onClose={() => setOpened("")} />}
      {opened === "words" && <Describe snapshot={found} onClose={() => setOpened("")} />}
    </Page>
  );
}

/** For whoever may not start runs. */
function ParameterList({ found }: { found: Snapshot }) {
  const signature = Object.entries(signatureOf(found.signature));
  return (
    <Card title="Parameters">
      {signature.length === 0 ? (
        <p className="text-sm text-muted">This pipeline has none.</p>
      ) : (
        <Facts
          items={signature.map(([name, declared]) => {
            const taken = usual(name, declared, found.parameters ?? {});
            return [
              name,
              <span key={name}>
                <code>{taken === undefined ? "to be given" : asText(taken)}</code>{" "}
                <span className="text-muted">{declared.type}</span>
              </span>,
            ];
          })}
        />
      )}
    </Card>
  );
}

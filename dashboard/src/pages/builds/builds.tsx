import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { useProject } from "@/shell/project";
import { Card, Figure } from "@/ui/card";
import { bytes, count, short } from "@/ui/format";
import { SearchField, Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Empty, ErrorView } from "@/ui/said";
import { type Column, DataTable } from "@/ui/table";
import { Ago, Took } from "@/ui/time";
import { Labelled } from "../environments/parts";
import { BuildLog } from "./log";
import { type Build, buildList } from "./queries";
import { Queue } from "./queue";
import type { BuildsSearch } from "./routes";
import { Standing, useLost } from "./standing";
import { sums } from "./telling";

const route = getRouteApi("/p/$project/builds");

export default function BuildsPage() {
  const project = useProject();
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/p/$project/builds" });
  const set = (change: Partial<BuildsSearch>) =>
    void navigate({ search: (before) => ({ ...before, ...change }), replace: true });
  const query = useInfiniteQuery(buildList(project, search.name, search.state));
  const rows = useMemo(() => (query.data?.pages ?? []).flatMap((page) => page.items), [query.data]);
  const running = rows.filter((each) => each.state === "running");
  const amounts = sums(rows);
  const columns: Column<Build>[] = useMemo(
    () => [
      {
        id: "name",
        header: "Environment",
        width: 130,
        grow: 2,
        fixed: true,
        cell: (each) => (
          <Link
            to="/p/$project/builds/$id"
            params={{ project, id: each.id ?? "" }}
            className="font-medium hover:underline"
          >
            {each.name || short(each.environment)}
          </Link>
        ),
      },
      { id: "state", header: "State", width: 110, cell: (each) => <Standing build={each} /> },
      {
        id: "image",
        header: "Image",
        width: 110,
        cell: (each) => (each.image ? <code title={each.image}>{short(each.image)}</code> : "–"),
      },
      {
        id: "bytes",
        header: "Made, sent, reused",
        width: 150,
        grow: 2,
        cell: (each) => <BytesBar build={each} />,
      },
      { id: "made", header: "Made", width: 80, align: "right", cell: (each) => bytes(each.bytes_made ?? 0) },
      { id: "sent", header: "Sent", width: 80, align: "right", cell: (each) => bytes(each.bytes_sent ?? 0) },
      {
        id: "reused",
        header: "Reused",
        width: 80,
        align: "right",
        cell: (each) => bytes(each.bytes_reused ?? 0),
      },
      {
        id: "took",
        header: "Took",
        width: 80,
        align: "right",
        cell: (each) =>
          each.finished_at || each.state === "running" ? (
            <Took from={each.created_at} to={each.finished_at} running={each.state === "running"} />
          ) : (
            "–"
          ),
      },
      { id: "builder", header: "Builder", hidden: true, cell: (each) => each.builder || "client" },
      { id: "machine", header: "Machine", hidden: true, cell: (each) => each.machine },
      { id: "created_at", header: "Begun", width: 90, cell: (each) => <Ago at={each.created_at} /> },
    ],
    [project],
  );
  return (
    <Page title="Builds">
      {rows.length > 0 && (
        <div className="grid grid-cols-2 gap-4 rounded-lg border border-line bg-surface p-4 shadow-card sm:grid-cols-4">
          <Figure label={query.hasNextPage ? "newest builds" : "builds"} value={count(rows.length)} />
          <Figure label="made" value={bytes(amounts.made)} />
          <Figure label="sent" value={bytes(amounts.sent)} />
          <Figure
            label="not sent, as the registry had it"
            value={bytes(amounts.reused)}
            note={
              amounts.sent + amounts.reused > 0
                ? `${Math.round((100 * amounts.reused) / (amounts.sent + amounts.reused))} % of what images consist of`
                : undefined
            }
          />
        </div>
      )}
      <Queue project={project} />
      {running.slice(0, 3).map((each) => (
        <Running key={each.id} project={project} build={each} />
      ))}
      {query.error && !query.data ? (
        <ErrorView error={query.error} retry={() => void query.refetch()} />
      ) : (
        <DataTable
          name="builds"
          label="Builds"
          columns={columns}
          rows={rows}
          rowId={(each) => each.id ?? ""}
          more={query.isPending || query.isFetchingNextPage}
          onEnd={() => query.hasNextPage && void query.fetchNextPage()}
          onOpen={(each) =>
            void navigate({ to: "/p/$project/builds/$id", params: { project, id: each.id ?? "" } })
          }
          tools={
            <>
              <SearchField
                value={search.name ?? ""}
                onChange={(name) => set({ name: name || undefined })}
                label="Environment, in full"
                className="w-48"
              />
              <Labelled label="State" before>
                {(id) => (
                  <Select
                    id={id}
                    className="w-32!"
                    value={search.state ?? ""}
                    onChange={(event) => set({ state: event.target.value || undefined })}
                    options={[{ value: "", label: "all" }, "running", "completed", "failed", "cancelled"]}
                  />
                )}
              </Labelled>
            </>
          }
          empty={
            search.name || search.state ? (
              <Empty title="No build is like this">
                Names are looked for in full: <code>train</code> finds every build of environments called so.
              </Empty>
            ) : (
              <Empty
                title="No image has been built yet"
                command="tilth build pipeline.py --registry HOST/PREFIX"
              >
                Images are made of an environment's lock, without a container engine, and what a registry has
                is not sent again.
              </Empty>
            )
          }
        />
      )}
    </Page>
  );
}

function Running({ project, build }: { project: string; build: Build }) {
  const lost = useLost(build);
  if (lost) return null; // it stands in the list
  return (
    <Card
      title={
        <span className="flex items-center gap-2">
          <Link
            to="/p/$project/builds/$id"
            params={{ project, id: build.id ?? "" }}
            className="hover:underline"
          >
            {build.name}
          </Link>
          <Standing build={build} />
        </span>
      }
      actions={<Took from={build.created_at} to={null} running />}
      flush
    >
      <BuildLog project={project} id={build.id ?? ""} live path={build.log ?? ""} />
    </Card>
  );
}

/** What of an image was sent, and what was there, on one scale for its row. */
function BytesBar({ build }: { build: Build }) {
  const sent = build.bytes_sent ?? 0;
  const reused = build.bytes_reused ?? 0;
  const whole = sent + reused;
  if (!whole) return <span className="text-muted">–</span>;
  return (
    <span
      role="img"
      aria-label={`${bytes(sent)} sent, ${bytes(reused)} reused`}
      title={`${bytes(build.bytes_made ?? 0)} made, ${bytes(sent)} sent, ${bytes(reused)} reused`}
      className="flex h-2.5 w-full max-w-48 gap-px overflow-hidden rounded-full bg-sunken"
    >
      <span className="bg-accent" style={{ width: `${(100 * sent) / whole}%` }} />
      <span className="hatched bg-cached" style={{ width: `${(100 * reused) / whole}%` }} />
    </span>
  );
}

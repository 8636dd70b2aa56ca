import { useInfiniteQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useState } from "react";
import { useProject, useRole } from "@/shell/project";
import { Button } from "@/ui/button";
import { Command } from "@/ui/copy";
import { Dialog } from "@/ui/dialog";
import { SearchField } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { labelOf, type Snapshot, snapshots } from "./queries";

const route = getRouteApi("/p/$project/snapshots");

const CREATE = "tilth snapshots create pipeline.py --name nightly";

export default function SnapshotsPage() {
  const project = useProject();
  const { q = "" } = route.useSearch();
  const navigate = route.useNavigate();
  const editor = useRole("editor");
  const [making, setMaking] = useState(false);
  const query = useInfiniteQuery(snapshots(project));
  const rows = query.data?.pages.flatMap((page) => page.items) ?? [];
  const wanted = q.toLowerCase();
  const shown = rows.filter((each) =>
    [each.name, each.pipeline, each.description ?? "", each.created_by ?? "", ...(each.tags ?? [])]
      .join(" ")
      .toLowerCase()
      .includes(wanted),
  );
  const columns: Column<Snapshot>[] = [
    {
      id: "name",
      header: "Snapshot",
      fixed: true,
      width: 150,
      sort: (row) => row.name,
      cell: (row) => (
        <Link
          to="/p/$project/snapshots/$id"
          params={{ project, id: row.id }}
          className="font-medium text-accent hover:underline"
        >
          {labelOf(row)}
        </Link>
      ),
    },
    {
      id: "pipeline",
      header: "Pipeline",
      width: 120,
      sort: (row) => row.pipeline,
      cell: (row) => row.pipeline,
    },
    {
      id: "made",
      header: "Made",
      width: 90,
      sort: (row) => row.created_at,
      cell: (row) => <Ago at={row.created_at} />,
    },
    { id: "by", header: "By", width: 90, sort: (row) => row.created_by, cell: (row) => row.created_by },
    {
      id: "stack",
      header: "Stack",
      width: 90,
      sort: (row) => row.stack,
      cell: (row) => row.stack || "default",
    },
    {
      id: "where",
      header: "Started",
      width: 120,
      cell: (row) => (row.image ? "in its image" : row.machine ? "on one machine" : "by any runner"),
    },
    {
      id: "tags",
      header: "Tags",
      width: 120,
      cell: (row) => (
        <span className="space-x-1">
          {row.tags?.map((each) => (
            <Badge key={each}>{each}</Badge>
          ))}
        </span>
      ),
    },
    { id: "description", header: "Description", width: 160, grow: 2, cell: (row) => row.description },
  ];
  return (
    <Page
      title="Snapshots"
      actions={
        editor && (
          <Button look="primary" onClick={() => setMaking(true)}>
            <Plus /> Make one
          </Button>
        )
      }
    >
      <Answer query={query}>
        {() => (
          <DataTable
            name="snapshots"
            label="snapshots"
            columns={columns}
            rows={shown}
            rowId={(row) => row.id}
            onEnd={() => query.hasNextPage && void query.fetchNextPage()}
            more={query.isFetchingNextPage}
            onOpen={(row) =>
              void navigate({ to: "/p/$project/snapshots/$id", params: { project, id: row.id } })
            }
            tools={
              <SearchField
                className="w-64 max-w-full"
                label="name, pipeline, tag"
                value={q}
                onChange={(text) => void navigate({ search: { q: text || undefined }, replace: true })}
              />
            }
            empty={
              rows.length ? (
                <Empty title="No snapshot is like this">Try fewer letters.</Empty>
              ) : (
                <Empty title="No snapshots yet" command={CREATE}>
                  A snapshot is a pipeline with its code, locks and stack. The server starts runs of it when
                  nobody is there: by this page, a schedule or a webhook.
                </Empty>
              )
            }
          />
        )}
      </Answer>
      {making && (
        <Dialog
          open
          onOpenChange={setMaking}
          title="Make a snapshot"
          about="It holds the project's code, so it is made where that is: in the project's folder, logged in here."
        >
          <div className="space-y-3 text-sm">
            <p>A pipeline as it is now, under a name:</p>
            <Command>{CREATE}</Command>
            <p>With parameters of its own, for a runner of any machine, or in an image:</p>
            <Command>{`${CREATE} --param rows=1000`}</Command>
            <Command>{`${CREATE} --anywhere`}</Command>
            <Command>{`${CREATE} --runner image`}</Command>
            <p className="text-muted">
              Made again under the same name, it is the next version, and what names it starts that. A version
              with other parameters and the same code is made on the page of a snapshot.
            </p>
          </div>
        </Dialog>
      )}
    </Page>
  );
}

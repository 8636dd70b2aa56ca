import { Link } from "@tanstack/react-router";
import { Download, TriangleAlert } from "lucide-react";
import { ApiError } from "@/api/errors";
import { Card } from "@/ui/card";
import { bytes } from "@/ui/format";
import { ErrorView } from "@/ui/said";
import { type Column, DataTable } from "@/ui/table";
import { fileUrl, type Source } from "./addresses";
import type { Artifact, ArtifactFile, ArtifactFiles } from "./queries";
import { viewsOf } from "./views";

type Row = ArtifactFile & { source: Source };

/** Every file of an artifact, and of what there is to look at beside it. */
export function FileList({
  project,
  artifact,
  told,
}: {
  project: string;
  artifact: Artifact;
  told: ArtifactFiles;
}) {
  const rows: Row[] = [
    ...(told.files ?? []).map((each) => ({ ...each, source: "files" as const })),
    ...(told.visualizations ?? []).map((each) => ({ ...each, source: "visualizations" as const })),
  ];
  const views = new Map(
    viewsOf(told, artifact.length).map((each) => [`${each.source}/${each.file}`, each.id]),
  );
  const columns: Column<Row>[] = [
    {
      id: "name",
      header: "File",
      fixed: true,
      width: 190,
      grow: 4,
      sort: (row) => row.name,
      cell: (row) => {
        const view = views.get(`${row.source}/${row.name}`);
        return view ? (
          <Link
            to="/p/$project/artifacts/$name/$version"
            params={{ project, name: artifact.name, version: String(artifact.version) }}
            search={{ view } as never}
            className="text-accent hover:underline"
            title={row.name}
          >
            {row.name}
          </Link>
        ) : (
          <span title={row.name}>
            {row.name}
            {row.link && <span className="text-muted"> → {row.link}</span>}
          </span>
        );
      },
    },
    {
      id: "size",
      header: "Size",
      width: 80,
      align: "right",
      sort: (row) => row.size,
      cell: (row) => bytes(row.size),
    },
    {
      id: "get",
      header: "Get",
      width: 48,
      grow: 0,
      fixed: true,
      cell: (row) =>
        row.problem || row.link ? null : (
          <a
            href={fileUrl(project, artifact.id, row.source, row.name, true)}
            download
            aria-label={`download ${row.name}`}
            className="inline-flex size-7 items-center justify-center rounded text-muted hover:text-ink"
          >
            <Download className="size-4" />
          </a>
        ),
    },
    {
      id: "of",
      header: "Part",
      width: 110,
      cell: (row) => <span className="text-muted">{row.source === "files" ? "value" : "visualisation"}</span>,
    },
    {
      id: "problem",
      header: "State",
      width: 120,
      grow: 2,
      cell: (row) =>
        row.problem ? (
          <span className="inline-flex items-center gap-1 text-bad" title={row.problem}>
            <TriangleAlert className="size-4 shrink-0" aria-hidden /> {row.problem}
          </span>
        ) : (
          <span className="text-muted">{row.link ? "link" : "there"}</span>
        ),
    },
  ];
  return (
    <div className="space-y-4">
      <Trouble told={told} step={artifact.step} />
      {rows.length === 0 ? (
        <Card>
          <p className="text-sm text-muted">It has no files.</p>
        </Card>
      ) : (
        <DataTable
          name="artifact-files"
          label="files"
          columns={columns}
          rows={rows}
          rowId={(row) => `${row.source}/${row.name}`}
          height="65vh"
        />
      )}
    </div>
  );
}

/** What is wrong with an artifact as a whole, or with some of its files. */
export function Trouble({ told, step }: { told: ArtifactFiles; step: string | undefined }) {
  const broken = (told.files ?? []).filter((each) => each.problem);
  if (!told.problem && broken.length === 0) return null;
  const mend = step ? `run step \`${step}\` again` : "run the pipeline that made it again";
  const why =
    told.problem ||
    broken
      .slice(0, 5)
      .map((each) => `\`${each.name}\`: ${each.problem}`)
      .join("\n");
  return <ErrorView error={new ApiError(422, "LoadError", "this artifact is broken", why, mend)} />;
}

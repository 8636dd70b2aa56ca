import { useNavigate } from "@tanstack/react-router";
import clsx from "clsx";
import { Braces, ChartColumn, FileText, Image, List, PanelsTopLeft, Table2 } from "lucide-react";
import { lazy, Suspense } from "react";
import { Card } from "@/ui/card";
import { bytes } from "@/ui/format";
import { Empty, Loading } from "@/ui/said";
import { Trouble } from "./file-list";
import type { Artifact, ArtifactFiles } from "./queries";
import { artifactVersionRoute } from "./routes";
import { type Kind, type View, viewsOf } from "./views";

const TableView = lazy(() => import("./views/table-view"));
const ItemsView = lazy(() => import("./views/items-view"));
const JsonView = lazy(() => import("./views/json-view"));
const MarkdownView = lazy(() => import("./views/markdown-view"));
const CsvView = lazy(() => import("./views/csv-view"));
const TextView = lazy(() => import("./views/text-view"));
const PageView = lazy(() => import("./views/page-view"));
const PictureView = lazy(() => import("./views/picture-view"));

export type Shown = { project: string; artifact: Artifact; view: View };

const SHOW: Record<Kind, React.ComponentType<Shown>> = {
  table: TableView,
  items: ItemsView,
  json: JsonView,
  markdown: MarkdownView,
  csv: CsvView,
  text: TextView,
  page: PageView,
  picture: PictureView,
};
const ICONS: Record<Kind, typeof Table2> = {
  table: Table2,
  items: List,
  json: Braces,
  markdown: FileText,
  csv: ChartColumn,
  text: FileText,
  page: PanelsTopLeft,
  picture: Image,
};

/** What is in an artifact, one way to look at it at a time. */
export default function Contents({
  project,
  artifact,
  told,
}: {
  project: string;
  artifact: Artifact;
  told: ArtifactFiles;
}) {
  const { view: wanted } = artifactVersionRoute.useSearch();
  const navigate = useNavigate();
  const views = viewsOf(told, artifact.length);
  const view = views.find((each) => each.id === wanted) ?? views[0];
  const Show = view && SHOW[view.kind];
  return (
    <div className="flex min-w-0 flex-col gap-4">
      <Trouble told={told} step={artifact.step} />
      {views.length > 1 && (
        <fieldset className="flex flex-wrap gap-1.5" aria-label="ways to look at it">
          {views.map((each) => {
            const Icon = ICONS[each.kind];
            const on = each === view;
            return (
              <button
                key={each.id}
                type="button"
                aria-pressed={on}
                title={each.file}
                onClick={() => void navigate({ to: ".", search: { view: each.id }, replace: true } as never)}
                className={clsx(
                  "inline-flex max-w-60 items-center gap-1.5 rounded-md border px-2.5 py-1 text-[13px]",
                  on
                    ? "border-transparent bg-accent-soft font-medium"
                    : "border-line-strong bg-surface text-muted hover:text-ink",
                )}
              >
                <Icon className="size-4 shrink-0" aria-hidden />
                <span className="truncate">{each.label}</span>
              </button>
            );
          })}
        </fieldset>
      )}
      {view && Show ? (
        <Suspense fallback={<Loading />}>
          <Show key={view.id} project={project} artifact={artifact} view={view} />
        </Suspense>
      ) : (
        <Card>
          <Nothing artifact={artifact} told={told} />
        </Card>
      )}
    </div>
  );
}

function Nothing({ artifact, told }: { artifact: Artifact; told: ArtifactFiles }) {
  const pickled = /pickle|joblib/.test(told.format ?? "");
  return (
    <Empty title="Nothing here can be shown" command={told.command}>
      {pickled
        ? "It is pickled: reading it would run code of its own, which a server never does. Load it in a step, or copy its files."
        : `It is kept as ${told.format || "files"}, ${bytes(artifact.size)}. A materializer's \`visualize\` may write what people look at.`}
    </Empty>
  );
}

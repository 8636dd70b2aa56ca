import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import clsx from "clsx";
import { Download } from "lucide-react";
import { lazy, Suspense } from "react";
import { useProject } from "@/shell/project";
import { buttonClass } from "@/ui/button";
import { Card, Facts } from "@/ui/card";
import { Command, Digest } from "@/ui/copy";
import { bytes, count, plural } from "@/ui/format";
import { Page } from "@/ui/page";
import { Answer, Empty, Loading } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { Tabs } from "@/ui/tabs";
import { Ago } from "@/ui/time";
import { artifactsPath, downloadUrl, runPath } from "./addresses";
import { FileList } from "./file-list";
import { flat, shown } from "./metadata";
import { type Artifact, type ArtifactFiles, files, lineage, runNames, version } from "./queries";
import { artifactVersionRoute } from "./routes";

const Contents = lazy(() => import("./contents"));
const LineageGraph = lazy(() => import("./lineage-graph"));

export default function ArtifactVersionPage() {
  const project = useProject();
  const { name, version: number } = artifactVersionRoute.useParams();
  const query = useQuery(version(project, name, number));
  const known = useQuery({ ...files(project, query.data?.id ?? ""), enabled: query.data !== undefined });
  return (
    <Page
      title={name}
      crumbs={[
        { label: "Artifacts", to: artifactsPath(project) },
        { label: name, to: `${artifactsPath(project)}/${encodeURIComponent(name)}` },
      ]}
      note={
        <>
          <Badge tone="good">v{number}</Badge>
          {query.data?.tags?.map((each) => (
            <Badge key={each}>{each}</Badge>
          ))}
        </>
      }
      actions={
        query.data &&
        known.data?.here && (
          <a href={downloadUrl(project, query.data.id)} download className={buttonClass()}>
            <Download /> Download
          </a>
        )
      }
    >
      <Answer query={query} loading={<Loading rows={10} />}>
        {(artifact) => <Version project={project} artifact={artifact} known={known} />}
      </Answer>
    </Page>
  );
}

type Known = Parameters<typeof Answer<ArtifactFiles>>[0]["query"];

function Version({ project, artifact, known }: { project: string; artifact: Artifact; known: Known }) {
  const { tab = "contents" } = artifactVersionRoute.useSearch();
  const navigate = useNavigate();
  const open = (next: string) =>
    void navigate({ to: ".", search: { tab: next === "contents" ? undefined : next } } as never);
  return (
    <div
      className={clsx(
        "grid min-w-0 grid-cols-1 gap-4",
        tab !== "lineage" && "xl:grid-cols-[minmax(0,1fr)_22rem]", // a graph wants all the width
      )}
    >
      <div className="min-w-0">
        <Tabs
          label="parts of this artifact"
          open={["lineage", "files"].includes(tab) ? tab : "contents"}
          onOpen={open}
          tabs={[
            {
              id: "contents",
              label: "Contents",
              content: (
                <Answer query={known}>
                  {(told) =>
                    told.here ? (
                      <Suspense fallback={<Loading />}>
                        <Contents project={project} artifact={artifact} told={told} />
                      </Suspense>
                    ) : (
                      <Away told={told} />
                    )
                  }
                </Answer>
              ),
            },
            {
              id: "lineage",
              label: "Lineage",
              content: (
                <Suspense fallback={<Loading />}>
                  <LineageGraph project={project} artifact={artifact} />
                </Suspense>
              ),
            },
            {
              id: "files",
              label: (
                <>
                  Files
                  {known.data?.files && (
                    <span className="ml-1 text-xs text-muted">{count(known.data.files.length)}</span>
                  )}
                </>
              ),
              content: (
                <Answer query={known}>
                  {(told) =>
                    told.here ? (
                      <FileList project={project} artifact={artifact} told={told} />
                    ) : (
                      <Away told={told} />
                    )
                  }
                </Answer>
              ),
            },
          ]}
        />
      </div>
      <aside
        className={clsx("flex min-w-0 flex-col gap-4", tab === "lineage" && "xl:grid xl:grid-cols-2")}
        aria-label="about this artifact"
      >
        <About project={project} artifact={artifact} known={known.data} />
        <Metadata artifact={artifact} />
      </aside>
    </div>
  );
}

function Away({ told }: { told: ArtifactFiles }) {
  return (
    <Card>
      <Empty title="Its files are not on this server" command={told.command}>
        They are in {told.elsewhere?.place}. Whoever may read that store copies them with this command.
      </Empty>
    </Card>
  );
}

function About({
  project,
  artifact,
  known,
}: {
  project: string;
  artifact: Artifact;
  known: ArtifactFiles | undefined;
}) {
  const { data: runs } = useQuery(runNames(project, artifact.run ? [artifact.run] : []));
  const { data: near } = useQuery(lineage(project, artifact.id, 1));
  const run = runs?.get(artifact.run ?? "");
  return (
    <Card title="About">
      <Facts
        items={[
          [
            "made by",
            run ? (
              <Link
                key="run"
                to={runPath(project, run, artifact.step)}
                className="text-accent hover:underline"
              >
                {run}
                {artifact.step && `/${artifact.step}`}
              </Link>
            ) : (
              <span key="gone" className="text-muted">
                {artifact.run ? "a deleted run" : "nobody knows"}
                {artifact.step && `, step ${artifact.step}`}
              </span>
            ),
          ],
          ["created", <Ago key="at" at={artifact.created_at} />],
          ["type", <code key="type">{artifact.type}</code>],
          artifact.format ? ["format", artifact.format] : null,
          [
            "size",
            <span key="size" title={plural(artifact.size ?? 0, "byte")}>
              {bytes(artifact.size)}
            </span>,
          ],
          artifact.length !== null && artifact.length !== undefined
            ? ["items", count(artifact.length)]
            : null,
          ["digest", <Digest key="digest" value={artifact.digest} />],
          [
            "used by",
            near === undefined ? (
              "…"
            ) : near.uses.length === 0 ? (
              <span key="none" className="text-muted">
                no step
              </span>
            ) : (
              <ul key="uses" className="space-y-1">
                {near.uses.slice(0, 10).map((each) => (
                  <li key={each.step_run} className="flex flex-wrap items-center gap-x-2">
                    <Link
                      to={runPath(project, each.run, each.step)}
                      className="min-w-0 break-words text-accent hover:underline"
                      title={`as ${each.inputs.join(", ")}`}
                    >
                      {each.run || "a deleted run"}/{each.step}
                    </Link>
                    <State state={each.state} bare />
                  </li>
                ))}
                {near.uses.length > 10 && (
                  <li className="text-muted">and {count(near.uses.length - 10)} more</li>
                )}
              </ul>
            ),
          ],
        ]}
      />
      {known && (
        <div className="mt-4 min-w-0">
          <Command>{known.command}</Command>
        </div>
      )}
    </Card>
  );
}

function Metadata({ artifact }: { artifact: Artifact }) {
  const told = flat(artifact.metadata);
  return (
    <Card title="Metadata">
      {told.length === 0 ? (
        <p className="text-sm text-muted">
          None. A step adds some with <code>log_metadata(…, output="NAME")</code>.
        </p>
      ) : (
        <div className="max-h-96 overflow-y-auto" tabIndex={told.length > 12 ? 0 : undefined}>
          <Facts
            items={told.slice(0, 500).map(([key, value]) => [
              key,
              <span key={key} className={typeof value === "number" ? "tabular-nums" : ""}>
                {shown(value).slice(0, 500)}
              </span>,
            ])}
          />
        </div>
      )}
    </Card>
  );
}

import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useMemo } from "react";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Command } from "@/ui/copy";
import { plural } from "@/ui/format";
import { Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty, Loading, Skeleton } from "@/ui/said";
import { State } from "@/ui/state";
import { Tabs } from "@/ui/tabs";
import { Ago } from "@/ui/time";
import { LayerBars, SizeBars } from "./bars";
import { Lanes } from "./cards";
import { EnvironmentList } from "./list";
import { MatrixView, type Show } from "./matrix-view";
import { drift, Findings, keyOf, Labelled, vulnerabilities } from "./parts";
import { type Passage, passage as passageQuery, pipelineNames, runsOf } from "./queries";
import type { EnvironmentsSearch } from "./routes";

const route = getRouteApi("/p/$project/environments");

export default function EnvironmentsPage() {
  const project = useProject();
  const search = route.useSearch();
  const navigate = useNavigate({ from: "/p/$project/environments" });
  const set = (change: Partial<EnvironmentsSearch>, replace = false) =>
    void navigate({ search: (before) => ({ ...before, ...change }), replace });
  return (
    <Page title="Environments">
      <Tabs
        label="environments"
        open={search.tab ?? "sides"}
        onOpen={(id) => set({ tab: id === "all" ? "all" : undefined })}
        tabs={[
          {
            id: "sides",
            label: "Side by side",
            content: <SideBySide project={project} search={search} set={set} />,
          },
          {
            id: "all",
            label: "All environments",
            content: <EnvironmentList project={project} search={search} set={set} />,
          },
        ]}
      />
    </Page>
  );
}

const SHOWN: Record<string, Show> = { all: "all", shared: "same", alone: "alone" };

type Set = (change: Partial<EnvironmentsSearch>, replace?: boolean) => void;

function SideBySide({ project, search, set }: { project: string; search: EnvironmentsSearch; set: Set }) {
  const recent = useQuery(runsOf(project, "", 1));
  const known = useQuery(pipelineNames(project));
  const pipelines = useMemo(() => {
    const found = new Set((known.data?.items ?? []).map((each) => each.name));
    if (search.pipeline) found.add(search.pipeline);
    return [...found].sort();
  }, [known.data, search.pipeline]);
  const newest = recent.data?.items[0]?.pipeline ?? "";
  const pipeline = search.pipeline ?? (search.run ? "" : newest);
  const found = useQuery(passageQuery(project, pipeline, search.run ?? ""));
  const of = pipeline || found.data?.pipeline || "";
  const runs = useQuery({ ...runsOf(project, of), enabled: of !== "" });
  if (recent.data?.items.length === 0 && !search.pipeline && !search.run) {
    return (
      <Card>
        <Empty title="No run has been recorded yet" command="tilth run pipeline.py">
          A run records every environment that its code passes through: the client's, those of its steps, the
          builder's. They stand here side by side.
        </Empty>
      </Card>
    );
  }
  const options = (runs.data?.items ?? []).map((each) => ({
    value: each.id,
    label: `${each.name} · ${each.state}`,
  }));
  if (search.run && !options.some((each) => each.value === search.run) && found.data) {
    options.unshift({ value: search.run, label: found.data.run.name });
  }
  return (
    <div className="space-y-4">
      <div className="flex flex-wrap items-end gap-3">
        <Labelled label="Pipeline">
          {(id) => (
            <Select
              id={id}
              className="min-w-44"
              value={of}
              onChange={(event) => set({ pipeline: event.target.value, run: undefined, columns: undefined })}
              options={of ? pipelines.concat(pipelines.includes(of) ? [] : [of]) : [""]}
            />
          )}
        </Labelled>
        <Labelled label="Run">
          {(id) => (
            <Select
              id={id}
              className="min-w-44"
              value={search.run ?? ""}
              onChange={(event) =>
                set({ run: event.target.value || undefined, pipeline: of, columns: undefined })
              }
              options={[{ value: "", label: "the newest" }, ...options]}
            />
          )}
        </Labelled>
        {found.data && (
          <p className="flex flex-wrap items-center gap-2 pb-1.5 text-sm text-muted">
            <State state={found.data.run.state} />
            {found.data.run.name}, <Ago at={found.data.run.created_at} />
            {found.data.run.client && <span>· tilth {found.data.run.client.tilth}</span>}
          </p>
        )}
      </div>
      <Answer
        query={{
          ...found,
          isPending: found.isPending || recent.isPending,
          error: found.error ?? recent.error,
        }}
        loading={<Placeholder />}
      >
        {(told) => <Told project={project} passage={told} search={search} set={set} />}
      </Answer>
    </div>
  );
}

function Told({
  project,
  passage,
  search,
  set,
}: {
  project: string;
  passage: Passage;
  search: EnvironmentsSearch;
  set: Set;
}) {
  const environments = passage.environments;
  const columns = useMemo(() => {
    const usual = environments.filter((each) => !["server", "builder"].includes(each.role)).map(keyOf);
    return search.columns === undefined ? usual : search.columns.split(",");
  }, [environments, search.columns]);
  const images = environments
    .filter((each) => each.build?.layers?.length)
    .map((each) => ({ key: each.build?.id ?? "", layers: each.build?.layers ?? [], name: each.name }));
  const distinct = images.filter((each, at) => images.findIndex((one) => one.key === each.key) === at);
  const findings = environments.flatMap((each) =>
    [...vulnerabilities(each.check), ...drift(each.check)].map((found) => ({
      ...found,
      environment: each.name,
    })),
  );
  // What the command looks at: environments that steps run in.
  const unchecked = environments.filter(
    (each) =>
      (each.role === "execution" || (each.role === "client" && each.steps.length > 0)) &&
      !each.check?.advisories,
  );
  return (
    <div className="space-y-4">
      <Lanes project={project} passage={passage} />
      <MatrixView
        project={project}
        environments={environments}
        columns={columns}
        onColumns={(keys) => set({ columns: keys.join(",") }, true)}
        show={SHOWN[search.show ?? ""] ?? "differs"}
        onShow={(show) =>
          set({ show: show === "differs" ? undefined : show === "same" ? "shared" : show }, true)
        }
        text={search.q ?? ""}
        onText={(text) => set({ q: text || undefined }, true)}
      />
      <SizeBars project={project} environments={environments} />
      {distinct.length > 0 ? (
        <LayerBars
          project={project}
          images={distinct}
          names={new Map(distinct.map((each) => [each.key, each.name]))}
        />
      ) : (
        <Card title="Image layers, to scale">
          <p className="mb-2 text-sm text-muted">
            No image of these environments has been built. Layers are drawn to scale once one is:
          </p>
          <Command>tilth build pipeline.py</Command>
        </Card>
      )}
      <Card title="Known vulnerabilities and drift">
        {findings.length === 0 && unchecked.length === 0 && (
          <p className="text-sm text-muted">Nothing was found the last time that these were checked.</p>
        )}
        {findings.length > 0 && <Findings findings={findings} />}
        {unchecked.length > 0 && (
          <div className="mt-2 space-y-2 text-sm">
            <p className="text-muted">
              {plural(unchecked.length, "environment")} not checked for known vulnerabilities:{" "}
              {unchecked.map((each) => each.name).join(", ")}. Packages are looked up in a database of
              advisories from where you work, and what is found is shown here with its date.
            </p>
            <Command>TILTH_ADVISORIES=https://api.osv.dev tilth env check pipeline.py</Command>
          </div>
        )}
      </Card>
    </div>
  );
}

function Placeholder() {
  return (
    <div className="space-y-4">
      <div className="grid gap-4 md:grid-cols-2 xl:grid-cols-4">
        {["client", "execution", "server", "builder"].map((each) => (
          <div key={each} className="space-y-2">
            <Skeleton className="h-5 w-32" />
            <Skeleton className="h-44 w-full rounded-lg" />
          </div>
        ))}
      </div>
      <Loading rows={8} />
    </div>
  );
}

import type { ReactNode } from "react";
import { Card, Facts } from "@/ui/card";
import { Digest } from "@/ui/copy";
import { exact } from "@/ui/format";
import { Badge } from "@/ui/state";
import { To } from "./links";
import type { Run } from "./model";
import { Json } from "./values";

/** What a run was given, what it logged, and where it came from. */
export function DetailsTab({ run }: { run: Run }) {
  const client = run.client;
  return (
    <div className="grid items-start gap-4 lg:grid-cols-2">
      <Values title="Parameters" values={run.parameters} none="The pipeline takes none, or was given none." />
      <Values
        title="Metadata"
        values={run.metadata}
        none={
          <>
            Nothing was logged for the run; a step does so with <code>log_metadata(…, run=True)</code>.
          </>
        }
      />
      <Card title="Code">
        <Facts
          items={[
            [
              "pipeline",
              <To key="pipeline" path={["pipelines", run.pipeline]}>
                {run.pipeline}
              </To>,
            ],
            Boolean(run.pipeline_digest) && [
              "compiled",
              <Digest key="digest" value={run.pipeline_digest ?? ""} />,
            ],
            Boolean(run.bundle) && ["bundle", <Digest key="bundle" value={run.bundle ?? ""} />],
            client?.git && [
              "git",
              <span key="git" className="flex flex-wrap items-center gap-x-2">
                {client.git.branch} <Digest value={client.git.commit} length={10} />
                {client.git.dirty && <Badge tone="wait">with changes of its own</Badge>}
              </span>,
            ],
            run.code && ["delivered", run.code.how ?? "bundle"],
            Boolean(run.snapshot) && [
              "snapshot",
              <To key="snapshot" path={["snapshots", run.snapshot ?? ""]}>
                the one it was started from
              </To>,
            ],
            typeof run.options?.rerun_of === "string" && [
              "again",
              <To key="again" path={["runs", run.options.rerun_of]}>
                {run.options.rerun_of}
              </To>,
            ],
          ]}
        />
      </Card>
      <Card title="Place">
        <Facts
          items={[
            ["id", <Digest key="id" value={run.id} length={36} />],
            ["began", exact(run.started_at) || "–"],
            ["ended", exact(run.finished_at) || "–"],
            ["stack", run.stack || "the machine it was started on"],
            run.orchestrator && ["orchestrator", run.orchestrator.flavor],
            run.artifact_store && ["artifacts", run.artifact_store.component || run.artifact_store.flavor],
            client && ["client", `Python ${client.python}, ${client.platform}, tilth ${client.tilth}`],
            client && [
              "interpreter",
              <code key="executable" className="break-all">
                {client.executable}
              </code>,
            ],
            (run.tags?.length ?? 0) > 0 && [
              "tags",
              run.tags?.map((each) => <Badge key={each}>{each}</Badge>),
            ],
            Object.keys(run.options ?? {}).length > 0 && [
              "options",
              <Json key="options" value={run.options} />,
            ],
          ]}
        />
      </Card>
    </div>
  );
}

function Values({
  title,
  values,
  none,
}: {
  title: string;
  values: Record<string, unknown> | undefined;
  none: ReactNode;
}) {
  const entries = Object.entries(values ?? {});
  return (
    <Card title={title}>
      {entries.length ? (
        <Facts
          items={entries.map(([name, value]): [string, ReactNode] => [
            name,
            <Json key={name} value={value} />,
          ])}
        />
      ) : (
        <p className="text-sm text-muted">{none}</p>
      )}
    </Card>
  );
}

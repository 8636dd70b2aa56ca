import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Play, RotateCcw, Square } from "lucide-react";
import { useEffect, useState } from "react";
import { api, data } from "@/api/client";
import { ApiError } from "@/api/errors";
import { useProject, useRole } from "@/shell/project";
import { Button } from "@/ui/button";
import { Command } from "@/ui/copy";
import { Confirm, Dialog } from "@/ui/dialog";
import { ErrorView } from "@/ui/said";
import { State } from "@/ui/state";
import { toast } from "@/ui/toast";
import { quoted } from "./commands";
import { LINK, To } from "./links";
import { isFinal, type RunGraph, runState } from "./model";
import { graphKey } from "./queries";

/** What can be done with a run: by the server where it can, else by the command to type. */
export function Actions({ graph }: { graph: RunGraph }) {
  const editor = useRole("editor");
  const over = isFinal(graph.run.state);
  const state = runState(graph);
  const goesOn = state === "failed" || state === "cancelled" || state === "interrupted";
  return (
    <>
      {editor && !over && graph.driven && <Cancel graph={graph} />}
      {goesOn && <Resume graph={graph} />}
      <Rerun graph={graph} editor={editor} />
    </>
  );
}

function Cancel({ graph }: { graph: RunGraph }) {
  const project = useProject();
  const client = useQueryClient();
  const name = graph.run.name ?? "";
  const cancel = async () => {
    const told = await data(
      api.POST("/api/v1/projects/{project}/runs/{run}/cancel", {
        params: { path: { project, run: graph.run.id } },
      }),
    );
    void client.invalidateQueries({ queryKey: graphKey(project, name) });
    if (!told.held) {
      throw new ApiError(
        409,
        "Conflict",
        "nobody drives this run any more",
        "its driver was killed, or lost the server; there is nothing to stop",
        `\`tilth runs resume ${name}\` goes on with it, \`tilth runs cancel ${name}\` ends it`,
      );
    }
    toast.done(`${name} is asked to stop; its driver answers within seconds`);
  };
  return (
    <Confirm
      title={`Cancel ${name}?`}
      action="Cancel the run"
      onConfirm={cancel}
      trigger={
        <Button look="danger">
          <Square /> Cancel
        </Button>
      }
    >
      Steps that run now are stopped. What has completed is kept, and a resumed run goes on from there.
    </Confirm>
  );
}

function Resume({ graph }: { graph: RunGraph }) {
  const [open, setOpen] = useState(false);
  const name = graph.run.name ?? "";
  return (
    <>
      <Button onClick={() => setOpen(true)}>
        <Play /> Resume
      </Button>
      <Dialog open={open} onOpenChange={setOpen} title={`Resume ${name}`}>
        <div className="space-y-3 text-sm">
          <p>
            It goes on with the run’s own code and environments; steps that have completed are not run again.
            Type this on the machine that the run was started on:
          </p>
          <Command>{`tilth runs resume ${quoted(name)}`}</Command>
          {graph.run.snapshot && (
            <p className="text-muted">
              A runner drove it. Where you cannot reach that machine, run it again: what has completed is
              reused.
            </p>
          )}
        </div>
      </Dialog>
    </>
  );
}

function Rerun({ graph, editor }: { graph: RunGraph; editor: boolean }) {
  const [open, setOpen] = useState(false);
  const name = graph.run.name ?? "";
  const snapshot = graph.run.snapshot;
  return (
    <>
      <Button onClick={() => setOpen(true)}>
        <RotateCcw /> Rerun
      </Button>
      <Dialog open={open} onOpenChange={setOpen} title={`Run ${name} again`}>
        <div className="space-y-4 text-sm">
          {snapshot && editor && <Launch graph={graph} snapshot={snapshot} />}
          <div className="space-y-3">
            <p>
              {snapshot
                ? "Or on your machine, with the code and the locks of this run:"
                : "This run was started by a client, and its steps need what is on that machine. Type this there: a new run with the code and the locks of this one, that reuses what has not changed."}
            </p>
            <Command>{`tilth runs rerun ${quoted(name)}`}</Command>
            <p>Every step, whatever was made before:</p>
            <Command>{`tilth runs rerun ${quoted(name)} --no-cache`}</Command>
          </div>
        </div>
      </Dialog>
    </>
  );
}

/** Ask for a run of the snapshot, with what the run was asked for with, and go to it when a runner has started it. */
function Launch({ graph, snapshot }: { graph: RunGraph; snapshot: string }) {
  const project = useProject();
  const navigate = useNavigate();
  const [asked, setAsked] = useState("");
  const launch = useMutation({
    mutationFn: async () => {
      const before = await data(
        api.GET("/api/v1/projects/{project}/launches", {
          params: { path: { project }, query: { run: graph.run.id, limit: 1 } },
        }),
      );
      return data(
        api.POST("/api/v1/projects/{project}/snapshots/{id}/runs", {
          params: { path: { project, id: snapshot } },
          body: {
            parameters: before.items[0]?.parameters ?? {},
            key: crypto.randomUUID?.() ?? `${Date.now()}`,
          },
        }),
      );
    },
    onSuccess: (told) => setAsked(told.id),
  });
  const waiting = useQuery({
    queryKey: ["launch", project, asked],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/launches/{id}", { params: { path: { project, id: asked } } })),
    enabled: asked !== "",
    refetchInterval: (query) =>
      ["started", "ended", "failed", "cancelled"].includes(query.state.data?.state ?? "") ? false : 1000,
  });
  const told = waiting.data;
  const run = told && (told.state === "started" || told.state === "ended") ? told.run : "";
  useEffect(() => {
    if (run) void navigate({ to: "/p/$project/runs/$run", params: { project, run } });
  }, [run, navigate, project]);
  return (
    <div className="space-y-3 border-b border-line pb-4">
      <p>
        It was started from{" "}
        <To path={["snapshots", snapshot]} className={LINK}>
          a snapshot
        </To>
        , so a runner can do so again, with the same parameters.
      </p>
      {launch.error !== null && <ErrorView error={launch.error} />}
      {told?.failure && (
        <ErrorView
          error={
            new ApiError(
              422,
              told.failure.type || "",
              told.failure.message || told.failure.reason,
              "",
              told.failure.mend,
            )
          }
        />
      )}
      {asked && !told?.failure ? (
        <p role="status" className="flex items-center gap-2">
          <State state={told?.state === "leased" ? "running" : "queued"} />
          {told?.state === "leased" ? "A runner has it, and starts it." : "It waits for a runner."}
        </p>
      ) : (
        <Button look="primary" busy={launch.isPending} onClick={() => launch.mutate()}>
          <Play /> Run it again on a runner
        </Button>
      )}
    </div>
  );
}

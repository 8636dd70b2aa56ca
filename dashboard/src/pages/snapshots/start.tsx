import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useMemo } from "react";
import { api, data } from "@/api/client";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Command } from "@/ui/copy";
import { Form } from "@/ui/form/form";
import { ParameterFields, useParameters } from "@/ui/form/parameter-fields";
import { asText, signatureOf } from "@/ui/form/values";
import { toast } from "@/ui/toast";
import { labelOf, type Snapshot } from "./queries";

/** The form that has a run of a snapshot started, and the command that does the same. */
export function StartForm({ snapshot }: { snapshot: Snapshot }) {
  const project = useProject();
  const client = useQueryClient();
  const signature = useMemo(() => signatureOf(snapshot.signature), [snapshot.signature]);
  const taken = useMemo(() => snapshot.parameters ?? {}, [snapshot.parameters]);
  const form = useParameters(signature, taken);
  const start = useMutation({
    mutationFn: (parameters: Record<string, unknown>) =>
      data(
        api.POST("/api/v1/projects/{project}/snapshots/{id}/runs", {
          params: { path: { project, id: snapshot.id } },
          // One key for one press of the button, however often the request is sent.
          body: { parameters, key: newKey() },
        }),
      ),
    onSuccess: () => {
      toast.done(`A run of ${labelOf(snapshot)} is asked for.`);
      return client.invalidateQueries({ queryKey: ["launches", project] });
    },
  });
  let command = `tilth snapshots run ${labelOf(snapshot)} --project ${quoted(project)}`;
  try {
    for (const [name, value] of Object.entries(form.given())) {
      command += ` --param ${quoted(`${name}=${asText(value)}`)}`;
    }
  } catch {
    command = "";
  }
  return (
    <Card title="Start a run">
      <Form action="Start a run" onSubmit={async () => start.mutateAsync(form.given())}>
        <ParameterFields form={form} />
      </Form>
      {command && (
        <div className="mt-4 space-y-1 border-t border-line pt-3">
          <p className="text-xs text-muted">The same from a command line:</p>
          <Command>{command}</Command>
        </div>
      )}
    </Card>
  );
}

/** A word as a shell takes it. */
export function quoted(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function newKey(): string {
  // `randomUUID` is there over HTTPS and on this machine alone.
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return [...bytes].map((each) => each.toString(16).padStart(2, "0")).join("");
}

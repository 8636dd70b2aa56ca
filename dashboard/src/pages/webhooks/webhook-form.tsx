import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "@/api/client";
import { TargetFields, useTarget } from "@/pages/snapshots/target";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Command } from "@/ui/copy";
import { Check, Form } from "@/ui/form/form";
import { ParameterFields } from "@/ui/form/parameter-fields";
import type { Webhook } from "./queries";

/** Makes a webhook, or changes what its calls start. */
export function WebhookForm({
  before,
  onDone,
  onCancel,
}: {
  before?: Webhook;
  onDone: (name: string, secret: string) => void | Promise<void>;
  onCancel: () => void;
}) {
  const project = useProject();
  const client = useQueryClient();
  const [allowed, setAllowed] = useState<ReadonlySet<string>>(new Set(before?.allowed ?? []));
  const target = useTarget(project, before);
  const { form, signature } = target;

  const submit = async () => {
    const snapshot = target.chosen();
    const body = {
      snapshot,
      parameters: form.given(),
      allowed: [...allowed].filter((each) => each in signature),
    };
    let secret = "";
    if (before) {
      await data(
        api.PATCH("/api/v1/projects/{project}/webhooks/{name}", {
          params: { path: { project, name: before.name } },
          body,
        }),
      );
    } else {
      const made = await data(
        api.POST("/api/v1/projects/{project}/webhooks", {
          params: { path: { project } },
          body: { ...body, name: target.name.trim() },
        }),
      );
      secret = made.secret;
    }
    await client.invalidateQueries({ queryKey: ["webhooks", project] });
    await onDone(before?.name ?? target.name.trim(), secret);
  };

  if (target.hasNone) {
    return (
      <Card title="A snapshot comes first">
        <div className="space-y-3 text-sm">
          <p>
            A webhook starts runs of a snapshot, and this project has none yet. Make one where the code is:
          </p>
          <Command>tilth snapshots create pipeline.py --name deploy</Command>
        </div>
      </Card>
    );
  }
  const names = Object.keys(signature);
  return (
    <Card className="max-w-3xl">
      <Form action={before ? "Save" : "Make the webhook"} onSubmit={submit} onCancel={onCancel}>
        <TargetFields target={target} placeholder="deploy" />
        <section className="space-y-3 border-t border-line pt-4">
          <h3 className="text-sm font-semibold">Parameters of its runs</h3>
          <ParameterFields form={form} />
        </section>
        {names.length > 0 && (
          <fieldset className="min-w-0 border-t border-line pt-4">
            <legend className="float-left mb-1 w-full text-sm font-semibold">A request may set</legend>
            <div className="clear-both flex flex-wrap gap-x-6 gap-y-2 pt-1">
              {names.map((each) => (
                <Check
                  key={each}
                  name={`allow-${each}`}
                  label={<code>{each}</code>}
                  checked={allowed.has(each)}
                  onChange={(on) => {
                    const next = new Set(allowed);
                    if (on) next.add(each);
                    else next.delete(each);
                    setAllowed(next);
                  }}
                />
              ))}
            </div>
            <p className="mt-2 text-xs text-muted">A request that sets any other is refused.</p>
          </fieldset>
        )}
      </Form>
    </Card>
  );
}

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useMemo, useState } from "react";
import { api, data } from "@/api/client";
import { newest } from "@/pages/snapshots/queries";
import { useProject } from "@/shell/project";
import { Card } from "@/ui/card";
import { Command } from "@/ui/copy";
import { Check, Field, Form } from "@/ui/form/form";
import { ParameterFields, useParameters } from "@/ui/form/parameter-fields";
import { signatureOf } from "@/ui/form/values";
import { Wrong } from "@/ui/form/wrong";
import { Input, Select } from "@/ui/input";
import type { Webhook } from "./queries";

const NONE: Record<string, unknown> = {};

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
  const known = useQuery(newest(project));
  const [name, setName] = useState(before?.name ?? "");
  const [snapshot, setSnapshot] = useState(before?.snapshot ?? "");
  const [allowed, setAllowed] = useState<ReadonlySet<string>>(new Set(before?.allowed ?? []));
  const newestOnes = known.data ?? [];
  const wanted = newestOnes.find((each) => each.name === snapshot) ?? (snapshot ? undefined : newestOnes[0]);
  const signature = useMemo(() => signatureOf(wanted?.signature), [wanted]);
  const taken = useMemo(() => wanted?.parameters ?? NONE, [wanted]);
  const form = useParameters(signature, taken, before?.parameters);

  const submit = async () => {
    if (!wanted) throw new Wrong({ snapshot: "Choose a snapshot." });
    const body = {
      snapshot: wanted.name,
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
          body: { ...body, name: name.trim() },
        }),
      );
      secret = made.secret;
    }
    await client.invalidateQueries({ queryKey: ["webhooks", project] });
    await onDone(before?.name ?? name.trim(), secret);
  };

  if (known.data && newestOnes.length === 0) {
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
        <div className="grid gap-4 sm:grid-cols-2">
          {!before && (
            <Field name="name" label="Name" required hint="Letters, digits, hyphens, dots and underscores.">
              {(field) => (
                <Input
                  {...field}
                  value={name}
                  placeholder="deploy"
                  maxLength={100}
                  spellCheck={false}
                  autoComplete="off"
                  onChange={(event) => setName(event.target.value)}
                />
              )}
            </Field>
          )}
          <Field name="snapshot" label="Snapshot" required hint="Its newest version is started.">
            {(field) => (
              <Select
                {...field}
                value={wanted?.name ?? snapshot}
                onChange={(event) => setSnapshot(event.target.value)}
                options={[
                  ...(snapshot && !wanted
                    ? [{ value: snapshot, label: `${snapshot} (not there any more)` }]
                    : []),
                  ...newestOnes.map((each) => ({
                    value: each.name,
                    label: `${each.name} (pipeline ${each.pipeline})`,
                  })),
                ]}
              />
            )}
          </Field>
        </div>
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

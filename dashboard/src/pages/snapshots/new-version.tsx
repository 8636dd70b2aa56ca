import { useMutation, useQueryClient } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { useMemo, useState } from "react";
import { api, data } from "@/api/client";
import { useProject } from "@/shell/project";
import { Dialog } from "@/ui/dialog";
import { Field, Form } from "@/ui/form/form";
import { ParameterFields, useParameters } from "@/ui/form/parameter-fields";
import { TextArea, words } from "@/ui/form/texts";
import { signatureOf } from "@/ui/form/values";
import { Wrong } from "@/ui/form/wrong";
import { Input, Select } from "@/ui/input";
import { toast } from "@/ui/toast";
import { labelOf, type Snapshot } from "./queries";

const NONE: Record<string, unknown> = {};

/** Makes the next version of a snapshot with other parameters or options: the server needs no code for that. */
export function NewVersion({ snapshot, onClose }: { snapshot: Snapshot; onClose: () => void }) {
  const project = useProject();
  const client = useQueryClient();
  const navigate = useNavigate();
  const signature = useMemo(() => signatureOf(snapshot.signature), [snapshot.signature]);
  const form = useParameters(signature, NONE, snapshot.parameters);
  const before = (snapshot.options ?? {}) as { cache?: boolean; failure_mode?: string; workers?: number };
  const [cache, setCache] = useState(before.cache === false ? "no" : "");
  const [mode, setMode] = useState(before.failure_mode ?? "");
  const [workers, setWorkers] = useState(before.workers ? String(before.workers) : "");
  const [description, setDescription] = useState(snapshot.description ?? "");
  const [tags, setTags] = useState((snapshot.tags ?? []).join(", "));
  const make = useMutation({
    mutationFn: (body: {
      parameters: Record<string, unknown>;
      options: Record<string, unknown>;
      description: string;
      tags: string[];
    }) =>
      data(
        api.POST("/api/v1/projects/{project}/snapshots/{id}/versions", {
          params: { path: { project, id: snapshot.id } },
          body,
        }),
      ),
    onSuccess: async (made) => {
      toast.done(`${labelOf(made)} is made.`);
      await client.invalidateQueries({ queryKey: ["snapshots", project] });
      onClose();
      await navigate({ to: "/p/$project/snapshots/$id", params: { project, id: made.id } });
    },
  });
  const submit = async () => {
    const { cache: _c, failure_mode: _f, workers: _w, ...kept } = before;
    if (workers && !/^[1-9]\d{0,3}$/.test(workers)) throw new Wrong({ workers: "Give a number from 1." });
    await make.mutateAsync({
      parameters: form.given(),
      options: {
        ...kept,
        ...(cache ? { cache: false } : {}),
        ...(mode ? { failure_mode: mode } : {}),
        ...(workers ? { workers: Number(workers) } : {}),
      },
      description,
      tags: words(tags),
    });
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => open || onClose()}
      wide
      title={`The next version of ${snapshot.name}`}
      about={`The same code, locks and stack as ${labelOf(snapshot)}; schedules and webhooks start it from now on.`}
    >
      <Form action="Make it" onCancel={onClose} onSubmit={submit}>
        <ParameterFields form={form} whose="the pipeline" />
        <div className="grid gap-4 sm:grid-cols-3">
          <Field name="cache" label="What was run before">
            {(field) => (
              <Select
                {...field}
                value={cache}
                onChange={(event) => setCache(event.target.value)}
                options={[
                  { value: "", label: "is reused, as the pipeline says" },
                  { value: "no", label: "is run again" },
                ]}
              />
            )}
          </Field>
          <Field name="failure_mode" label="When a step fails">
            {(field) => (
              <Select
                {...field}
                value={mode}
                onChange={(event) => setMode(event.target.value)}
                options={[
                  { value: "", label: "as the pipeline says" },
                  { value: "stop_new", label: "start no others" },
                  { value: "fail_fast", label: "stop all at once" },
                  { value: "continue", label: "go on with what needs it not" },
                ]}
              />
            )}
          </Field>
          <Field name="workers" label="Steps at once">
            {(field) => (
              <Input
                {...field}
                inputMode="numeric"
                placeholder="as many as there is room for"
                value={workers}
                onChange={(event) => setWorkers(event.target.value)}
              />
            )}
          </Field>
        </div>
        <WordFields description={description} onDescription={setDescription} tags={tags} onTags={setTags} />
      </Form>
    </Dialog>
  );
}

/** What people say of a snapshot. */
export function WordFields({
  description,
  onDescription,
  tags,
  onTags,
}: {
  description: string;
  onDescription: (text: string) => void;
  tags: string;
  onTags: (text: string) => void;
}) {
  return (
    <>
      <Field name="description" label="Description">
        {(field) => (
          <TextArea {...field} value={description} onChange={(event) => onDescription(event.target.value)} />
        )}
      </Field>
      <Field name="tags" label="Tags" hint="By commas.">
        {(field) => <Input {...field} value={tags} onChange={(event) => onTags(event.target.value)} />}
      </Field>
    </>
  );
}

/** Changes a snapshot's description and tags. */
export function Describe({ snapshot, onClose }: { snapshot: Snapshot; onClose: () => void }) {
  const project = useProject();
  const client = useQueryClient();
  const [description, setDescription] = useState(snapshot.description ?? "");
  const [tags, setTags] = useState((snapshot.tags ?? []).join(", "));
  const submit = async () => {
    await data(
      api.PATCH("/api/v1/projects/{project}/snapshots/{id}/words", {
        params: { path: { project, id: snapshot.id } },
        body: { description, tags: words(tags) },
      }),
    );
    await client.invalidateQueries({ queryKey: ["snapshot", project, snapshot.id] });
    await client.invalidateQueries({ queryKey: ["snapshots", project] });
    onClose();
  };
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title={`Describe ${labelOf(snapshot)}`}>
      <Form action="Save" onCancel={onClose} onSubmit={submit}>
        <WordFields description={description} onDescription={setDescription} tags={tags} onTags={setTags} />
      </Form>
    </Dialog>
  );
}

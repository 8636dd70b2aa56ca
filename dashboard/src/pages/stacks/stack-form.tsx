import { useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "@/api/client";
import { useProject } from "@/shell/project";
import { Dialog } from "@/ui/dialog";
import { Field, Form } from "@/ui/form/form";
import { Input, Select } from "@/ui/input";
import { toast } from "@/ui/toast";
import { type Component, type ComponentType, type Stack, typeLabel } from "./queries";

/** Makes a stack of components that are there, or gives one others. */
export function StackForm({
  before,
  of,
  types,
  components,
  onClose,
}: {
  before?: Stack;
  of: string;
  types: ComponentType[];
  components: Component[];
  onClose: () => void;
}) {
  const project = useProject();
  const client = useQueryClient();
  const [name, setName] = useState(before?.name ?? "");
  const [chosen, setChosen] = useState<Record<string, string>>(
    before?.components ??
      Object.fromEntries(
        types.filter((each) => each.required).map((each) => [each.name, first(components, each.name)]),
      ),
  );
  const submit = async () => {
    const given = Object.fromEntries(Object.entries(chosen).filter(([, component]) => component));
    if (before) {
      await data(
        api.PATCH("/api/v1/projects/{project}/stack-catalogue/stacks/{id}", {
          params: { path: { project, id: before.id } },
          body: { components: given },
        }),
      );
    } else {
      await data(
        api.POST("/api/v1/projects/{project}/stack-catalogue/stacks", {
          params: { path: { project } },
          body: { name: name.trim(), components: given, of },
        }),
      );
    }
    await client.invalidateQueries({ queryKey: ["stacks", project] });
    toast.done(before ? "The stack is saved." : `Stack ${name.trim()} is made.`);
    onClose();
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => open || onClose()}
      title={before ? `Components of stack ${before.name}` : "Make a stack"}
      about="What runs are run on. Changing to another stack changes no line of code."
    >
      <Form action={before ? "Save" : "Make it"} onCancel={onClose} onSubmit={submit}>
        {!before && (
          <Field name="$name" label="Name" required>
            {(field) => (
              <Input
                {...field}
                value={name}
                maxLength={100}
                autoComplete="off"
                spellCheck={false}
                onChange={(event) => setName(event.target.value)}
              />
            )}
          </Field>
        )}
        {types.map((type) => {
          const value = chosen[type.name] ?? "";
          const known = components.filter((each) => each.type === type.name);
          const gone = value && !known.some((each) => each.name === value);
          return (
            <Field
              key={type.name}
              name={type.name}
              label={typeLabel(type.name)}
              required={type.required}
              hint={type.title}
            >
              {(field) => (
                <Select
                  {...field}
                  value={value}
                  onChange={(event) => setChosen((was) => ({ ...was, [type.name]: event.target.value }))}
                  options={[
                    ...(type.required && value ? [] : [{ value: "", label: "none" }]),
                    ...(gone ? [{ value, label: `${value} (not there any more)` }] : []),
                    ...known.map((each) => ({
                      value: each.name,
                      label: each.name === each.flavor ? each.name : `${each.name} (${each.flavor})`,
                    })),
                  ]}
                />
              )}
            </Field>
          );
        })}
      </Form>
    </Dialog>
  );
}

function first(components: Component[], type: string): string {
  return components.find((each) => each.type === type)?.name ?? "";
}

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, data } from "@/api/client";
import { secrets } from "@/pages/secrets/queries";
import { useProject } from "@/shell/project";
import { Dialog } from "@/ui/dialog";
import { Field, type FieldProps, Form } from "@/ui/form/form";
import { Suggested, TextArea } from "@/ui/form/texts";
import { Input, Select } from "@/ui/input";
import { Answer } from "@/ui/said";
import { toast } from "@/ui/toast";
import { Words } from "@/ui/words";
import { type Component, type Flavor, flavors, type Setting, typeLabel } from "./queries";
import { defaultText, givenSettings, settingTexts } from "./settings";

/** Makes a component, or changes the settings of one. */
export function ComponentForm({
  before,
  of,
  onClose,
}: {
  before?: Component;
  of: string;
  onClose: () => void;
}) {
  const query = useQuery(flavors);
  const [type, setType] = useState(before?.type ?? "artifact_store");
  const [name, setName] = useState(before?.name ?? "");
  const [chosen, setChosen] = useState(before?.flavor ?? "");
  return (
    <Dialog
      open
      onOpenChange={(open) => open || onClose()}
      wide
      title={before ? `Settings of ${typeLabel(before.type)} ${before.name}` : "Make a component"}
      about={
        before
          ? `Of flavor ${before.flavor}. Runs that used it remember what it was.`
          : "One part of a stack: where steps run, or where something is kept or made."
      }
    >
      <Answer query={query}>
        {({ types, flavors: known }) => {
          const ofType = known.filter((each) => each.type === type);
          const flavor = ofType.find((each) => each.name === chosen) ?? (before ? undefined : ofType[0]);
          return (
            <Settings
              key={`${type} ${flavor?.name}`}
              flavor={flavor}
              before={before}
              of={of}
              name={name}
              onClose={onClose}
            >
              {!before && (
                <div className="grid gap-4 sm:grid-cols-3">
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
                  <Field name="$type" label="Type" hint={types.find((each) => each.name === type)?.title}>
                    {(field) => (
                      <Select
                        {...field}
                        value={type}
                        options={types.map((each) => ({ value: each.name, label: typeLabel(each.name) }))}
                        onChange={(event) => {
                          setType(event.target.value);
                          setChosen("");
                        }}
                      />
                    )}
                  </Field>
                  <Field name="$flavor" label="Flavor" hint={flavor?.title && <Words>{flavor.title}</Words>}>
                    {(field) => (
                      <Select
                        {...field}
                        value={flavor?.name ?? ""}
                        options={ofType.map((each) => each.name)}
                        onChange={(event) => setChosen(event.target.value)}
                      />
                    )}
                  </Field>
                </div>
              )}
            </Settings>
          );
        }}
      </Answer>
    </Dialog>
  );
}

function Settings({
  flavor,
  before,
  of,
  name,
  onClose,
  children,
}: {
  flavor: Flavor | undefined;
  before: Component | undefined;
  of: string;
  name: string;
  onClose: () => void;
  children: React.ReactNode;
}) {
  const project = useProject();
  const client = useQueryClient();
  const { data: known } = useQuery(secrets(project));
  const given = before?.settings ?? {};
  const [texts, setTexts] = useState(() => settingTexts(flavor?.settings ?? [], given));
  const names = known?.items.map((each) => `secret:${each.name}`) ?? [];
  const submit = async () => {
    const settings = givenSettings(flavor?.settings ?? [], texts, given);
    if (before) {
      await data(
        api.PATCH("/api/v1/projects/{project}/stack-catalogue/components/{id}", {
          params: { path: { project, id: before.id } },
          body: { settings },
        }),
      );
    } else {
      await data(
        api.POST("/api/v1/projects/{project}/stack-catalogue/components", {
          params: { path: { project } },
          body: { name: name.trim(), type: flavor?.type ?? "", flavor: flavor?.name ?? "", settings, of },
        }),
      );
    }
    await client.invalidateQueries({ queryKey: ["stacks", project] });
    toast.done(before ? "The settings are saved." : `${name.trim()} is made.`);
    onClose();
  };
  return (
    <Form action={before ? "Save" : "Make it"} onCancel={onClose} onSubmit={submit}>
      {children}
      {!flavor && (
        <p className="text-sm text-wait">
          This server does not know flavor {before?.flavor}: its package is not installed there. Change the
          component where it is, with <code>tilth component update</code>.
        </p>
      )}
      {flavor?.problem && <p className="text-sm text-wait">{flavor.problem}</p>}
      {flavor && flavor.requirement !== "tilth" && (
        <p className="text-sm text-muted">
          Who uses it needs <code>pip install '{flavor.requirement}'</code>
        </p>
      )}
      {flavor?.settings.length === 0 && !flavor.problem && (
        <p className="text-sm text-muted">This flavor takes no settings.</p>
      )}
      <div className="grid gap-4 sm:grid-cols-2">
        {flavor?.settings.map((each) => (
          <Field
            key={each.setting}
            name={each.setting}
            label={<code>{each.setting}</code>}
            required={each.required}
            hint={<Words>{each.meaning || each.takes}</Words>}
          >
            {(field) => (
              <SettingInput
                field={field}
                setting={each}
                secrets={names}
                value={texts[each.setting] ?? ""}
                onChange={(text) => setTexts((was) => ({ ...was, [each.setting]: text }))}
              />
            )}
          </Field>
        ))}
      </div>
    </Form>
  );
}

function SettingInput({
  field,
  setting,
  secrets: names,
  value,
  onChange,
}: {
  field: FieldProps;
  setting: Setting;
  secrets: string[];
  value: string;
  onChange: (text: string) => void;
}) {
  const usual = defaultText(setting);
  switch (setting.kind) {
    case "boolean":
    case "choice": {
      const options = setting.kind === "boolean" ? ["true", "false"] : setting.choices;
      return (
        <Select
          {...field}
          value={value}
          options={[{ value: "", label: usual ? `${usual} (default)` : "–" }, ...options]}
          onChange={(event) => onChange(event.target.value)}
        />
      );
    }
    case "secret": {
      const gone = value && !names.includes(value) ? [{ value, label: `${value} (not set)` }] : [];
      return (
        <Select
          {...field}
          value={value}
          options={[
            { value: "", label: names.length || value ? "none" : "none: this project has no secrets" },
            ...gone,
            ...names,
          ]}
          onChange={(event) => onChange(event.target.value)}
        />
      );
    }
    case "map":
    case "list":
    case "json":
      return (
        <TextArea
          {...field}
          className="font-mono text-[13px]"
          spellCheck={false}
          placeholder={usual || "JSON"}
          value={value}
          onChange={(event) => onChange(event.target.value)}
        />
      );
    default:
      return (
        <Suggested
          field={field}
          value={value}
          onChange={onChange}
          placeholder={usual}
          suggestions={setting.kind === "text" ? names : []}
        />
      );
  }
}

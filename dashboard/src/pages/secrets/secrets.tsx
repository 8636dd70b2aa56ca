import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Pencil, Plus, RefreshCw, Trash2 } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { useProject, useRole } from "@/shell/project";
import { Button, IconButton } from "@/ui/button";
import { Confirm, Dialog } from "@/ui/dialog";
import { Field, Form } from "@/ui/form/form";
import { TextArea } from "@/ui/form/texts";
import { plural } from "@/ui/format";
import { Input } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { toast } from "@/ui/toast";
import { type Secret, secrets } from "./queries";

export default function SecretsPage() {
  const project = useProject();
  const admin = useRole("admin");
  const client = useQueryClient();
  const query = useQuery(secrets(project));
  const [setting, setSetting] = useState<string | null>(null); // a name; empty for a new one
  const refresh = () => client.invalidateQueries({ queryKey: ["secrets", project] });
  const remove = async (name: string) => {
    await data(
      api.DELETE("/api/v1/projects/{project}/secrets/{name}", { params: { path: { project, name } } }),
    );
    await refresh();
  };
  const rotate = async () => {
    const { count } = await data(
      api.POST("/api/v1/projects/{project}/secrets/rotate", { params: { path: { project } } }),
    );
    toast.done(`${plural(count, "secret")} encrypted anew.`);
  };
  const columns: Column<Secret>[] = [
    {
      id: "name",
      header: "Name",
      fixed: true,
      width: 180,
      sort: (row) => row.name,
      cell: (row) => <code>{row.name}</code>,
    },
    {
      id: "use",
      header: "In a component's settings",
      width: 200,
      cell: (row) => <code className="text-muted">secret:{row.name}</code>,
    },
    {
      id: "set",
      header: "Set",
      width: 90,
      sort: (row) => row.set_at,
      cell: (row) => <Ago at={row.set_at} />,
    },
    { id: "by", header: "By", width: 100, sort: (row) => row.set_by, cell: (row) => row.set_by },
  ];
  if (admin) {
    columns.push({
      id: "actions",
      header: "",
      fixed: true,
      width: 80,
      grow: 0,
      cell: (row) => (
        <span className="flex justify-end">
          <IconButton label={`set ${row.name} anew`} onClick={() => setSetting(row.name)}>
            <Pencil />
          </IconButton>
          <Confirm
            trigger={
              <IconButton label={`delete ${row.name}`}>
                <Trash2 />
              </IconButton>
            }
            title={`Delete secret ${row.name}?`}
            action="Delete it"
            onConfirm={() => remove(row.name)}
          >
            Its value is gone for good. Runs and components that name it fail until it is set again.
          </Confirm>
        </span>
      ),
    });
  }
  return (
    <Page
      title="Secrets"
      actions={
        admin && (
          <>
            <Confirm
              trigger={
                <Button>
                  <RefreshCw /> Encrypt anew
                </Button>
              }
              title="Encrypt all secrets of this project anew?"
              action="Encrypt them"
              onConfirm={rotate}
            >
              With the first of the server's keys. After that, a key that was put behind another one can go.
              Their values stay.
            </Confirm>
            <Button look="primary" onClick={() => setSetting("")}>
              <Plus /> Set one
            </Button>
          </>
        )
      }
    >
      <p className="max-w-prose text-muted">
        Values are encrypted, and shown to nobody. Steps get them as variables, components as settings. The
        audit log says who read one.
      </p>
      <Answer query={query}>
        {({ items }) => (
          <DataTable
            name="secrets"
            label="secrets"
            columns={columns}
            rows={items}
            rowId={(row) => row.name}
            empty={
              <Empty title="No secrets yet" command="tilth secret set NAME">
                {admin
                  ? "A secret is a password or token that a step or a component needs."
                  : "An admin of the project sets them."}
              </Empty>
            }
          />
        )}
      </Answer>
      {setting !== null && (
        <SetSecret
          name={setting}
          onClose={() => setSetting(null)}
          onDone={async (name) => {
            await refresh();
            setSetting(null);
            toast.done(`Secret ${name} is set.`);
          }}
        />
      )}
    </Page>
  );
}

function SetSecret({
  name: before,
  onClose,
  onDone,
}: {
  name: string;
  onClose: () => void;
  onDone: (name: string) => Promise<void>;
}) {
  const project = useProject();
  const [name, setName] = useState(before);
  const [value, setValue] = useState("");
  const submit = async () => {
    await data(
      api.PUT("/api/v1/projects/{project}/secrets/{name}", {
        params: { path: { project, name: name.trim() } },
        body: { value },
      }),
    );
    await onDone(name.trim());
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => open || onClose()}
      title={before ? `Set ${before} anew` : "Set a secret"}
      about="One of the same name is replaced. It cannot be read back here."
    >
      <Form action="Set it" onCancel={onClose} onSubmit={submit}>
        {!before && (
          <Field name="name" label="Name" required hint="Letters, digits, hyphens, dots and underscores.">
            {(field) => (
              <Input
                {...field}
                value={name}
                pattern="[A-Za-z0-9._\-]+"
                maxLength={200}
                placeholder="WAREHOUSE_PASSWORD"
                autoComplete="off"
                spellCheck={false}
                onChange={(event) => setName(event.target.value)}
              />
            )}
          </Field>
        )}
        <Field name="value" label="Value" required hint="Lines and spaces count. Keep binary data in base64.">
          {(field) => (
            <TextArea
              {...field}
              className="font-mono text-[13px]"
              value={value}
              autoComplete="off"
              spellCheck={false}
              onChange={(event) => setValue(event.target.value)}
            />
          )}
        </Field>
      </Form>
    </Dialog>
  );
}

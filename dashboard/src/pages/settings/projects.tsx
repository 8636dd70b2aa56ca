import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { Pencil, Plus } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { projects } from "@/api/queries";
import type { components } from "@/api/schema";
import { Button, IconButton } from "@/ui/button";
import { Dialog } from "@/ui/dialog";
import { Field, Form } from "@/ui/form/form";
import { TextArea } from "@/ui/form/texts";
import { Input } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";

type Project = components["schemas"]["ProjectView"];

export default function ProjectsPage() {
  const navigate = useNavigate();
  const query = useQuery(projects);
  const [opened, setOpened] = useState<Project | "new" | null>(null);
  const columns: Column<Project>[] = [
    {
      id: "name",
      header: "Project",
      fixed: true,
      width: 160,
      sort: (row) => row.name,
      cell: (row) => (
        <Link
          to="/p/$project/overview"
          params={{ project: row.name }}
          className="font-medium text-accent hover:underline"
        >
          {row.name}
        </Link>
      ),
    },
    {
      id: "role",
      header: "You are",
      width: 90,
      sort: (row) => row.role,
      cell: (row) => <Badge>{row.role}</Badge>,
    },
    { id: "description", header: "Description", width: 200, grow: 3, cell: (row) => row.description },
    {
      id: "made",
      header: "Made",
      width: 90,
      sort: (row) => row.created_at,
      cell: (row) => <Ago at={row.created_at} />,
    },
    {
      id: "actions",
      header: "",
      fixed: true,
      width: 40,
      grow: 0,
      cell: (row) =>
        row.role === "admin" && (
          <IconButton label={`describe ${row.name}`} onClick={() => setOpened(row)}>
            <Pencil />
          </IconButton>
        ),
    },
  ];
  return (
    <Page
      title="Projects"
      actions={
        <Button look="primary" onClick={() => setOpened("new")}>
          <Plus /> Make one
        </Button>
      }
    >
      <Answer query={query}>
        {({ items }) => (
          <DataTable
            name="projects"
            label="projects"
            columns={columns}
            rows={items}
            rowId={(row) => row.name}
            onOpen={(row) => void navigate({ to: "/p/$project/overview", params: { project: row.name } })}
            empty={
              <Empty title="You are in no project" command="tilth project create NAME">
                Make one, or ask the admins of one to add you. A first run makes its project by itself.
              </Empty>
            }
          />
        )}
      </Answer>
      {opened && (
        <Dialog
          open
          onOpenChange={(open) => open || setOpened(null)}
          title={opened === "new" ? "Make a project" : `Describe ${opened.name}`}
          about={opened === "new" ? "You become its admin." : undefined}
        >
          {opened === "new" ? (
            <MakeProject
              onCancel={() => setOpened(null)}
              onDone={(name) => navigate({ to: "/p/$project/overview", params: { project: name } })}
            />
          ) : (
            <DescribeProject project={opened} onClose={() => setOpened(null)} />
          )}
        </Dialog>
      )}
    </Page>
  );
}

export function MakeProject({
  onDone,
  onCancel,
}: {
  onDone: (name: string) => unknown;
  onCancel?: () => void;
}) {
  const client = useQueryClient();
  const [name, setName] = useState("");
  const [description, setDescription] = useState("");
  const submit = async () => {
    const made = await data(api.POST("/api/v1/projects", { body: { name: name.trim(), description } }));
    await client.invalidateQueries({ queryKey: ["projects"] });
    await onDone(made.name);
  };
  return (
    <Form action="Make the project" onCancel={onCancel} onSubmit={submit}>
      <Field name="name" label="Name" required hint="As the code's folder, or its pyproject.toml, calls it.">
        {(field) => (
          <Input
            {...field}
            value={name}
            placeholder="churn"
            maxLength={100}
            autoComplete="off"
            spellCheck={false}
            onChange={(event) => setName(event.target.value)}
          />
        )}
      </Field>
      <Field name="description" label="Description">
        {(field) => (
          <TextArea {...field} value={description} onChange={(event) => setDescription(event.target.value)} />
        )}
      </Field>
    </Form>
  );
}

function DescribeProject({ project, onClose }: { project: Project; onClose: () => void }) {
  const client = useQueryClient();
  const [description, setDescription] = useState(project.description);
  const submit = async () => {
    await data(
      api.PATCH("/api/v1/projects/{project}", {
        params: { path: { project: project.name } },
        body: { description },
      }),
    );
    await client.invalidateQueries({ queryKey: ["projects"] });
    onClose();
  };
  return (
    <Form action="Save" onCancel={onClose} onSubmit={submit}>
      <Field name="description" label="Description">
        {(field) => (
          <TextArea
            {...field}
            rows={5}
            value={description}
            onChange={(event) => setDescription(event.target.value)}
          />
        )}
      </Field>
    </Form>
  );
}

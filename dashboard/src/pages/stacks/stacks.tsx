import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Pencil, Plus, Star, Trash2 } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { useProject, useRole } from "@/shell/project";
import { Button, IconButton } from "@/ui/button";
import { Card, Facts } from "@/ui/card";
import { Command } from "@/ui/copy";
import { Confirm } from "@/ui/dialog";
import { asText } from "@/ui/form/values";
import { Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { toast } from "@/ui/toast";
import { ComponentForm } from "./component-form";
import { type Component, catalogue, flavors, type Stack, typeLabel } from "./queries";
import { StackForm } from "./stack-form";

const route = getRouteApi("/p/$project/stacks");

type Opened = { what: "stack"; stack?: Stack } | { what: "component"; component?: Component } | null;

export default function StacksPage() {
  const project = useProject();
  const { of = "" } = route.useSearch();
  const navigate = route.useNavigate();
  const editor = useRole("editor");
  const client = useQueryClient();
  const query = useQuery(catalogue(project, of));
  const { data: known } = useQuery(flavors);
  const [opened, setOpened] = useState<Opened>(null);
  const refresh = () => client.invalidateQueries({ queryKey: ["stacks", project] });
  const choose = async (stack: string) => {
    try {
      await data(
        api.PUT("/api/v1/projects/{project}/stack-catalogue/chosen", {
          params: { path: { project } },
          body: { stack, of: query.data?.of ?? "" },
        }),
      );
      await refresh();
      toast.done(stack ? `Runs that name no stack use ${stack}.` : "The project's file chooses the stack.");
    } catch (error) {
      toast.failed(error);
    }
  };
  const removeStack = async (stack: Stack) => {
    await data(
      api.DELETE("/api/v1/projects/{project}/stack-catalogue/stacks/{id}", {
        params: { path: { project, id: stack.id } },
      }),
    );
    await refresh();
  };
  const removeComponent = async (component: Component, force: boolean) => {
    await data(
      api.DELETE("/api/v1/projects/{project}/stack-catalogue/components/{id}", {
        params: { path: { project, id: component.id }, query: { force } },
      }),
    );
    await refresh();
  };

  return (
    <Page
      title="Stacks"
      actions={
        editor && (
          <>
            <Button onClick={() => setOpened({ what: "component" })}>
              <Plus /> Make a component
            </Button>
            <Button look="primary" onClick={() => setOpened({ what: "stack" })} disabled={!query.data}>
              <Plus /> Make a stack
            </Button>
          </>
        )
      }
    >
      <Answer query={query}>
        {(found) => (
          <>
            {found.all_of.length > 1 && (
              <label className="flex items-center gap-2 text-sm" htmlFor="of">
                Of
                <Select
                  id="of"
                  className="w-56!"
                  value={found.of}
                  options={found.all_of}
                  onChange={(event) => void navigate({ search: { of: event.target.value }, replace: true })}
                />
                <span className="text-muted">these records hold several projects of one machine</span>
              </label>
            )}
            <ul className="grid gap-4 sm:grid-cols-2 xl:grid-cols-3" aria-label="stacks">
              {found.stacks.map((each) => (
                <li key={each.id} className="grid">
                  <StackCard
                    stack={each}
                    chosen={found.chosen === each.name || (!found.chosen && each.name === "default")}
                    byHand={found.chosen === each.name}
                    components={found.components}
                    editor={editor}
                    onEdit={() => setOpened({ what: "stack", stack: each })}
                    onChoose={choose}
                    onDelete={() => removeStack(each)}
                  />
                </li>
              ))}
            </ul>
            <h2 className="mt-2 text-base font-semibold">Components</h2>
            <DataTable
              name="components"
              label="components"
              rows={found.components}
              rowId={(row) => row.id}
              columns={componentColumns({
                stacks: found.stacks,
                editor,
                onEdit: (component) => setOpened({ what: "component", component }),
                onDelete: removeComponent,
              })}
              height="28rem"
            />
            <div className="space-y-1 text-sm text-muted">
              <p>Whether a stack works is told by the machine that uses it:</p>
              <Command>tilth stack check NAME</Command>
            </div>
            {opened?.what === "component" && (
              <ComponentForm before={opened.component} of={found.of} onClose={() => setOpened(null)} />
            )}
            {opened?.what === "stack" && (
              <StackForm
                before={opened.stack}
                of={found.of}
                types={known?.types ?? []}
                components={found.components}
                onClose={() => setOpened(null)}
              />
            )}
          </>
        )}
      </Answer>
    </Page>
  );
}

function StackCard({
  stack,
  chosen,
  byHand,
  components,
  editor,
  onEdit,
  onChoose,
  onDelete,
}: {
  stack: Stack;
  chosen: boolean;
  byHand: boolean;
  components: Component[];
  editor: boolean;
  onEdit: () => void;
  onChoose: (name: string) => void;
  onDelete: () => Promise<void>;
}) {
  return (
    <Card
      title={
        <span className="flex flex-wrap items-center gap-2">
          {stack.name}
          {chosen && <Badge tone="good">active</Badge>}
          {stack.built_in && <Badge>comes with tilth</Badge>}
        </span>
      }
      actions={
        editor && (
          <>
            {!chosen && (
              <Button
                small
                look="quiet"
                onClick={() => onChoose(stack.name)}
                aria-label={`Use it: ${stack.name}`}
              >
                <Star /> Use it
              </Button>
            )}
            {byHand && (
              <Button
                small
                look="quiet"
                onClick={() => onChoose("")}
                title="The project's file chooses again."
              >
                Let go
              </Button>
            )}
            {!stack.built_in && (
              <>
                <IconButton label={`edit stack ${stack.name}`} onClick={onEdit}>
                  <Pencil />
                </IconButton>
                <Confirm
                  trigger={
                    <IconButton label={`delete stack ${stack.name}`}>
                      <Trash2 />
                    </IconButton>
                  }
                  title={`Delete stack ${stack.name}?`}
                  action="Delete it"
                  onConfirm={onDelete}
                >
                  Its components stay. Runs that name it are refused from then on.
                </Confirm>
              </>
            )}
          </>
        )
      }
    >
      <Facts
        items={Object.entries(stack.components).map(([type, name]) => {
          const component = components.find((each) => each.type === type && each.name === name);
          return [
            typeLabel(type),
            component ? (
              <span key={type}>
                {name}
                {component.flavor !== name && <span className="text-muted"> ({component.flavor})</span>}
              </span>
            ) : (
              <span key={type} className="text-bad">
                {name}, which is not there any more
              </span>
            ),
          ];
        })}
      />
    </Card>
  );
}

function componentColumns({
  stacks,
  editor,
  onEdit,
  onDelete,
}: {
  stacks: Stack[];
  editor: boolean;
  onEdit: (component: Component) => void;
  onDelete: (component: Component, force: boolean) => Promise<void>;
}): Column<Component>[] {
  const users = (component: Component) =>
    stacks.filter((each) => each.components[component.type] === component.name).map((each) => each.name);
  const columns: Column<Component>[] = [
    {
      id: "name",
      header: "Component",
      fixed: true,
      width: 120,
      sort: (row) => row.name,
      cell: (row) => <span className="font-medium">{row.name}</span>,
    },
    { id: "type", header: "Type", width: 130, sort: (row) => row.type, cell: (row) => typeLabel(row.type) },
    { id: "flavor", header: "Flavor", width: 100, sort: (row) => row.flavor, cell: (row) => row.flavor },
    {
      id: "settings",
      header: "Settings",
      width: 200,
      grow: 3,
      cell: (row) => {
        const text = Object.entries(row.settings ?? {})
          .map(([name, value]) => `${name}=${asText(value)}`)
          .join("  ");
        return (
          <code title={text} className="text-[13px]">
            {text}
          </code>
        );
      },
    },
    { id: "stacks", header: "In stacks", width: 120, cell: (row) => users(row).join(", ") },
  ];
  if (editor) {
    columns.push({
      id: "actions",
      header: "",
      fixed: true,
      width: 80,
      grow: 0,
      cell: (row) =>
        row.built_in ? (
          <span className="block text-right text-xs text-muted">built in</span>
        ) : (
          <span className="flex justify-end">
            <IconButton label={`settings of ${row.name}`} onClick={() => onEdit(row)}>
              <Pencil />
            </IconButton>
            <Confirm
              trigger={
                <IconButton label={`delete component ${row.name}`}>
                  <Trash2 />
                </IconButton>
              }
              title={`Delete ${typeLabel(row.type)} ${row.name}?`}
              action={users(row).length ? "Take it out and delete it" : "Delete it"}
              onConfirm={() => onDelete(row, users(row).length > 0)}
            >
              {users(row).length > 0
                ? `It is taken out of ${users(row).join(", ")}; runs on a stack that misses what it needs are refused.`
                : "No stack has it."}
            </Confirm>
          </span>
        ),
    });
  }
  return columns;
}

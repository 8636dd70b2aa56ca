import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { Trash2, UserPlus } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { me } from "@/api/queries";
import type { components } from "@/api/schema";
import { useProject, useRole } from "@/shell/project";
import { Button, IconButton } from "@/ui/button";
import { Confirm, Dialog } from "@/ui/dialog";
import { Choice, Field, Form } from "@/ui/form/form";
import { Suggested } from "@/ui/form/texts";
import { Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { toast } from "@/ui/toast";

type Member = components["schemas"]["MemberView"];
type Role = components["schemas"]["Role"];

export const ROLES: Array<{ value: Role; label: string; may: string }> = [
  { value: "viewer", label: "viewer", may: "looks at everything in the project" },
  { value: "editor", label: "editor", may: "runs pipelines, changes and deletes what is in it" },
  { value: "admin", label: "admin", may: "also decides who is in it, and sets its secrets" },
];

export default function MembersPage() {
  const project = useProject();
  const admin = useRole("admin");
  const client = useQueryClient();
  const [adding, setAdding] = useState(false);
  const query = useInfiniteQuery({
    queryKey: ["members", project],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/projects/{project}/members", {
          params: { path: { project }, query: { limit: 200, after: pageParam } },
        }),
      ),
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const refresh = () => client.invalidateQueries({ queryKey: ["members", project] });
  const put = async (user: string, role: Role) => {
    await data(
      api.PUT("/api/v1/projects/{project}/members/{user}", {
        params: { path: { project, user } },
        body: { role },
      }),
    );
    await refresh();
    await client.invalidateQueries({ queryKey: ["project", project] });
  };
  const remove = async (user: string) => {
    await data(
      api.DELETE("/api/v1/projects/{project}/members/{user}", { params: { path: { project, user } } }),
    );
    await refresh();
    await client.invalidateQueries({ queryKey: ["project", project] });
  };
  const columns: Column<Member>[] = [
    { id: "user", header: "User", fixed: true, width: 150, sort: (row) => row.user, cell: (row) => row.user },
    {
      id: "role",
      header: "Role",
      fixed: true,
      width: 130,
      grow: 0,
      sort: (row) => ROLES.findIndex((each) => each.value === row.role),
      cell: (row) =>
        admin ? (
          <Select
            aria-label={`role of ${row.user}`}
            className="w-28!"
            value={row.role}
            options={ROLES}
            onChange={(event) =>
              void put(row.user, event.target.value as Role)
                .then(() => toast.done(`${row.user} is ${event.target.value} now.`))
                .catch(toast.failed)
            }
          />
        ) : (
          <Badge>{row.role}</Badge>
        ),
    },
    {
      id: "may",
      header: "May",
      width: 220,
      grow: 3,
      cell: (row) => <span className="text-muted">{ROLES.find((each) => each.value === row.role)?.may}</span>,
    },
  ];
  if (admin) {
    columns.push({
      id: "actions",
      header: "",
      fixed: true,
      width: 40,
      grow: 0,
      cell: (row) => (
        <Confirm
          trigger={
            <IconButton label={`take ${row.user} out of the project`}>
              <Trash2 />
            </IconButton>
          }
          title={`Take ${row.user} out of ${project}?`}
          action="Take them out"
          onConfirm={() => remove(row.user)}
        >
          They see nothing of it any more, and runs that their schedules ask for are not started. What they
          made stays.
        </Confirm>
      ),
    });
  }
  return (
    <Page
      title="Members"
      actions={
        admin && (
          <Button look="primary" onClick={() => setAdding(true)}>
            <UserPlus /> Add one
          </Button>
        )
      }
    >
      <p className="max-w-prose text-muted">
        Who is in project {project}. Admins of the server may do everything in every project, and are listed
        only where they were added.
      </p>
      <Answer query={query}>
        {({ pages }) => (
          <DataTable
            name="members"
            label="members"
            columns={columns}
            rows={pages.flatMap((page) => page.items)}
            rowId={(row) => row.user}
            onEnd={() => query.hasNextPage && void query.fetchNextPage()}
            more={query.isFetchingNextPage}
            empty={
              <Empty
                title="Nobody was added yet"
                command={`tilth project add NAME editor --project ${project}`}
              >
                Admins of the server come in all the same.
              </Empty>
            }
          />
        )}
      </Answer>
      {adding && (
        <AddMember
          onClose={() => setAdding(false)}
          onAdd={async (user, role) => {
            await put(user, role);
            setAdding(false);
            toast.done(`${user} is ${role} now.`);
          }}
        />
      )}
    </Page>
  );
}

function AddMember({
  onClose,
  onAdd,
}: {
  onClose: () => void;
  onAdd: (user: string, role: Role) => Promise<void>;
}) {
  const [user, setUser] = useState("");
  const [role, setRole] = useState<Role>("editor");
  const { data: who } = useQuery(me);
  const { data: users } = useQuery({
    queryKey: ["users", "names"],
    queryFn: () => data(api.GET("/api/v1/users", { params: { query: { limit: 1000 } } })),
    enabled: who?.user.admin === true, // others are told of themselves alone
  });
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title="Add a member">
      <Form action="Add" onCancel={onClose} onSubmit={() => onAdd(user.trim(), role)}>
        <Field name="user" label="User" required hint="The name that they log in with.">
          {(field) => (
            <Suggested
              field={field}
              value={user}
              onChange={setUser}
              suggestions={users?.items.map((each) => each.name) ?? []}
            />
          )}
        </Field>
        <Choice name="role" legend="Role" value={role} onChange={setRole} options={ROLES} />
        <p className="text-sm text-muted">
          Who is {role === "viewer" ? "a viewer" : role === "editor" ? "an editor" : "an admin"}{" "}
          {ROLES.find((each) => each.value === role)?.may}.
        </p>
      </Form>
    </Dialog>
  );
}

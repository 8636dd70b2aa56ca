import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Ban, KeyRound, Link2, MoreHorizontal, Pencil, Plus, RotateCcw, Trash2 } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { me } from "@/api/queries";
import type { components } from "@/api/schema";
import { Button, IconButton } from "@/ui/button";
import { Dialog } from "@/ui/dialog";
import { Check, Choice, Field, Form } from "@/ui/form/form";
import { ShownOnce } from "@/ui/form/secret";
import { Input, SearchField } from "@/ui/input";
import { Menu, MenuItem, MenuLine } from "@/ui/menu";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { toast } from "@/ui/toast";
import { PersonFields } from "./person-fields";

const route = getRouteApi("/settings/users");

type User = components["schemas"]["UserView"];
type Opened =
  | { what: "make" }
  | { what: "edit" | "disable" | "enable" | "delete" | "reset"; user: User }
  | { what: "link"; name: string; secret: string }
  | null;

export default function UsersPage() {
  const { q = "" } = route.useSearch();
  const navigate = route.useNavigate();
  const client = useQueryClient();
  const { data: who } = useQuery(me);
  const [opened, setOpened] = useState<Opened>(null);
  const close = () => setOpened(null);
  const query = useInfiniteQuery({
    queryKey: ["users", "all"],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      data(api.GET("/api/v1/users", { params: { query: { limit: 200, after: pageParam } } })),
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const refresh = () => client.invalidateQueries({ queryKey: ["users"] });
  const change = async (user: User, body: components["schemas"]["ChangedUser"]) => {
    await data(api.PATCH("/api/v1/users/{name}", { params: { path: { name: user.name } }, body }));
    await refresh();
  };
  const columns: Column<User>[] = [
    {
      id: "name",
      header: "User",
      fixed: true,
      width: 150,
      sort: (row) => row.name,
      cell: (row) => (
        <span className="inline-flex items-center gap-2">
          <span className="font-medium">{row.name}</span>
          {row.name === who?.user.name && <Badge tone="good">you</Badge>}
        </span>
      ),
    },
    {
      id: "kind",
      header: "Is",
      width: 190,
      cell: (row) => (
        <span className="space-x-1">
          {row.admin && <Badge tone="busy">admin</Badge>}
          {row.service && <Badge>service account</Badge>}
          {!row.active && <Badge tone="bad">shut out</Badge>}
          {row.active && !row.service && !row.has_password && !row.linked && (
            <Badge tone="wait">has not logged in</Badge>
          )}
          {row.linked && <Badge>organisation</Badge>}
        </span>
      ),
    },
    {
      id: "full",
      header: "Full name",
      width: 140,
      sort: (row) => row.full_name,
      cell: (row) => row.full_name,
    },
    { id: "email", header: "Mail", width: 160, sort: (row) => row.email, cell: (row) => row.email },
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
      cell: (row) => {
        const own = row.name === who?.user.name;
        return (
          <Menu
            align="end"
            trigger={
              <IconButton label={`what to do with ${row.name}`}>
                <MoreHorizontal />
              </IconButton>
            }
          >
            <MenuItem onSelect={() => setOpened({ what: "edit", user: row })}>
              <Pencil /> Edit
            </MenuItem>
            <MenuItem onSelect={() => void navigate({ to: "/settings/keys", search: { user: row.name } })}>
              <KeyRound /> API keys
            </MenuItem>
            {!row.service && (
              <MenuItem onSelect={() => setOpened({ what: "reset", user: row })}>
                <Link2 /> Link to set a password
              </MenuItem>
            )}
            <MenuLine />
            {row.active ? (
              <MenuItem disabled={own} bad onSelect={() => setOpened({ what: "disable", user: row })}>
                <Ban /> Shut out
              </MenuItem>
            ) : (
              <MenuItem onSelect={() => setOpened({ what: "enable", user: row })}>
                <RotateCcw /> Let in again
              </MenuItem>
            )}
            <MenuItem disabled={own} bad onSelect={() => setOpened({ what: "delete", user: row })}>
              <Trash2 /> Delete
            </MenuItem>
          </Menu>
        );
      },
    },
  ];
  return (
    <Page
      title="Users"
      actions={
        <Button look="primary" onClick={() => setOpened({ what: "make" })}>
          <Plus /> Make one
        </Button>
      }
    >
      <Answer query={query}>
        {({ pages }) => (
          <DataTable
            name="users"
            label="users"
            columns={columns}
            rows={pages
              .flatMap((page) => page.items)
              .filter((each) =>
                `${each.name} ${each.full_name} ${each.email}`.toLowerCase().includes(q.toLowerCase()),
              )}
            rowId={(row) => row.id}
            onEnd={() => query.hasNextPage && void query.fetchNextPage()}
            more={query.isFetchingNextPage}
            tools={
              <SearchField
                className="w-64 max-w-full"
                label="name, mail"
                value={q}
                onChange={(text) => void navigate({ search: { q: text || undefined }, replace: true })}
              />
            }
            empty={<Empty title="Nobody is called so">Try fewer letters.</Empty>}
          />
        )}
      </Answer>
      <p className="text-sm text-muted">
        What a user may do in a project is decided there, by its admins. Who did what is in the{" "}
        <Link to="/settings/audit" className="text-accent underline">
          audit log
        </Link>
        .
      </p>
      {opened?.what === "make" && (
        <MakeUser
          onClose={close}
          onMade={async (name, secret) => {
            await refresh();
            setOpened(secret ? { what: "link", name, secret } : null);
            if (!secret) toast.done(`Service account ${name} is made.`);
          }}
        />
      )}
      {opened?.what === "edit" && (
        <EditUser
          user={opened.user}
          own={opened.user.name === who?.user.name}
          onClose={close}
          onSave={(body) => change(opened.user, body)}
        />
      )}
      {opened?.what === "link" && (
        <Dialog open onOpenChange={close} title={`A link for ${opened.name}`}>
          <div className="space-y-3">
            <ShownOnce value={`${window.location.origin}/invite#${opened.secret}`} what="The link" />
            <p className="text-sm text-muted">
              Send it to {opened.name}. It sets their password, once, within seven days, and then leads them
              through their first steps.
            </p>
            <Button look="primary" onClick={close}>
              Done
            </Button>
          </div>
        </Dialog>
      )}
      {opened?.what === "reset" && (
        <Sure
          title={`Make a link that sets the password of ${opened.user.name}?`}
          action="Make the link"
          onClose={close}
          work={async () => {
            const { user } = opened;
            const made = await data(
              api.POST("/api/v1/users/{name}/invite", { params: { path: { name: user.name } } }),
            );
            return () => setOpened({ what: "link", name: user.name, secret: made.invite ?? "" });
          }}
        >
          Their password stays until they use it. Then their other logins end.
        </Sure>
      )}
      {opened?.what === "disable" && (
        <Sure
          danger
          title={`Shut ${opened.user.name} out?`}
          action="Shut them out"
          onClose={close}
          work={() => change(opened.user, { active: false })}
        >
          All of their logins and keys end at once, and their schedules start no more runs. Their memberships
          stay, for when they are let in again.
        </Sure>
      )}
      {opened?.what === "enable" && (
        <Sure
          title={`Let ${opened.user.name} in again?`}
          action="Let them in"
          onClose={close}
          work={() => change(opened.user, { active: true })}
        >
          They log in with their password, and make new API keys.
        </Sure>
      )}
      {opened?.what === "delete" && (
        <Sure
          danger
          title={`Delete ${opened.user.name}?`}
          action="Delete them"
          onClose={close}
          work={async () => {
            await data(api.DELETE("/api/v1/users/{name}", { params: { path: { name: opened.user.name } } }));
            await refresh();
          }}
        >
          Their logins, keys and memberships go too; what they did stays, and so does their name in the audit
          log.
        </Sure>
      )}
    </Page>
  );
}

/** Asks before it does something that was chosen in a menu. */
function Sure({
  title,
  action,
  danger = false,
  children,
  work,
  onClose,
}: {
  title: string;
  action: string;
  danger?: boolean;
  children: React.ReactNode;
  work: () => Promise<unknown>; // a function that it gives is called instead of closing
  onClose: () => void;
}) {
  const submit = async () => {
    const then = await work();
    if (typeof then === "function") then();
    else onClose();
  };
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title={title}>
      <Form action={action} danger={danger} onCancel={onClose} onSubmit={submit}>
        <p className="text-sm text-muted">{children}</p>
      </Form>
    </Dialog>
  );
}

function MakeUser({
  onClose,
  onMade,
}: {
  onClose: () => void;
  onMade: (name: string, secret: string) => Promise<void>;
}) {
  const [kind, setKind] = useState<"person" | "service">("person");
  const [name, setName] = useState("");
  const [fullName, setFullName] = useState("");
  const [email, setEmail] = useState("");
  const [admin, setAdmin] = useState(false);
  const submit = async () => {
    const made = await data(
      api.POST("/api/v1/users", {
        body: { name: name.trim(), service: kind === "service", admin, full_name: fullName, email },
      }),
    );
    await onMade(made.user.name, made.invite ?? "");
  };
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title="Make a user">
      <Form action="Make them" onCancel={onClose} onSubmit={submit}>
        <Choice
          name="kind"
          legend="For"
          value={kind}
          onChange={setKind}
          options={[
            { value: "person", label: "a person, who gets a link" },
            { value: "service", label: "a program, which gets API keys" },
          ]}
        />
        <Field name="name" label="Name" required hint="That they log in with: no spaces.">
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
        {kind === "person" && (
          <div className="grid gap-4 sm:grid-cols-2">
            <PersonFields {...{ fullName, setFullName, email, setEmail }} />
          </div>
        )}
        <Check
          name="admin"
          label="An admin of the server"
          hint="May do everything, in every project."
          checked={admin}
          onChange={setAdmin}
        />
      </Form>
    </Dialog>
  );
}

function EditUser({
  user,
  own,
  onClose,
  onSave,
}: {
  user: User;
  own: boolean;
  onClose: () => void;
  onSave: (body: components["schemas"]["ChangedUser"]) => Promise<void>;
}) {
  const [fullName, setFullName] = useState(user.full_name);
  const [email, setEmail] = useState(user.email);
  const [admin, setAdmin] = useState(user.admin);
  const submit = async () => {
    await onSave({ full_name: fullName, email, ...(own ? {} : { admin }) });
    toast.done(`${user.name} is saved.`);
    onClose();
  };
  return (
    <Dialog open onOpenChange={(open) => open || onClose()} title={`Edit ${user.name}`}>
      <Form action="Save" onCancel={onClose} onSubmit={submit}>
        <PersonFields {...{ fullName, setFullName, email, setEmail }} />
        {!own && (
          <Check
            name="admin"
            label="An admin of the server"
            hint="May do everything, in every project."
            checked={admin}
            onChange={setAdmin}
          />
        )}
      </Form>
    </Dialog>
  );
}

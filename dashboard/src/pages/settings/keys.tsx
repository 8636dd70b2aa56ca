import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { me, projects } from "@/api/queries";
import { Button } from "@/ui/button";
import { Dialog } from "@/ui/dialog";
import { Field, Form } from "@/ui/form/form";
import { ShownOnce } from "@/ui/form/secret";
import { Suggested } from "@/ui/form/texts";
import { Wrong } from "@/ui/form/wrong";
import { Input, Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Empty } from "@/ui/said";
import { Script } from "@/ui/script";
import { Tokens } from "./tokens";

const route = getRouteApi("/settings/keys");

export default function KeysPage() {
  const { user = "" } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: who } = useQuery(me);
  const admin = who?.user.admin ?? false;
  const { data: users } = useQuery({
    queryKey: ["users", "names"],
    queryFn: () => data(api.GET("/api/v1/users", { params: { query: { limit: 1000 } } })),
    enabled: admin,
  });
  const [making, setMaking] = useState(false);
  return (
    <Page
      title="API keys"
      actions={
        <Button look="primary" onClick={() => setMaking(true)}>
          <Plus /> Make one
        </Button>
      }
    >
      <p className="max-w-prose text-muted">
        A key stands for its user where nobody can log in: in CI, on a cluster, in a script. One of a single
        project opens nothing else.
      </p>
      {admin && (
        <label className="flex flex-wrap items-center gap-2 text-sm" htmlFor="whose">
          Keys of
          <Select
            id="whose"
            className="w-56!"
            value={user}
            options={[
              { value: "", label: `${who?.user.name ?? ""} (you)` },
              ...(users?.items ?? [])
                .filter((each) => each.name !== who?.user.name)
                .map((each) => ({
                  value: each.name,
                  label: each.service ? `${each.name} (service account)` : each.name,
                })),
            ]}
            onChange={(event) =>
              void navigate({ search: event.target.value ? { user: event.target.value } : {}, replace: true })
            }
          />
        </label>
      )}
      <Tokens
        key={user}
        user={user}
        purpose="api_key"
        empty={
          <Empty title="No keys yet" command="tilth key create ci --project NAME --days 90">
            Make one for the project that a CI job works in.
          </Empty>
        }
      />
      {making && <MakeKey user={user} onClose={() => setMaking(false)} />}
    </Page>
  );
}

/** Makes an API key, and shows it once. */
export function MakeKey({
  user,
  project: chosen = "",
  name: named = "",
  onClose,
}: {
  user: string; // empty: one's own
  project?: string;
  name?: string;
  onClose: () => void;
}) {
  const client = useQueryClient();
  const { data: known } = useQuery(projects);
  const [name, setName] = useState(named);
  const [project, setProject] = useState(chosen);
  const [days, setDays] = useState("90");
  const [secret, setSecret] = useState("");
  const submit = async () => {
    if (days && !/^[1-9]\d{0,4}$/.test(days)) throw new Wrong({ days: "Give a number of days, or nothing." });
    const made = await data(
      api.POST("/api/v1/keys", {
        body: { name: name.trim(), user, project, days: days ? Number(days) : null },
      }),
    );
    await client.invalidateQueries({ queryKey: ["tokens"] });
    setSecret(made.secret);
  };
  return (
    <Dialog
      open
      onOpenChange={(open) => open || onClose()}
      title={secret ? `Key ${name} is made` : user ? `Make an API key of ${user}` : "Make an API key"}
    >
      {secret ? (
        <div className="space-y-3">
          <ShownOnce value={secret} what="The key" />
          <p className="text-sm text-muted">Programs show it by two variables, as secrets of a CI:</p>
          <Script>{`TILTH_SERVER_URL=${window.location.origin}\nTILTH_API_KEY=…`}</Script>
          <Button look="primary" onClick={onClose}>
            I have it
          </Button>
        </div>
      ) : (
        <Form action="Make it" onCancel={onClose} onSubmit={submit}>
          <Field
            name="name"
            label="Name"
            required
            hint="What it is for; shown in lists and in the audit log."
          >
            {(field) => (
              <Input
                {...field}
                value={name}
                placeholder="ci"
                maxLength={200}
                autoComplete="off"
                onChange={(event) => setName(event.target.value)}
              />
            )}
          </Field>
          <Field name="project" label="Opens">
            {(field) => (
              <Select
                {...field}
                value={project}
                options={[
                  { value: "", label: "everything of its user" },
                  ...(known?.items ?? []).map((each) => ({
                    value: each.name,
                    label: `project ${each.name} alone`,
                  })),
                ]}
                onChange={(event) => setProject(event.target.value)}
              />
            )}
          </Field>
          <Field name="days" label="Ends after days" hint="Empty: never.">
            {(field) => (
              <Suggested
                field={field}
                value={days}
                onChange={setDays}
                suggestions={["7", "30", "90", "365"]}
              />
            )}
          </Field>
        </Form>
      )}
    </Dialog>
  );
}

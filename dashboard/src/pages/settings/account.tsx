import { useQuery, useQueryClient } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import { useState } from "react";
import { api, data } from "@/api/client";
import { info, me } from "@/api/queries";
import type { components } from "@/api/schema";
import { buttonClass } from "@/ui/button";
import { Card, Facts } from "@/ui/card";
import { Field, Form } from "@/ui/form/form";
import { Wrong } from "@/ui/form/wrong";
import { Input } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { toast } from "@/ui/toast";
import { PersonFields } from "./person-fields";
import { Tokens } from "./tokens";

type User = components["schemas"]["UserView"];

export default function AccountPage() {
  const query = useQuery(me);
  return (
    <Page
      title="Account"
      actions={
        <Link to="/setup" className={buttonClass()}>
          Set up a machine
        </Link>
      }
    >
      <Answer query={query}>
        {({ user }) => (
          <>
            <div className="grid items-start gap-4 lg:grid-cols-2">
              <Profile user={user} />
              <div className="flex min-w-0 flex-col gap-4">
                {!user.service && <Password user={user} />}
                <Organisation user={user} />
              </div>
            </div>
            <h2 className="text-base font-semibold">Your logins</h2>
            <Tokens purpose="session" empty={<Empty title="No logins">You use an API key.</Empty>} />
          </>
        )}
      </Answer>
    </Page>
  );
}

function Profile({ user }: { user: User }) {
  const client = useQueryClient();
  const [fullName, setFullName] = useState(user.full_name);
  const [email, setEmail] = useState(user.email);
  const submit = async () => {
    await data(
      api.PATCH("/api/v1/users/{name}", {
        params: { path: { name: user.name } },
        body: { full_name: fullName, email },
      }),
    );
    await client.invalidateQueries({ queryKey: ["me"] });
    toast.done("Your profile is saved.");
  };
  return (
    <Card title="Profile">
      <div className="mb-4">
        <Facts
          items={[
            ["name", <strong key="n">{user.name}</strong>],
            [
              "rights",
              user.admin ? <Badge key="a">admin of the server</Badge> : "those of your role in each project",
            ],
          ]}
        />
      </div>
      <Form action="Save" onSubmit={submit}>
        <PersonFields {...{ fullName, setFullName, email, setEmail }} own />
      </Form>
    </Card>
  );
}

function Password({ user }: { user: User }) {
  const client = useQueryClient();
  const [old, setOld] = useState("");
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const submit = async () => {
    if (password !== again) throw new Wrong({ again: "The two differ." });
    await data(
      api.PATCH("/api/v1/users/{name}", {
        params: { path: { name: user.name } },
        body: { password, old_password: old },
      }),
    );
    for (const each of [setOld, setPassword, setAgain]) each("");
    await client.invalidateQueries({ queryKey: ["tokens"] });
    await client.invalidateQueries({ queryKey: ["me"] });
    toast.done("Your password is changed; your other logins have ended.");
  };
  return (
    <Card title={user.has_password ? "Password" : "Set a password"}>
      <Form action={user.has_password ? "Change it" : "Set it"} onSubmit={submit}>
        {/* Password managers want to know whose it is. */}
        <input type="text" name="username" autoComplete="username" value={user.name} readOnly hidden />
        {user.has_password && (
          <Field name="old_password" label="The old one" required>
            {(field) => (
              <Input
                {...field}
                type="password"
                value={old}
                autoComplete="current-password"
                onChange={(event) => setOld(event.target.value)}
              />
            )}
          </Field>
        )}
        <div className="grid gap-4 sm:grid-cols-2">
          <Field name="password" label="The new one" required hint="Ten characters at least.">
            {(field) => (
              <Input
                {...field}
                type="password"
                minLength={10}
                value={password}
                autoComplete="new-password"
                onChange={(event) => setPassword(event.target.value)}
              />
            )}
          </Field>
          <Field name="again" label="The same again" required>
            {(field) => (
              <Input
                {...field}
                type="password"
                minLength={10}
                value={again}
                autoComplete="new-password"
                onChange={(event) => setAgain(event.target.value)}
              />
            )}
          </Field>
        </div>
      </Form>
    </Card>
  );
}

function Organisation({ user }: { user: User }) {
  const { data: server } = useQuery(info);
  if (!server?.login.includes("oidc")) return null;
  return (
    <Card title="Login of your organisation">
      <div className="space-y-3 text-sm">
        <p>
          {user.linked
            ? "You can log in with your organisation."
            : "Link it, and you can log in with your organisation too."}
        </p>
        <a
          className={buttonClass(user.linked ? "plain" : "primary")}
          href="/api/v1/oidc/login?link=true&next=/settings/account"
        >
          {user.linked ? "Link another one instead" : "Link it"}
        </a>
      </div>
    </Card>
  );
}

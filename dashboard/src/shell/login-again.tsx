import { useQuery } from "@tanstack/react-query";
import { Dialog } from "radix-ui";
import { type FormEvent, useState } from "react";
import { api, data } from "@/api/client";
import { info, me, queryClient } from "@/api/queries";
import { connection } from "@/api/signals";
import { Button, buttonClass } from "@/ui/button";
import { Input } from "@/ui/input";
import { ErrorView } from "@/ui/said";

/** Asks who is there when a login has ended, over the page: what was typed in it stays, what was asked goes on. */
export function LoginAgain() {
  const before = queryClient.getQueryData(me.queryKey)?.user.name ?? "";
  const { data: server } = useQuery(info);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);

  const attempt = async (work: () => Promise<unknown>) => {
    setBusy(true);
    setError(null);
    try {
      await work();
      const now = await fetch("/api/v1/me", { cache: "no-store" });
      if (!now.ok) throw new Error("you are not logged in yet");
      const who = await now.json();
      if (before && who.user.name !== before) {
        // What is on the page was for somebody else's eyes.
        window.location.assign("/");
        return;
      }
      connection.loggedIn();
    } catch (failed) {
      setError(failed);
    }
    setBusy(false);
  };
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault();
    const form = new FormData(event.currentTarget);
    void attempt(() =>
      data(
        api.POST("/api/v1/login", {
          body: {
            name: String(form.get("name")),
            password: String(form.get("password")),
            client: "browser",
            cookie: true,
          },
        }),
      ),
    );
  };
  return (
    <Dialog.Root open>
      <Dialog.Portal>
        <Dialog.Overlay className="fixed inset-0 z-50 bg-black/50" />
        <Dialog.Content className="fixed top-1/2 left-1/2 z-50 w-[min(24rem,calc(100vw-2rem))] -translate-x-1/2 -translate-y-1/2 space-y-3 rounded-lg border border-line bg-surface p-5 shadow-pop">
          <Dialog.Title className="text-base font-semibold">Your login has ended</Dialog.Title>
          <Dialog.Description className="text-sm text-muted">
            Log in again: what you typed is still there, and what you asked for goes on.
          </Dialog.Description>
          {error !== null && <ErrorView error={error} />}
          <form onSubmit={submit} className="space-y-3">
            <label className="block text-sm" htmlFor="again-name">
              Name
              <Input id="again-name" name="name" autoComplete="username" defaultValue={before} required />
            </label>
            <label className="block text-sm" htmlFor="again-password">
              Password
              <Input
                id="again-password"
                name="password"
                type="password"
                autoComplete="current-password"
                required
                autoFocus
              />
            </label>
            <div className="flex flex-wrap gap-2">
              <Button type="submit" look="primary" busy={busy}>
                Log in
              </Button>
              {server?.login.includes("oidc") && (
                <a className={buttonClass()} href="/api/v1/oidc/login" target="_blank" rel="noopener">
                  In another tab, with your organisation
                </a>
              )}
              {server?.login.includes("oidc") && (
                <Button look="quiet" onClick={() => void attempt(async () => {})}>
                  I am logged in there
                </Button>
              )}
            </div>
          </form>
        </Dialog.Content>
      </Dialog.Portal>
    </Dialog.Root>
  );
}

import { useQuery, useQueryClient } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { Pause, Pencil, Play, Trash2 } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import { Launches } from "@/pages/snapshots/launches";
import { isOver, newest } from "@/pages/snapshots/queries";
import { targetFacts } from "@/pages/snapshots/target";
import { useRole } from "@/shell/project";
import { Button } from "@/ui/button";
import { Card, Facts } from "@/ui/card";
import { Command } from "@/ui/copy";
import { Confirm } from "@/ui/dialog";
import { signatureOf, usual } from "@/ui/form/values";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Script } from "@/ui/script";
import { Ago } from "@/ui/time";
import { toast } from "@/ui/toast";
import { callScript } from "./calling";
import { type Webhook, webhooks } from "./queries";
import { WebhookForm } from "./webhook-form";
import { WebhookState } from "./webhooks";

const route = getRouteApi("/p/$project/webhooks/$name");

export default function WebhookPage() {
  const { project, name } = route.useParams();
  const query = useQuery(webhooks(project));
  const crumbs = [{ label: "Webhooks", to: `/p/${encodeURIComponent(project)}/webhooks` }];
  return (
    <Answer
      query={query}
      loading={
        <Page title={name} crumbs={crumbs}>
          {null}
        </Page>
      }
    >
      {({ items }) => {
        const found = items.find((each) => each.name === name);
        return found ? (
          <Shown found={found} />
        ) : (
          <Page title={name} crumbs={crumbs}>
            <Empty title="This project has no such webhook">It was deleted, or is called otherwise.</Empty>
          </Page>
        );
      }}
    </Answer>
  );
}

function Shown({ found }: { found: Webhook }) {
  const { project, name } = route.useParams();
  const { edit } = route.useSearch();
  const navigate = route.useNavigate();
  const editor = useRole("editor");
  const client = useQueryClient();
  const [busy, setBusy] = useState(false);
  const { data: snapshots } = useQuery(newest(project));
  const path = { project, name };
  const launches = useQuery({
    queryKey: ["launches", project, "webhook", name],
    queryFn: () => data(api.GET("/api/v1/projects/{project}/webhooks/{name}/launches", { params: { path } })),
    refetchInterval: ({ state }) => (state.data?.items.some((each) => !isOver(each)) ? 2000 : 10_000),
  });
  const setActive = async (active: boolean) => {
    setBusy(true);
    try {
      await data(
        api.PATCH("/api/v1/projects/{project}/webhooks/{name}", { params: { path }, body: { active } }),
      );
      toast.done(active ? "The webhook takes requests again." : "The webhook refuses requests.");
      await client.invalidateQueries({ queryKey: ["webhooks", project] });
    } catch (error) {
      toast.failed(error);
    }
    setBusy(false);
  };
  const remove = async () => {
    await data(api.DELETE("/api/v1/projects/{project}/webhooks/{name}", { params: { path } }));
    await navigate({ to: "/p/$project/webhooks", params: { project } });
    await client.invalidateQueries({ queryKey: ["webhooks", project] });
  };
  const crumbs = [{ label: "Webhooks", to: `/p/${encodeURIComponent(project)}/webhooks` }];
  if (edit && editor) {
    return (
      <Page title={`Edit ${found.name}`} crumbs={crumbs}>
        <WebhookForm
          before={found}
          onDone={() => {
            toast.done("The webhook is saved.");
            return navigate({ search: {} });
          }}
          onCancel={() => void navigate({ search: {} })}
        />
      </Page>
    );
  }
  const given = Object.entries(found.parameters);
  const snapshot = snapshots?.find((each) => each.name === found.snapshot);
  const signature = signatureOf(snapshot?.signature);
  const example = Object.fromEntries(
    found.allowed.map((each) => {
      const declared = signature[each];
      const taken = { ...snapshot?.parameters, ...found.parameters };
      return [each, (declared && usual(each, declared, taken)) ?? "…"];
    }),
  );
  return (
    <Page
      title={found.name}
      crumbs={crumbs}
      note={<WebhookState webhook={found} />}
      actions={
        editor && (
          <>
            <Button busy={busy} onClick={() => setActive(!found.active)}>
              {found.active ? <Pause /> : <Play />} {found.active ? "Pause" : "Resume"}
            </Button>
            <Button onClick={() => void navigate({ search: { edit: true } })}>
              <Pencil /> Edit
            </Button>
            <Confirm
              trigger={
                <Button look="danger">
                  <Trash2 /> Delete
                </Button>
              }
              title={`Delete webhook ${found.name}?`}
              action="Delete it"
              onConfirm={remove}
            >
              Its address and secret are worth nothing any more. Runs that it has asked for stay.
            </Confirm>
          </>
        )
      }
    >
      <div className="grid items-start gap-4 lg:grid-cols-2">
        <Card title="What it does">
          <Facts
            items={[
              ...targetFacts(project, found.snapshot, given),
              ["a request may set", found.allowed.join(", ") || "nothing"],
              ["called last", found.used_at ? <Ago key="u" at={found.used_at} /> : "never"],
              ["made", <Ago key="m" at={found.created_at} />],
            ]}
          />
        </Card>
        <Card title="Call it">
          <div className="space-y-3 text-sm">
            <p className="text-muted">Its address:</p>
            <Command>{found.url}</Command>
            <p className="text-muted">
              With <code>TILTH_WEBHOOK_SECRET</code> set to the secret that was shown when it was made:
            </p>
            <Script>{callScript(found.url, "", example)}</Script>
            <p className="text-muted">
              A signature is good for five minutes, and the same request starts one run. In GitHub, give the
              settings of a repository's webhook this address and the secret, with content type
              application/json.
            </p>
          </div>
        </Card>
      </div>
      <Answer query={launches}>
        {({ items }) => (
          <Launches launches={items} title="Its last calls" empty="Nobody has called it yet." />
        )}
      </Answer>
    </Page>
  );
}

import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { buttonClass } from "@/ui/button";
import { Card } from "@/ui/card";
import { ShownOnce } from "@/ui/form/secret";
import { Page } from "@/ui/page";
import { WebhookForm } from "./webhook-form";

const route = getRouteApi("/p/$project/webhooks/new");

export default function NewWebhookPage() {
  const { project } = route.useParams();
  const navigate = route.useNavigate();
  const [made, setMade] = useState<{ name: string; secret: string } | null>(null);
  const crumbs = [{ label: "Webhooks", to: `/p/${encodeURIComponent(project)}/webhooks` }];
  if (made) {
    return (
      <Page title={`Webhook ${made.name} is made`} crumbs={crumbs}>
        <Card className="max-w-3xl">
          <div className="space-y-3">
            <ShownOnce value={made.secret} what="The secret that requests are signed with" />
            <p className="text-sm text-muted">
              Keep it where the other program reads it, as in the secrets of a CI. The next page shows how to
              call the webhook.
            </p>
            <Link
              to="/p/$project/webhooks/$name"
              params={{ project, name: made.name }}
              className={buttonClass("primary")}
            >
              I have it
            </Link>
          </div>
        </Card>
      </Page>
    );
  }
  return (
    <Page title="New webhook" crumbs={crumbs}>
      <WebhookForm
        onDone={(name, secret) => setMade({ name, secret })}
        onCancel={() => void navigate({ to: "/p/$project/webhooks", params: { project } })}
      />
    </Page>
  );
}

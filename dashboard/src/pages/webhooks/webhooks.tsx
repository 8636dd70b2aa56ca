import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useProject, useRole } from "@/shell/project";
import { buttonClass } from "@/ui/button";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { type Webhook, webhooks } from "./queries";

export default function WebhooksPage() {
  const project = useProject();
  const navigate = useNavigate();
  const editor = useRole("editor");
  const query = useQuery(webhooks(project));
  const columns: Column<Webhook>[] = [
    {
      id: "name",
      header: "Webhook",
      fixed: true,
      width: 140,
      sort: (row) => row.name,
      cell: (row) => (
        <Link
          to="/p/$project/webhooks/$name"
          params={{ project, name: row.name }}
          className="font-medium text-accent hover:underline"
        >
          {row.name}
        </Link>
      ),
    },
    { id: "state", header: "State", width: 90, cell: (row) => <WebhookState webhook={row} /> },
    {
      id: "snapshot",
      header: "Snapshot",
      width: 120,
      sort: (row) => row.snapshot,
      cell: (row) => row.snapshot,
    },
    {
      id: "allowed",
      header: "A request may set",
      width: 160,
      grow: 2,
      cell: (row) => row.allowed.join(", ") || <span className="text-muted">nothing</span>,
    },
    {
      id: "used",
      header: "Called last",
      width: 110,
      sort: (row) => row.used_at,
      cell: (row) => (row.used_at ? <Ago at={row.used_at} /> : <span className="text-muted">never</span>),
    },
    {
      id: "made",
      header: "Made",
      width: 90,
      sort: (row) => row.created_at,
      cell: (row) => <Ago at={row.created_at} />,
    },
  ];
  return (
    <Page
      title="Webhooks"
      actions={
        editor && (
          <Link to="/p/$project/webhooks/new" params={{ project }} className={buttonClass("primary")}>
            <Plus /> Make one
          </Link>
        )
      }
    >
      <Answer query={query}>
        {({ items }) => (
          <DataTable
            name="webhooks"
            label="webhooks"
            columns={columns}
            rows={items}
            rowId={(row) => row.id}
            onOpen={(row) =>
              void navigate({ to: "/p/$project/webhooks/$name", params: { project, name: row.name } })
            }
            empty={
              <Empty title="No webhooks yet" command="tilth webhooks create deploy --snapshot NAME">
                A webhook starts a run of a snapshot when another program sends a signed request: a
                repository, a CI job, anything.
              </Empty>
            }
          />
        )}
      </Answer>
    </Page>
  );
}

export function WebhookState({ webhook }: { webhook: Webhook }) {
  return webhook.active ? <Badge tone="good">active</Badge> : <Badge tone="calm">paused</Badge>;
}

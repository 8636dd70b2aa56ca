import { useQuery } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { Plus } from "lucide-react";
import { useProject, useRole } from "@/shell/project";
import { buttonClass } from "@/ui/button";
import { SearchField } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";
import { type Schedule, schedules } from "./queries";
import { inWords } from "./rhythm";

const route = getRouteApi("/p/$project/schedules");

export default function SchedulesPage() {
  const project = useProject();
  const { q = "" } = route.useSearch();
  const navigate = route.useNavigate();
  const editor = useRole("editor");
  const query = useQuery(schedules(project));
  const columns: Column<Schedule>[] = [
    {
      id: "name",
      header: "Schedule",
      fixed: true,
      width: 140,
      sort: (row) => row.name,
      cell: (row) => (
        <Link
          to="/p/$project/schedules/$name"
          params={{ project, name: row.name }}
          className="font-medium text-accent hover:underline"
        >
          {row.name}
        </Link>
      ),
    },
    {
      id: "state",
      header: "State",
      width: 90,
      sort: (row) => (row.active ? 0 : 1),
      cell: (row) => <ScheduleState schedule={row} />,
    },
    {
      id: "next",
      header: "Next",
      width: 90,
      sort: (row) => row.next_at,
      cell: (row) => (row.active ? <Ago at={row.next_at} /> : "–"),
    },
    { id: "when", header: "When", width: 200, grow: 2, cell: (row) => <code>{inWords(row)}</code> },
    {
      id: "snapshot",
      header: "Snapshot",
      width: 110,
      sort: (row) => row.snapshot,
      cell: (row) => row.snapshot,
    },
    {
      id: "last",
      header: "Last",
      width: 90,
      sort: (row) => row.last_at,
      cell: (row) => <Ago at={row.last_at} />,
    },
  ];
  const make = editor && (
    <Link to="/p/$project/schedules/new" params={{ project }} className={buttonClass("primary")}>
      <Plus /> Make one
    </Link>
  );
  return (
    <Page title="Schedules" actions={make}>
      <Answer query={query}>
        {({ items }) => (
          <DataTable
            name="schedules"
            label="schedules"
            columns={columns}
            rows={items.filter((each) =>
              `${each.name} ${each.snapshot}`.toLowerCase().includes(q.toLowerCase()),
            )}
            rowId={(row) => row.id}
            onOpen={(row) =>
              void navigate({ to: "/p/$project/schedules/$name", params: { project, name: row.name } })
            }
            tools={
              <SearchField
                className="w-64 max-w-full"
                label="name, snapshot"
                value={q}
                onChange={(text) => void navigate({ search: { q: text || undefined }, replace: true })}
              />
            }
            empty={
              items.length ? (
                <Empty title="No schedule is like this">Try fewer letters.</Empty>
              ) : (
                <Empty
                  title="No schedules yet"
                  command={'tilth schedules create nightly --snapshot NAME --cron "30 6 * * *"'}
                >
                  A schedule starts runs of a snapshot by the clock.
                </Empty>
              )
            }
          />
        )}
      </Answer>
    </Page>
  );
}

export function ScheduleState({ schedule }: { schedule: Schedule }) {
  if (!schedule.active) return <Badge tone="calm">paused</Badge>;
  return schedule.next_at ? <Badge tone="good">active</Badge> : <Badge tone="calm">over</Badge>;
}

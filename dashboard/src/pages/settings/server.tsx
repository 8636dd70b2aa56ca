import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { CircleAlert, CircleCheck, TriangleAlert } from "lucide-react";
import { useState } from "react";
import { api, data } from "@/api/client";
import type { components } from "@/api/schema";
import { Card, Facts, Figure } from "@/ui/card";
import { Check } from "@/ui/form/form";
import { bytes, count, plural } from "@/ui/format";
import { SearchField } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty, sentence } from "@/ui/said";
import { Badge, State } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Tabs } from "@/ui/tabs";
import { Ago, Took, useNow } from "@/ui/time";
import { Words } from "@/ui/words";

const route = getRouteApi("/settings/server");

type Health = components["schemas"]["ServerHealth"];
type Runner = components["schemas"]["Runner"];

export default function ServerPage() {
  const { tab = "health" } = route.useSearch();
  const navigate = route.useNavigate();
  return (
    <Page title="Server">
      <Tabs
        label="about the server"
        open={tab}
        onOpen={(id) => void navigate({ search: id === "health" ? {} : { tab: id }, replace: true })}
        tabs={[
          { id: "health", label: "Health", content: <HealthTab /> },
          { id: "runners", label: "Runners", content: <RunnersTab /> },
          { id: "settings", label: "Settings", content: <SettingsTab /> },
        ]}
      />
    </Page>
  );
}

const LOOKS = {
  good: { icon: CircleCheck, text: "text-good", box: "bg-good-soft" },
  warning: { icon: TriangleAlert, text: "text-wait", box: "bg-wait-soft" },
  bad: { icon: CircleAlert, text: "text-bad", box: "bg-bad-soft" },
} as const;

function HealthTab() {
  const query = useQuery({
    queryKey: ["server", "health"],
    queryFn: () => data(api.GET("/api/v1/server/health")),
    refetchInterval: 10_000,
  });
  return <Answer query={query}>{(health) => <Shown health={health} />}</Answer>;
}

function Shown({ health }: { health: Health }) {
  const told = health.notices.length
    ? health.notices
    : [{ level: "good" as const, what: "everything is well", why: "", mend: "" }];
  const used = health.disk.total ? 1 - health.disk.free / health.disk.total : 0;
  return (
    <div className="flex flex-col gap-4">
      <ul className="flex flex-col gap-2" aria-label="what should be looked after">
        {told.map((each) => {
          const look = LOOKS[each.level];
          return (
            <li
              key={each.what}
              className={`flex gap-3 rounded-lg border border-line p-3 text-sm ${look.box}`}
            >
              <look.icon className={`mt-0.5 size-4 shrink-0 ${look.text}`} aria-hidden />
              <div className="min-w-0 break-words">
                <p className={`font-semibold ${look.text}`}>{sentence(each.what)}</p>
                {each.why && (
                  <p>
                    <Words>{sentence(each.why)}</Words>
                  </p>
                )}
                {each.mend && (
                  <p>
                    <Words>{sentence(each.mend)}</Words>
                  </p>
                )}
              </div>
            </li>
          );
        })}
      </ul>
      <div className="grid grid-cols-2 gap-4 rounded-lg border border-line bg-surface p-4 shadow-card md:grid-cols-4 xl:grid-cols-6">
        <Figure label="up" value={<Took from={health.started_at} to={null} running />} />
        <Figure
          label="database"
          value={`${health.database.answered_in_ms} ms`}
          note={`${health.database.kind} ${health.database.version}`}
        />
        <Figure
          label="waiting for a runner"
          value={count(health.queue.waiting)}
          note={
            health.queue.since ? (
              <>
                since <Ago at={health.queue.since} />
              </>
            ) : (
              "nothing"
            )
          }
        />
        <Figure
          label="runners"
          value={count(health.runners.here)}
          note={`${health.runners.busy} of ${plural(health.runners.slots, "slot")} taken`}
        />
        <Figure
          label="disk used"
          value={`${Math.round(used * 100)} %`}
          note={`${bytes(health.disk.free)} free`}
        />
        <Figure label="records" value={bytes(health.database.size)} note="in the database" />
      </div>
      <div className="grid items-start gap-4 lg:grid-cols-3">
        <Card title="What it is">
          <Facts
            items={[
              ["version", `tilth ${health.version}`],
              ["Python", health.python],
              ["protocol", String(health.protocol)],
              [
                "address",
                <code key="a" className="break-all">
                  {health.url}
                </code>,
              ],
              ["processes", `${health.processes} that answer requests`],
              ["schedules", health.schedules ? "started by this server" : "left alone by this server"],
              [
                "files",
                <code key="f" className="break-all">
                  {health.disk.folder}
                </code>,
              ],
            ]}
          />
        </Card>
        <Counts title="Runs" states={health.runs} />
        <Counts title="Runs asked for" states={health.launches} />
      </div>
    </div>
  );
}

function Counts({ title, states }: { title: string; states: Record<string, number> }) {
  const told = Object.entries(states).sort(([, a], [, b]) => b - a);
  return (
    <Card title={title}>
      {told.length === 0 ? (
        <p className="text-sm text-muted">None yet.</p>
      ) : (
        <ul className="space-y-1.5">
          {told.map(([state, number]) => (
            <li key={state} className="flex items-center justify-between text-sm">
              <State state={state} />
              <span className="tabular-nums">{count(number)}</span>
            </li>
          ))}
        </ul>
      )}
    </Card>
  );
}

function RunnersTab() {
  const now = useNow(10_000);
  const query = useInfiniteQuery({
    queryKey: ["runners"],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      data(api.GET("/api/v1/runners", { params: { query: { limit: 200, after: pageParam } } })),
    getNextPageParam: (page) => page.next ?? undefined,
    refetchInterval: 10_000,
  });
  const here = (row: Runner) => Boolean(row.seen_at) && now - Date.parse(row.seen_at ?? "") < 120_000;
  const columns: Column<Runner>[] = [
    {
      id: "name",
      header: "Runner",
      fixed: true,
      width: 150,
      sort: (row) => row.name,
      cell: (row) => <span className="font-medium">{row.name}</span>,
    },
    {
      id: "state",
      header: "State",
      width: 80,
      sort: (row) => (here(row) ? 0 : 1),
      cell: (row) => (here(row) ? <Badge tone="good">here</Badge> : <Badge>away</Badge>),
    },
    {
      id: "seen",
      header: "Heard of",
      width: 90,
      sort: (row) => row.seen_at,
      cell: (row) => <Ago at={row.seen_at} />,
    },
    { id: "busy", header: "Runs", width: 70, cell: (row) => `${row.busy ?? 0} of ${row.slots ?? 1}` },
    { id: "project", header: "Serves", width: 110, cell: (row) => row.project || "all projects" },
    {
      id: "platform",
      header: "Platform",
      width: 130,
      sort: (row) => row.platform,
      cell: (row) => row.platform,
    },
    { id: "place", header: "Place", width: 90, cell: (row) => row.place },
    { id: "version", header: "tilth", width: 90, sort: (row) => row.version, cell: (row) => row.version },
  ];
  return (
    <Answer query={query}>
      {({ pages }) => (
        <DataTable
          name="runners"
          label="runners"
          columns={columns}
          rows={pages.flatMap((page) => page.items)}
          rowId={(row) => row.id}
          onEnd={() => query.hasNextPage && void query.fetchNextPage()}
          more={query.isFetchingNextPage}
          empty={
            <Empty title="No runner was ever here" command="tilth runner start">
              A runner starts the runs that snapshots, schedules and webhooks ask for, on this machine or any
              other.
            </Empty>
          }
        />
      )}
    </Answer>
  );
}

function SettingsTab() {
  const [typed, setTyped] = useState("");
  const [given, setGiven] = useState(false);
  const query = useQuery({
    queryKey: ["server", "settings"],
    queryFn: () => data(api.GET("/api/v1/server/settings")),
  });
  return (
    <Answer query={query}>
      {({ items }) => (
        <div className="flex flex-col gap-3">
          <p className="max-w-prose text-sm text-muted">
            Each is a variable of the server's processes. They are changed where those are started, and hold
            from the next start on. Secrets are not shown.
          </p>
          <div className="flex flex-wrap items-center gap-4">
            <SearchField
              className="w-64 max-w-full"
              label="setting, meaning"
              value={typed}
              onChange={setTyped}
            />
            <Check name="given" label="only what is not the default" checked={given} onChange={setGiven} />
          </div>
          <ul className="divide-y divide-line rounded-lg border border-line bg-surface shadow-card">
            {items
              .filter((each) => each.given || !given)
              .filter((each) =>
                `${each.variable} ${each.meaning}`.toLowerCase().includes(typed.toLowerCase()),
              )
              .map((each) => (
                <li key={each.name} className="grid gap-x-6 gap-y-1 p-3 text-sm md:grid-cols-[20rem_1fr]">
                  <div className="min-w-0">
                    <code className="break-all">{each.variable}</code>
                    <div className="mt-0.5 flex flex-wrap items-center gap-2">
                      <code className="break-all text-accent">{each.value || "–"}</code>
                      {each.given && <Badge tone="busy">given</Badge>}
                      {each.secret && <Badge>secret</Badge>}
                    </div>
                  </div>
                  <p className="text-muted">
                    <Words>{sentence(each.meaning)}</Words>
                  </p>
                </li>
              ))}
          </ul>
        </div>
      )}
    </Answer>
  );
}

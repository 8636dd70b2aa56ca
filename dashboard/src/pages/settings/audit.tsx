import { useInfiniteQuery, useQuery } from "@tanstack/react-query";
import { getRouteApi } from "@tanstack/react-router";
import { api, data } from "@/api/client";
import { projects } from "@/api/queries";
import type { components } from "@/api/schema";
import { asText } from "@/ui/form/values";
import { SearchField, Select } from "@/ui/input";
import { Page } from "@/ui/page";
import { Answer, Empty } from "@/ui/said";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";

const route = getRouteApi("/settings/audit");

type Entry = components["schemas"]["AuditEntry"];

/** What the log has entries of; any other may be asked for in the address. */
const ACTIONS = [
  "login",
  "login.fail",
  "logout",
  "password.set",
  "token.revoke",
  "key.create",
  "device.grant",
  "device.deny",
  "user.create",
  "user.update",
  "user.invite",
  "user.link",
  "user.delete",
  "project.create",
  "project.update",
  "member.put",
  "member.delete",
  "secret.set",
  "secret.read",
  "secret.rotate",
  "secret.delete",
  "launch.create",
  "launch.cancel",
  "schedule.create",
  "schedule.update",
  "schedule.run",
  "schedule.delete",
  "webhook.create",
  "webhook.update",
  "webhook.delete",
  "snapshot.version",
  "snapshot.update",
  "stack.create",
  "stack.update",
  "stack.choose",
  "stack.delete",
  "component.create",
  "component.update",
  "component.delete",
  "runner.begin",
];

const COLUMNS: Column<Entry>[] = [
  { id: "when", header: "When", fixed: true, width: 90, cell: (row) => <Ago at={row.created_at} /> },
  {
    id: "user",
    header: "Who",
    width: 110,
    cell: (row) => row.user || <span className="text-muted">nobody</span>,
  },
  { id: "action", header: "Did", fixed: true, width: 130, cell: (row) => <code>{row.action}</code> },
  {
    id: "subject",
    header: "To",
    width: 150,
    grow: 2,
    cell: (row) => <span title={row.subject}>{row.subject}</span>,
  },
  { id: "project", header: "Project", width: 110, cell: (row) => row.project },
  { id: "address", header: "From", width: 110, cell: (row) => <code>{row.address}</code> },
  {
    id: "details",
    header: "Details",
    width: 180,
    grow: 2,
    cell: (row) => {
      const text = Object.entries(row.details ?? {})
        .map(([name, value]) => `${name}=${asText(value)}`)
        .join("  ");
      return (
        <code className="text-[13px] text-muted" title={text}>
          {text}
        </code>
      );
    },
  },
];

export default function AuditPage() {
  const { user, action, project } = route.useSearch();
  const navigate = route.useNavigate();
  const { data: known } = useQuery(projects);
  const query = useInfiniteQuery({
    queryKey: ["audit", user, action, project],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/audit", {
          params: { query: { limit: 100, after: pageParam, user, action, project } },
        }),
      ),
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const set = (change: { user?: string; action?: string; project?: string }) =>
    void navigate({ search: (was) => ({ ...was, ...change }), replace: true });
  return (
    <Page title="Audit">
      <Answer query={query}>
        {({ pages }) => (
          <DataTable
            name="audit"
            label="audit log"
            columns={COLUMNS}
            rows={pages.flatMap((page) => page.items)}
            rowId={(row) => row.id}
            onEnd={() => query.hasNextPage && void query.fetchNextPage()}
            more={query.isFetchingNextPage}
            tools={
              <>
                <SearchField
                  className="w-44"
                  label="user, by name"
                  value={user ?? ""}
                  onChange={(text) => set({ user: text || undefined })}
                />
                <Select
                  aria-label="what was done"
                  className="w-44!"
                  value={action ?? ""}
                  options={[
                    { value: "", label: "whatever was done" },
                    ...(action && !ACTIONS.includes(action) ? [action] : []),
                    ...ACTIONS,
                  ]}
                  onChange={(event) => set({ action: event.target.value || undefined })}
                />
                <Select
                  aria-label="project"
                  className="w-44!"
                  value={project ?? ""}
                  options={[
                    { value: "", label: "everywhere" },
                    ...(project && !known?.items.some((each) => each.name === project) ? [project] : []),
                    ...(known?.items.map((each) => each.name) ?? []),
                  ]}
                  onChange={(event) => set({ project: event.target.value || undefined })}
                />
              </>
            }
            empty={<Empty title="Nothing of this was done">Take away what is chosen above.</Empty>}
          />
        )}
      </Answer>
    </Page>
  );
}

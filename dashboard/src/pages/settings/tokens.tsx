import { useInfiniteQuery, useQuery, useQueryClient } from "@tanstack/react-query";
import { Trash2 } from "lucide-react";
import { api, data } from "@/api/client";
import { me } from "@/api/queries";
import type { components } from "@/api/schema";
import { IconButton } from "@/ui/button";
import { Confirm } from "@/ui/dialog";
import { Answer } from "@/ui/said";
import { Badge } from "@/ui/state";
import { type Column, DataTable } from "@/ui/table";
import { Ago } from "@/ui/time";

type Token = components["schemas"]["TokenView"];

/** Logins or API keys of a user; ended ones are not among them. */
export function Tokens({
  user = "",
  purpose,
  empty,
}: {
  user?: string; // empty: one's own
  purpose: "session" | "api_key";
  empty: React.ReactNode;
}) {
  const client = useQueryClient();
  const { data: who } = useQuery(me);
  const query = useInfiniteQuery({
    queryKey: ["tokens", user],
    initialPageParam: undefined as string | undefined,
    queryFn: ({ pageParam }) =>
      data(
        api.GET("/api/v1/tokens", {
          params: { query: { limit: 1000, after: pageParam, ...(user ? { user } : {}) } },
        }),
      ),
    getNextPageParam: (page) => page.next ?? undefined,
  });
  const end = async (token: Token) => {
    await data(api.DELETE("/api/v1/tokens/{id}", { params: { path: { id: token.id } } }));
    await client.invalidateQueries({ queryKey: ["tokens"] });
  };
  const session = purpose === "session";
  const columns: Column<Token>[] = [
    {
      id: "name",
      header: session ? "Logged in at" : "Key",
      fixed: true,
      width: 160,
      grow: 2,
      sort: (row) => row.name,
      cell: (row) => (
        <span className="inline-flex items-center gap-2">
          {row.name || (session ? "somewhere" : "–")}
          {row.id === who?.token && <Badge tone="good">this one</Badge>}
        </span>
      ),
    },
    {
      id: "beginning",
      header: "Begins with",
      width: 150,
      hidden: session,
      cell: (row) => <code className="text-muted">{row.beginning}…</code>,
    },
    {
      id: "project",
      header: "Opens",
      width: 110,
      hidden: session,
      cell: (row) => row.project || "all projects",
    },
    {
      id: "used",
      header: "Used",
      width: 90,
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
    {
      id: "ends",
      header: "Ends",
      width: 90,
      sort: (row) => row.expires_at,
      cell: (row) => (row.expires_at ? <Ago at={row.expires_at} /> : "never"),
    },
    {
      id: "actions",
      header: "",
      fixed: true,
      width: 40,
      grow: 0,
      cell: (row) =>
        row.id === who?.token ? null : (
          <Confirm
            trigger={
              <IconButton label={`end ${row.name || row.beginning}`}>
                <Trash2 />
              </IconButton>
            }
            title={session ? "End this login?" : `Delete key ${row.name}?`}
            action={session ? "End it" : "Delete it"}
            onConfirm={() => end(row)}
          >
            {session
              ? "Whoever uses it has to log in again."
              : "Whatever uses it is refused from now on, at once."}
          </Confirm>
        ),
    },
  ];
  return (
    <Answer query={query}>
      {({ pages }) => (
        <DataTable
          name={session ? "logins" : "keys"}
          label={session ? "logins" : "API keys"}
          columns={columns}
          rows={pages.flatMap((page) => page.items).filter((each) => each.purpose === purpose)}
          rowId={(row) => row.id}
          onEnd={() => query.hasNextPage && void query.fetchNextPage()}
          more={query.isFetchingNextPage}
          empty={empty}
          height="26rem"
        />
      )}
    </Answer>
  );
}

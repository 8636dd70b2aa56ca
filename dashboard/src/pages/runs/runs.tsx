import { useNavigate, useSearch } from "@tanstack/react-router";
import { useCallback, useMemo } from "react";
import { useProject } from "@/shell/project";
import { Page } from "@/ui/page";
import { type Filters, readFilters, writeFilters } from "./filters";
import { RunTable } from "./run-table";

/** All runs of a project. */
export default function RunsPage() {
  const project = useProject();
  const search = useSearch({ strict: false });
  const filters = useMemo(() => readFilters(search as Record<string, unknown>), [search]);
  const navigate = useNavigate();
  const change = useCallback(
    (next: Filters) =>
      void navigate({ to: ".", search: writeFilters(next) as never, replace: true, resetScroll: false }),
    [navigate],
  );
  return (
    <Page title="Runs">
      <RunTable key={project} project={project} filters={filters} onChange={change} />
    </Page>
  );
}

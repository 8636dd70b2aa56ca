import { keepPreviousData, useQuery } from "@tanstack/react-query";
import { useNavigate } from "@tanstack/react-router";
import { Command } from "cmdk";
import { Activity, FileBox, Keyboard, Moon, Package, SquareStack, Sun } from "lucide-react";
import { type ReactNode, useState } from "react";
import { api, data } from "@/api/client";
import { me, projects } from "@/api/queries";
import { State } from "@/ui/state";
import { PLACES, SETTINGS } from "./navigation";
import { lastProject, useProject } from "./project";
import { setTheme, useTheme } from "./theme";

/** Goes anywhere and does anything by typing a few letters of it. */
export default function Palette({ onClose, onShortcuts }: { onClose: () => void; onShortcuts: () => void }) {
  const navigate = useNavigate();
  const project = useProject() || lastProject();
  const theme = useTheme();
  const [typed, setTyped] = useState("");
  const { data: who } = useQuery(me);
  const { data: known } = useQuery(projects);
  const path = { project };
  const runs = useQuery({
    queryKey: ["palette", "runs", project],
    queryFn: () =>
      data(api.GET("/api/v1/projects/{project}/runs", { params: { path, query: { limit: 50 } } })),
    enabled: project !== "",
    placeholderData: keepPreviousData,
  });
  // A run that is not among the newest is found by its whole name.
  const exactly = useQuery({
    queryKey: ["palette", "run", project, typed],
    queryFn: () =>
      data(
        api.GET("/api/v1/projects/{project}/runs", {
          params: { path, query: { name: [typed.trim()], limit: 1 } },
        }),
      ),
    enabled: project !== "" && /-\d+$/.test(typed.trim()),
  });
  const go = (to: string) => {
    onClose();
    void navigate({ to });
  };
  const base = `/p/${encodeURIComponent(project)}`;
  const found = [
    ...new Map(
      [...(exactly.data?.items ?? []), ...(runs.data?.items ?? [])].map((each) => [each.name, each]),
    ).values(),
  ];
  const group =
    "[&_[cmdk-group-heading]]:px-2 [&_[cmdk-group-heading]]:py-1 [&_[cmdk-group-heading]]:text-xs [&_[cmdk-group-heading]]:text-muted";
  return (
    <Command.Dialog
      open
      onOpenChange={(open) => open || onClose()}
      label="Search and commands"
      overlayClassName="fixed inset-0 z-40 bg-black/40"
      contentClassName="fixed top-[12vh] left-1/2 z-50 w-[min(36rem,calc(100vw-2rem))] -translate-x-1/2 overflow-hidden rounded-lg border border-line bg-surface shadow-pop"
    >
      <Command.Input
        value={typed}
        onValueChange={setTyped}
        placeholder="Go to a page, a run, a project …"
        className="h-12 w-full border-b border-line bg-transparent px-4 text-base outline-none placeholder:text-muted"
      />
      <Command.List className="max-h-[55vh] overflow-y-auto p-2">
        <Command.Empty className="p-4 text-center text-sm text-muted">Nothing is called so.</Command.Empty>
        {project && (
          <Command.Group heading="Pages" className={group}>
            {PLACES.flatMap((each) => each.places).map(({ label, path: to, icon: Icon }) => (
              <Item key={to} onSelect={() => go(`${base}/${to}`)}>
                <Icon /> {label}
              </Item>
            ))}
            {SETTINGS.filter((each) => !each.admin || who?.user.admin).map(
              ({ label, path: to, icon: Icon }) => (
                <Item
                  key={`settings-${to}`}
                  value={`settings ${label}`}
                  onSelect={() => go(`/settings/${to}`)}
                >
                  <Icon /> Settings: {label}
                </Item>
              ),
            )}
          </Command.Group>
        )}
        {found.length > 0 && (
          <Command.Group heading="Runs" className={group}>
            {found.map((each) => (
              <Item
                key={each.id}
                value={`run ${each.name}`}
                onSelect={() => go(`${base}/runs/${encodeURIComponent(each.name ?? "")}`)}
              >
                <Activity /> {each.name}
                <span className="ml-auto">
                  <State state={each.state ?? ""} bare />
                </span>
              </Item>
            ))}
          </Command.Group>
        )}
        <Command.Group heading="Projects" className={group}>
          {known?.items.map((each) => (
            <Item
              key={each.name}
              value={`project ${each.name}`}
              onSelect={() => go(`/p/${encodeURIComponent(each.name)}/overview`)}
            >
              <SquareStack /> {each.name}
            </Item>
          ))}
        </Command.Group>
        {project && typed && (
          <Command.Group heading="Search" className={group} forceMount>
            <Item
              value={`artifacts ${typed}`}
              onSelect={() => go(`${base}/artifacts/${encodeURIComponent(typed)}`)}
            >
              <FileBox /> The artifact named “{typed}”
            </Item>
            <Item
              value={`pipeline ${typed}`}
              onSelect={() => go(`${base}/pipelines/${encodeURIComponent(typed)}`)}
            >
              <Package /> The pipeline named “{typed}”
            </Item>
          </Command.Group>
        )}
        <Command.Group heading="Commands" className={group}>
          <Item
            onSelect={() => {
              setTheme(theme === "dark" ? "light" : "dark");
              onClose();
            }}
          >
            {theme === "dark" ? <Sun /> : <Moon />} Switch to the {theme === "dark" ? "light" : "dark"} theme
          </Item>
          <Item onSelect={onShortcuts}>
            <Keyboard /> List the keyboard shortcuts
          </Item>
        </Command.Group>
      </Command.List>
    </Command.Dialog>
  );
}

function Item({ children, onSelect, value }: { children: ReactNode; onSelect: () => void; value?: string }) {
  return (
    <Command.Item
      value={value}
      onSelect={onSelect}
      className="flex cursor-default items-center gap-2.5 rounded-md px-2 py-2 text-sm data-[selected=true]:bg-sunken [&_svg]:size-4 [&_svg]:text-muted"
    >
      {children}
    </Command.Item>
  );
}

import { useQuery } from "@tanstack/react-query";
import { Link, Outlet, useNavigate, useRouterState } from "@tanstack/react-router";
import {
  ChevronsUpDown,
  LogOut,
  Menu as MenuIcon,
  Moon,
  Search,
  Settings,
  Sprout,
  Sun,
  X,
} from "lucide-react";
import { Dialog } from "radix-ui";
import { lazy, Suspense, useCallback, useEffect, useState } from "react";
import { api, data } from "@/api/client";
import { me, projects, queryClient } from "@/api/queries";
import { useConnection } from "@/api/signals";
import { IconButton } from "@/ui/button";
import { Menu, MenuItem, MenuLabel, MenuLine } from "@/ui/menu";
import { Toasts } from "@/ui/toast";
import { Gone } from "./gone";
import { LoginAgain } from "./login-again";
import { PLACES, type Place, SETTINGS } from "./navigation";
import { lastProject, useProject } from "./project";
import { useShortcuts } from "./shortcuts";
import { setTheme, useTheme } from "./theme";

const palette = () => import("./palette");
const Palette = lazy(palette);
const ShortcutList = lazy(() => import("./shortcut-list"));

/** What stands around every page. */
export function Frame() {
  const [opened, setOpened] = useState<"palette" | "shortcuts" | "navigation" | "">("");
  useShortcuts(useCallback((what) => setOpened(what), []));
  // There before it is asked for, or what is typed at once would go nowhere.
  useEffect(() => {
    const timer = setTimeout(palette, 1000);
    return () => clearTimeout(timer);
  }, []);
  const { reachable, loggedOut } = useConnection();
  const path = useRouterState({ select: (state) => state.location.pathname });
  // biome-ignore lint/correctness/useExhaustiveDependencies: a page that was gone to closes the navigation
  useEffect(() => setOpened((was) => (was === "navigation" ? "" : was)), [path]);

  return (
    <div className="flex h-full flex-col md:flex-row">
      {/* biome-ignore lint/a11y/useValidAnchor: it leads to a place in this page, whose address stays */}
      <a
        href="#page"
        className="absolute -top-20 left-2 z-50 rounded bg-accent px-3 py-2 text-accent-ink focus:top-2"
        onClick={(event) => {
          event.preventDefault();
          document.getElementById("page")?.focus();
        }}
      >
        To the content
      </a>
      <div className="flex items-center justify-between border-b border-line bg-surface px-3 py-2 md:hidden">
        <Brand />
        <div className="flex">
          <IconButton label="search and commands" onClick={() => setOpened("palette")}>
            <Search />
          </IconButton>
          <Dialog.Root
            open={opened === "navigation"}
            onOpenChange={(open) => setOpened(open ? "navigation" : "")}
          >
            <Dialog.Trigger asChild>
              <IconButton label="navigation">
                <MenuIcon />
              </IconButton>
            </Dialog.Trigger>
            <Dialog.Portal>
              <Dialog.Overlay className="fixed inset-0 z-40 bg-black/40" />
              <Dialog.Content
                aria-describedby={undefined}
                className="fixed inset-y-0 left-0 z-50 flex w-72 max-w-[85vw] flex-col overflow-y-auto bg-surface"
              >
                <Dialog.Title className="sr-only">Navigation</Dialog.Title>
                <Dialog.Close asChild>
                  <IconButton label="close" className="absolute top-3 right-2">
                    <X />
                  </IconButton>
                </Dialog.Close>
                <Navigation onSearch={() => setOpened("palette")} />
              </Dialog.Content>
            </Dialog.Portal>
          </Dialog.Root>
        </div>
      </div>
      <aside className="hidden w-56 shrink-0 flex-col overflow-y-auto border-r border-line bg-surface md:flex">
        <Navigation onSearch={() => setOpened("palette")} />
      </aside>
      <main id="page" tabIndex={-1} className="min-h-0 min-w-0 grow overflow-y-auto outline-none">
        {!reachable && <Gone />}
        <Outlet />
      </main>
      <Toasts />
      {loggedOut && <LoginAgain />}
      <Suspense>
        {opened === "palette" && (
          <Palette onClose={() => setOpened("")} onShortcuts={() => setOpened("shortcuts")} />
        )}
        {opened === "shortcuts" && <ShortcutList onClose={() => setOpened("")} />}
      </Suspense>
    </div>
  );
}

function Brand() {
  return (
    <Link to="/" className="flex items-center gap-2 font-semibold tracking-tight">
      <Sprout className="size-5 text-accent" aria-hidden />
      tilth
    </Link>
  );
}

function Navigation({ onSearch }: { onSearch: () => void }) {
  const project = useProject() || lastProject();
  const { data: who } = useQuery(me);
  const admin = who?.user.admin ?? false;
  const inSettings = useRouterState({
    select: (state) => state.location.pathname.startsWith("/settings"),
  });
  return (
    <>
      <div className="hidden px-4 pt-4 md:block">
        <Brand />
      </div>
      <div className="space-y-2 p-3 pt-4">
        <ProjectSwitch project={project} />
        <button
          type="button"
          onClick={onSearch}
          className="flex h-8 w-full items-center gap-2 rounded-md border border-line bg-sunken px-2 text-muted hover:text-ink"
        >
          <Search className="size-4" aria-hidden />
          <span className="grow truncate text-left text-[13px]">Search, go to …</span>
          <kbd className="text-xs">⌃K</kbd>
        </button>
      </div>
      <nav aria-label="main" className="grow px-3 pb-3">
        {project &&
          PLACES.map(({ label, places }) => (
            <div key={label} className="mb-3">
              <h2 className="px-2 pb-1 text-[11px] font-medium tracking-wide text-muted uppercase">
                {label}
              </h2>
              <ul>
                {places.map((each) => (
                  <Entry key={each.path} place={each} to={`/p/${encodeURIComponent(project)}/${each.path}`} />
                ))}
              </ul>
            </div>
          ))}
        {(inSettings || !project) && (
          <div className="mb-3">
            <h2 className="px-2 pb-1 text-[11px] font-medium tracking-wide text-muted uppercase">Settings</h2>
            <ul>
              {SETTINGS.filter((each) => admin || !each.admin).map((each) => (
                <Entry key={each.path} place={each} to={`/settings/${each.path}`} />
              ))}
            </ul>
          </div>
        )}
      </nav>
      <div className="sticky bottom-0 flex items-center gap-1 border-t border-line bg-surface p-2">
        <Account name={who?.user.name ?? ""} />
        <Link
          to="/settings"
          aria-label="settings"
          title="settings"
          className="inline-flex size-8 items-center justify-center rounded-md text-muted hover:bg-sunken hover:text-ink"
        >
          <Settings className="size-4" />
        </Link>
        <ThemeButton />
      </div>
    </>
  );
}

function Entry({ place, to }: { place: Place; to: string }) {
  const { icon: Icon, label } = place;
  return (
    <li>
      <Link
        to={to}
        activeOptions={{ exact: false, includeSearch: false }}
        className="flex h-8 items-center gap-2.5 rounded-md px-2 text-muted hover:bg-sunken hover:text-ink"
        activeProps={{ className: "bg-accent-soft font-medium text-ink!", "aria-current": "page" }}
      >
        <Icon className="size-4" aria-hidden />
        {label}
      </Link>
    </li>
  );
}

function ProjectSwitch({ project }: { project: string }) {
  const { data: known } = useQuery(projects);
  const navigate = useNavigate();
  return (
    <Menu
      trigger={
        <button
          type="button"
          aria-label={project ? `project ${project}: choose another` : "choose a project"}
          className="flex h-9 w-full items-center justify-between gap-2 rounded-md border border-line-strong px-2.5 font-medium hover:bg-sunken"
        >
          <span className="truncate">{project || "choose a project"}</span>
          <ChevronsUpDown className="size-4 shrink-0 text-muted" aria-hidden />
        </button>
      }
    >
      <MenuLabel>Projects</MenuLabel>
      {known?.items.map((each) => (
        <MenuItem
          key={each.name}
          onSelect={() => void navigate({ to: "/p/$project/overview", params: { project: each.name } })}
        >
          {each.name}
          <span className="ml-auto text-xs text-muted">{each.role}</span>
        </MenuItem>
      ))}
      <MenuLine />
      <MenuItem onSelect={() => void navigate({ to: "/settings/projects" as string })}>
        All projects, make one …
      </MenuItem>
    </Menu>
  );
}

function Account({ name }: { name: string }) {
  const logOut = async () => {
    await data(api.POST("/api/v1/logout"));
    queryClient.clear();
    window.location.replace("/login");
  };
  const navigate = useNavigate();
  return (
    <div className="min-w-0 grow">
      <Menu
        trigger={
          <button
            type="button"
            aria-label={`account of ${name}`}
            className="flex h-8 w-full min-w-0 items-center gap-2 rounded-md px-2 hover:bg-sunken"
          >
            <span
              aria-hidden
              data-letter={name.slice(0, 1).toUpperCase()} // no text: the button's name is not spelt so
              className="flex size-6 shrink-0 items-center justify-center rounded-full bg-accent-soft text-xs font-semibold text-accent before:content-[attr(data-letter)]"
            />
            <span className="truncate">{name}</span>
          </button>
        }
      >
        <MenuItem onSelect={() => void navigate({ to: "/settings/account" as string })}>
          <Settings /> Account
        </MenuItem>
        <MenuItem onSelect={() => void logOut()}>
          <LogOut /> Log out
        </MenuItem>
      </Menu>
    </div>
  );
}

function ThemeButton() {
  const now = useTheme();
  const next = now === "dark" ? "light" : "dark";
  return (
    <IconButton label={`${next} theme`} onClick={() => setTheme(next)}>
      {now === "dark" ? <Sun /> : <Moon />}
    </IconButton>
  );
}

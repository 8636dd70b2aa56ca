import {
  Activity,
  Blocks,
  Boxes,
  CalendarClock,
  Camera,
  FileBox,
  GitFork,
  Hammer,
  House,
  KeyRound,
  type LucideIcon,
  Package,
  ScrollText,
  ServerCog,
  UserRound,
  Users,
  Webhook,
} from "lucide-react";

export type Place = {
  label: string;
  path: string; // below `/p/PROJECT/`, or `/settings/`
  icon: LucideIcon;
  keys?: string; // typed after `g`
  admin?: boolean; // of the server
};

export const PLACES: Array<{ label: string; places: Place[] }> = [
  {
    label: "Work",
    places: [
      { label: "Overview", path: "overview", icon: House, keys: "o" },
      { label: "Pipelines", path: "pipelines", icon: GitFork, keys: "p" },
      { label: "Runs", path: "runs", icon: Activity, keys: "r" },
      { label: "Artifacts", path: "artifacts", icon: FileBox, keys: "a" },
    ],
  },
  {
    label: "Environments",
    places: [
      { label: "Environments", path: "environments", icon: Package, keys: "e" },
      { label: "Builds", path: "builds", icon: Hammer, keys: "b" },
    ],
  },
  {
    label: "Automation",
    places: [
      { label: "Snapshots", path: "snapshots", icon: Camera, keys: "s" },
      { label: "Schedules", path: "schedules", icon: CalendarClock, keys: "c" },
      { label: "Webhooks", path: "webhooks", icon: Webhook, keys: "w" },
    ],
  },
  {
    label: "Project",
    places: [
      { label: "Stacks", path: "stacks", icon: Blocks, keys: "k" },
      { label: "Secrets", path: "secrets", icon: KeyRound, keys: "x" },
      { label: "Members", path: "members", icon: Users, keys: "m" },
    ],
  },
];

export const SETTINGS: Place[] = [
  { label: "Account", path: "account", icon: UserRound },
  { label: "API keys", path: "keys", icon: KeyRound },
  { label: "Projects", path: "projects", icon: Boxes },
  { label: "Users", path: "users", icon: Users, admin: true },
  { label: "Audit", path: "audit", icon: ScrollText, admin: true },
  { label: "Server", path: "server", icon: ServerCog, admin: true },
];

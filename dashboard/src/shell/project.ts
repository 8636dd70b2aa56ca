import { useQuery } from "@tanstack/react-query";
import { useParams } from "@tanstack/react-router";
import { project } from "@/api/queries";

const KEY = "tilth.project";

/** The project of the address; empty on pages of no project. */
export function useProject(): string {
  return useParams({ strict: false, select: (given) => (given as { project?: string }).project ?? "" });
}

/** The project that was looked at last. */
export function lastProject(): string {
  try {
    return localStorage.getItem(KEY) ?? "";
  } catch {
    return "";
  }
}

export function rememberProject(name: string) {
  try {
    localStorage.setItem(KEY, name);
  } catch {
    // The next visit begins with the first project.
  }
}

const RANK = { viewer: 0, editor: 1, admin: 2 } as const;

/** Whether the user has a role, or a higher one, in the project of the address; what they may not do is not offered. */
export function useRole(needed: keyof typeof RANK): boolean {
  const name = useProject();
  const { data } = useQuery({ ...project(name), enabled: name !== "" });
  return data !== undefined && RANK[data.role] >= RANK[needed];
}

import { useNavigate } from "@tanstack/react-router";
import { useEffect } from "react";
import { PLACES } from "./navigation";
import { lastProject, useProject } from "./project";

export type Shortcut = { keys: string[]; does: string };

export const SHORTCUTS: Shortcut[] = [
  { keys: ["Ctrl", "K"], does: "open the command palette" },
  { keys: ["/"], does: "search this page" },
  { keys: ["?"], does: "list the shortcuts" },
  { keys: ["Esc"], does: "close what is open" },
  ...PLACES.flatMap(({ places }) =>
    places
      .filter((each) => each.keys)
      .map((each) => ({
        keys: ["G", (each.keys ?? "").toUpperCase()],
        does: `go to ${each.label.toLowerCase()}`,
      })),
  ),
];

/** Whether a key goes into something that is being typed. */
export function isTyping(target: EventTarget | null): boolean {
  const on = target as HTMLElement | null;
  return Boolean(on?.closest?.("input, textarea, select, [contenteditable=true], [role=dialog]"));
}

/** The keys that work everywhere. */
export function useShortcuts(open: (what: "palette" | "shortcuts") => void) {
  const navigate = useNavigate();
  const project = useProject() || lastProject();
  useEffect(() => {
    let gone = 0; // when `g` was typed
    const listen = (event: KeyboardEvent) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        open("palette");
        return;
      }
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (event.key === "?") {
        open("shortcuts");
      } else if (event.key === "/") {
        const field = document.querySelector<HTMLInputElement>("[data-search]");
        if (field) {
          event.preventDefault();
          field.focus();
          field.select();
        }
      } else if (event.key === "g") {
        gone = event.timeStamp;
      } else if (event.timeStamp - gone < 1000 && project) {
        gone = 0;
        const place = PLACES.flatMap((each) => each.places).find((each) => each.keys === event.key);
        if (place) void navigate({ to: `/p/${encodeURIComponent(project)}/${place.path}` as string });
      }
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [navigate, open, project]);
}

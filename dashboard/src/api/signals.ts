import { useSyncExternalStore } from "react";

/** Whether the server answers, and whether the login has ended: what every request may find out. */
type Connection = { reachable: boolean; loggedOut: boolean };

let state: Connection = { reachable: true, loggedOut: false };
const listeners = new Set<() => void>();
let waiting: Array<() => void> = [];

function set(change: Partial<Connection>) {
  const next = { ...state, ...change };
  if (next.reachable === state.reachable && next.loggedOut === state.loggedOut) return;
  state = next;
  for (const each of listeners) each();
}

export const connection = {
  get: () => state,
  lost: () => set({ reachable: false }),
  found: () => set({ reachable: true }),
  /** Resolves when the user has logged in again, so that a request is sent once more and nothing typed is lost. */
  loginEnded(): Promise<void> {
    set({ loggedOut: true });
    return new Promise((resolve) => waiting.push(resolve));
  },
  loggedIn() {
    const resumed = waiting;
    waiting = [];
    set({ loggedOut: false });
    for (const each of resumed) each();
  },
};

export function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useConnection(): Connection {
  return useSyncExternalStore(subscribe, connection.get);
}

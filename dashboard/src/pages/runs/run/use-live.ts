import { useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { ApiError } from "@/api/errors";
import { type LiveEvent, reduce } from "./live";
import { isFinal, type RunGraph } from "./model";
import { graphKey, graphQuery } from "./queries";

/** Whether the page hears of what happens: `over` when nothing will. */
export type Live = "connecting" | "live" | "lost" | "over";

const TOGETHER_MS = 100; // events that come within this are shown at once
const LONGEST_MS = 10_000; // between two tries to hear again

/** Keep the graph of a run up to date by what the server tells as it happens, and connect again whenever that ends. */
export function useLive(project: string, name: string, graph: RunGraph | undefined): Live {
  const client = useQueryClient();
  const [live, setLive] = useState<Live>("connecting");
  const id = graph?.run.id;
  const over = isFinal(graph?.run.state);

  useEffect(() => {
    if (!id) return;
    if (over) {
      setLive("over");
      return;
    }
    let source: EventSource | null = null;
    let events: LiveEvent[] = [];
    let flushing: ReturnType<typeof setTimeout> | undefined;
    let again: ReturnType<typeof setTimeout> | undefined;
    let pause = 1000;
    let ended = false;

    const flush = () => {
      flushing = undefined;
      const told = events;
      events = [];
      client.setQueryData<RunGraph>(graphKey(project, name), (known) => known && reduce(known, told));
    };
    const heard = (message: MessageEvent) => {
      pause = 1000;
      setLive("live");
      try {
        events.push({ event: message.type, data: JSON.parse(message.data) } as LiveEvent);
      } catch {
        return; // cut off in the middle: it comes again
      }
      flushing ??= setTimeout(flush, TOGETHER_MS);
    };
    const connect = () => {
      source = new EventSource(
        `/api/v1/projects/${encodeURIComponent(project)}/runs/${encodeURIComponent(id)}/events?logs=false`,
      );
      source.onopen = () => setLive("live");
      source.onerror = lost;
      for (const each of ["run", "step_run", "items"]) source.addEventListener(each, heard);
    };
    const lost = () => {
      source?.close();
      if (ended) return;
      setLive("lost");
      // The graph is asked for first: that tells of a run that was deleted, a login that ended, a server that is away.
      again = setTimeout(async () => {
        try {
          await client.fetchQuery({ ...graphQuery(project, name), staleTime: 0, retry: false });
        } catch (error) {
          if (error instanceof ApiError && error.status === 404) return;
          pause = Math.min(pause * 2, LONGEST_MS);
          if (!ended) lost();
          return;
        }
        if (!ended) connect();
      }, pause);
    };
    connect();
    return () => {
      ended = true;
      source?.close();
      clearTimeout(flushing);
      clearTimeout(again);
    };
  }, [client, project, name, id, over]);
  return live;
}

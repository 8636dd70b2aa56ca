import {
  Background,
  BaseEdge,
  type Edge,
  type EdgeProps,
  MiniMap,
  Panel,
  ReactFlow,
  ReactFlowProvider,
  useReactFlow,
} from "@xyflow/react";
import "@xyflow/react/dist/style.css";
import { Maximize, Minus, Plus } from "lucide-react";
import { type KeyboardEvent, useEffect, useMemo, useRef, useState } from "react";
import { IconButton } from "@/ui/button";
import { count, plural } from "@/ui/format";
import { Empty, ErrorView, Loading } from "@/ui/said";
import { colourOf } from "@/ui/state";
import { useNow } from "@/ui/time";
import { drawnState } from "./counts";
import { type Drawn, picture } from "./fold";
import { HEIGHT, Layouter, neighbour, type Place, WIDTH, warmUp } from "./layout";
import { isFinal, type RunGraph } from "./model";
import { type StepNode, StepNodeMemo } from "./node";

// While the run is still being asked for.
warmUp();

type PathEdge = Edge<{ path: string }, "path">;

const NODE_TYPES = { step: StepNodeMemo };
const EDGE_TYPES = { path: PathEdgeView };
const START = 0.85; // zoom where not all is in sight
const EDGE = 32; // px between the first node and the edge
const READABLE = 0.6; // zoom from which on names can be read

type Props = {
  graph: RunGraph;
  selected: string; // id of a step, or empty
  unfolded: boolean;
  onOpen: (drawn: Drawn) => void;
  onUnfold: (unfolded: boolean) => void;
};

/** The graph of a run, laid out off the main thread. */
export default function Graph(props: Props) {
  return (
    <ReactFlowProvider>
      <Inner {...props} />
    </ReactFlowProvider>
  );
}

function Inner({ graph, selected, unfolded, onOpen, onUnfold }: Props) {
  // What is drawn depends on which steps there are, and not on where they stand: it is decided and laid out once.
  const structure = useStructure(graph);
  const [focus, setFocus] = useState(selected);
  const known = useMemo(
    () => picture(structure.nodes, structure.edges, { foldAlike: !unfolded, focus }),
    [structure, unfolded, focus],
  );
  const inSight = useMemo(
    () => new Set(known.nodes.flatMap((each) => each.members.map((one) => one.id))),
    [known],
  );
  useEffect(() => {
    if (selected && !inSight.has(selected)) setFocus(selected);
  }, [selected, inSight]);
  const { places, paths, ms, error, retry } = useLayout(known.nodes, known.edges);

  const now = useNow(1000, !isFinal(graph.run.state));
  const current = useMemo(() => new Map(graph.nodes.map((each) => [each.id, each])), [graph.nodes]);
  const selectedHome = known.nodes.find((each) => each.members.some((one) => one.id === selected))?.id;
  const beside = useMemo(() => {
    const ids = new Set<string>();
    for (const each of known.edges) {
      if (each.source === selectedHome) ids.add(each.target);
      if (each.target === selectedHome) ids.add(each.source);
    }
    return ids;
  }, [known.edges, selectedHome]);
  const nodes = useMemo(
    () =>
      places
        ? known.nodes.map((each): StepNode => {
            const members = each.members.map((one) => current.get(one.id) ?? one);
            const running = members.some((one) => one.state === "running");
            return {
              id: each.id,
              type: "step",
              position: places.get(each.id) ?? { x: 0, y: 0 },
              width: WIDTH,
              height: HEIGHT,
              selected: each.id === selectedHome,
              data: {
                drawn: { id: each.id, members },
                now: running ? now : 0,
                open: onOpen,
                lit: beside.has(each.id),
              },
            };
          })
        : [],
    [known.nodes, places, current, selectedHome, beside, onOpen, now],
  );
  const edges = useMemo(
    () =>
      known.edges.map((each, at): PathEdge => {
        const lit = each.source === selectedHome || each.target === selectedHome;
        return {
          id: each.id,
          type: "path",
          source: each.source,
          target: each.target,
          data: { path: paths[at] ?? "" },
          focusable: false,
          zIndex: lit ? 1 : 0,
          style: {
            stroke: lit ? "var(--accent)" : "var(--line-strong)",
            strokeWidth: lit ? 2 : 1.25,
            strokeDasharray: each.outputs.length ? undefined : "4 4",
          },
        };
      }),
    [known.edges, paths, selectedHome],
  );

  const box = useRef<HTMLDivElement>(null);
  const { fitView, getZoom, setCenter, setViewport, zoomIn, zoomOut } = useReactFlow();
  const shown = useRef<Map<string, Place> | null>(null);
  useEffect(() => {
    if (!places || shown.current === places || nodes.length === 0) return;
    const isFirst = shown.current === null;
    shown.current = places;
    const start = places.get(selectedHome ?? "") ?? places.get(worstOf(nodes)) ?? { x: 0, y: 0 };
    // After the nodes of this layout are drawn.
    requestAnimationFrame(() => {
      const room = box.current?.getBoundingClientRect();
      const size = sizeOf(places);
      const zoom = room ? Math.min(room.width / size.x, room.height / size.y) * 0.95 : 1;
      if (zoom >= READABLE && (isFirst || !selectedHome)) void fitView({ maxZoom: 1, padding: 0.05 });
      else if (selectedHome || isTelling(nodes))
        void setCenter(start.x + WIDTH / 2, start.y + HEIGHT / 2, { zoom: START });
      else void setViewport({ x: EDGE - start.x * START, y: EDGE - start.y * START, zoom: START });
    });
  }, [places, nodes, selectedHome, fitView, setCenter, setViewport]);

  /** Arrows go from a step to those before and after it, and to those above and below. */
  const go = (event: KeyboardEvent) => {
    const here = (event.target as HTMLElement).closest<HTMLElement>(".react-flow__node")?.dataset.id;
    const next = here && places ? neighbour(here, event.key, known.edges, places) : "";
    const place = places?.get(next ?? "");
    if (!next || !place) return;
    event.preventDefault();
    void setCenter(place.x + WIDTH / 2, place.y + HEIGHT / 2, { zoom: getZoom() });
    // When it is drawn: of what is out of sight nothing is.
    setTimeout(() => {
      const found = box.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(next)}"] button`);
      found?.focus({ preventScroll: true });
    }, 60);
  };

  // Where the details that opened beside it would hide what was chosen, it is brought into sight.
  useEffect(() => {
    const place = selectedHome ? places?.get(selectedHome) : undefined;
    if (!place || !box.current || shown.current !== places) return;
    const timer = setTimeout(() => {
      const node = box.current?.querySelector(`[data-id="${CSS.escape(selectedHome ?? "")}"]`);
      const around = box.current?.getBoundingClientRect();
      const at = node?.getBoundingClientRect();
      const outside =
        !at ||
        !around ||
        at.left < around.left ||
        at.right > around.right ||
        at.top < around.top ||
        at.bottom > around.bottom;
      if (outside) void setCenter(place.x + WIDTH / 2, place.y + HEIGHT / 2, { zoom: START, duration: 200 });
    }, 50);
    return () => clearTimeout(timer);
  }, [selectedHome, places, setCenter]);

  if (graph.nodes.length === 0) return <Nothing graph={graph} />;
  return (
    <div className="flex min-h-0 grow flex-col gap-2">
      <Said graph={graph} known={known} unfolded={unfolded} onUnfold={onUnfold} />
      <div
        ref={box}
        data-laid-out-ms={places ? Math.round(ms) : undefined}
        data-drawn={known.nodes.length}
        style={{ height: `calc(100dvh - ${graph.run.state === "failed" ? 18.7 : 14.5}rem)` }}
        className="relative min-h-80 max-md:h-[55dvh]! overflow-hidden rounded-lg border border-line bg-sunken"
      >
        {error ? (
          <div className="p-4">
            <ErrorView error={error} retry={retry} />
          </div>
        ) : places ? (
          <ReactFlow
            aria-label="graph of the steps"
            onKeyDown={go}
            nodes={nodes}
            edges={edges}
            nodeTypes={NODE_TYPES}
            edgeTypes={EDGE_TYPES}
            minZoom={0.02}
            maxZoom={1.5}
            nodesDraggable={false}
            nodesConnectable={false}
            nodesFocusable={false}
            edgesFocusable={false}
            elementsSelectable={false}
            onlyRenderVisibleElements
            zoomOnDoubleClick={false}
            proOptions={{ hideAttribution: true }}
          >
            <Background color="var(--line-strong)" gap={24} size={1} />
            <Panel
              position="bottom-left"
              className="m-2! flex rounded-md border border-line bg-surface shadow-card"
            >
              <IconButton label="zoom in" onClick={() => void zoomIn()}>
                <Plus />
              </IconButton>
              <IconButton label="zoom out" onClick={() => void zoomOut()}>
                <Minus />
              </IconButton>
              <IconButton
                label="show all of the graph"
                onClick={() => void fitView({ padding: 0.05, maxZoom: 1 })}
              >
                <Maximize />
              </IconButton>
            </Panel>
            {nodes.length > 12 && (
              <MiniMap
                ariaLabel="map of the graph"
                pannable
                zoomable
                className="hidden! rounded-md border border-line md:block!"
                bgColor="var(--surface)"
                maskColor="color-mix(in srgb, var(--sunken) 75%, transparent)"
                nodeColor={(node) => colourOf(drawnState((node as StepNode).data.drawn))}
                nodeBorderRadius={8}
              />
            )}
          </ReactFlow>
        ) : (
          <Loading rows={6} />
        )}
      </div>
    </div>
  );
}

function Said({
  graph,
  known,
  unfolded,
  onUnfold,
}: {
  graph: RunGraph;
  known: ReturnType<typeof picture>;
  unfolded: boolean;
  onUnfold: (unfolded: boolean) => void;
}) {
  const canFold = known.folded > 0 || unfolded;
  if (!canFold && !known.leftOut && graph.whole) return null;
  return (
    <div className="flex flex-wrap items-center gap-x-4 gap-y-1 text-sm text-muted">
      {canFold && (
        <label className="flex items-center gap-2">
          <input
            type="checkbox"
            className="size-4 accent-(--accent)"
            checked={!unfolded}
            onChange={(event) => onUnfold(!event.target.checked)}
          />
          Fold steps that are alike
          {known.folded > 0 && ` (${count(known.folded)} are)`}
        </label>
      )}
      {known.leftOut > 0 && (
        <p role="status" className="text-wait">
          {`${plural(known.all, "step")} are too many to draw. This is the part around `}
          <code>{known.around}</code>
          {`; ${plural(known.leftOut, "node")} more are left out. The tab “steps” lists all; one that is opened there is shown here.`}
        </p>
      )}
      {!graph.whole && (
        <p role="status">
          The compiled pipeline is not on the server, so this shows the steps that have begun, and what they
          were given.
        </p>
      )}
    </div>
  );
}

function Nothing({ graph }: { graph: RunGraph }) {
  return isFinal(graph.run.state) ? (
    <Empty title="No step of this run is recorded" command={`tilth runs show ${graph.run.name}`}>
      It ended before its first step, or an older tilth recorded it.
    </Empty>
  ) : (
    <Empty title="No step has begun yet">The graph shows when the first one does.</Empty>
  );
}

/** The graph as it was when steps came or went the last time: the same for as long as only states change. */
function useStructure(graph: RunGraph): RunGraph {
  const kept = useRef(graph);
  const before = kept.current;
  const isSame =
    before.edges.length === graph.edges.length &&
    before.nodes.length === graph.nodes.length &&
    before.nodes.every(
      (each, at) => each.id === graph.nodes[at]?.id && !each.items === !graph.nodes[at]?.items,
    );
  if (!isSame) kept.current = graph;
  return kept.current;
}

function useLayout(nodes: Drawn[], edges: ReturnType<typeof picture>["edges"]) {
  const [found, setFound] = useState<{
    of: Drawn[];
    places: Map<string, Place>;
    paths: string[];
    ms: number;
  } | null>(null);
  const [error, setError] = useState<unknown>(null);
  const [tried, setTried] = useState(0);
  // biome-ignore lint/correctness/useExhaustiveDependencies: another try is another layout
  useEffect(() => {
    const layouter = new Layouter();
    let over = false;
    setError(null);
    layouter
      .layout(
        nodes.map((each) => each.id),
        edges,
      )
      .then(
        ({ places, paths, ms }) => {
          if (!over) setFound({ of: nodes, places, paths, ms });
        },
        (failed) => {
          if (!over)
            setError(failed instanceof Error ? failed : new Error("the graph could not be laid out"));
        },
      );
    return () => {
      over = true;
      layouter.close();
    };
  }, [nodes, edges, tried]);
  const isCurrent = found?.of === nodes;
  return {
    places: isCurrent ? found.places : null,
    paths: isCurrent ? found.paths : NO_PATHS,
    ms: isCurrent ? found.ms : 0,
    error,
    retry: () => setTried((before) => before + 1),
  };
}

const NO_PATHS: string[] = [];

/** An edge on the way that the layout found for it. */
function PathEdgeView({ data, style }: EdgeProps<PathEdge>) {
  return <BaseEdge path={data?.path ?? ""} style={style} />;
}

function sizeOf(places: Map<string, Place>): Place {
  let [x, y] = [WIDTH, HEIGHT];
  for (const each of places.values()) {
    x = Math.max(x, each.x + WIDTH);
    y = Math.max(y, each.y + HEIGHT);
  }
  return { x, y };
}

function isTelling(nodes: StepNode[]): boolean {
  return worstOf(nodes) !== "";
}

function worstOf(nodes: StepNode[]): string {
  const states = nodes.map((each) => drawnState(each.data.drawn));
  const at = ["failed", "running"].map((state) => states.indexOf(state)).find((place) => place >= 0);
  return at === undefined ? "" : (nodes[at]?.id ?? "");
}

import { useQuery } from "@tanstack/react-query";
import { Link, useNavigate } from "@tanstack/react-router";
import {
  Background,
  BaseEdge,
  Controls,
  type Edge,
  type EdgeProps,
  Handle,
  MarkerType,
  type Node,
  type NodeProps,
  Position,
  ReactFlow,
  useNodeId,
  useReactFlow,
} from "@xyflow/react";
import "@xyflow/react/dist/style.css";
import clsx from "clsx";
import { FileBox } from "lucide-react";
import { useMemo, useState } from "react";
import { useTheme } from "@/shell/theme";
import { Card } from "@/ui/card";
import { plural } from "@/ui/format";
import { Select } from "@/ui/input";
import { Answer, Empty, Loading } from "@/ui/said";
import { colourOf, State } from "@/ui/state";
import { runPath } from "./addresses";
import { folded, type More } from "./lineage-fold";
import { HEIGHT, type Laid, type Point, pathOf, placed, WIDTH } from "./lineage-layout";
import { type Artifact, type Lineage, lineage } from "./queries";
import { artifactVersionRoute } from "./routes";

const USUAL = 3; // steps each way

/** What an artifact was made from, to its left, and what was made from it, to its right. */
export default function LineageGraph({ project, artifact }: { project: string; artifact: Artifact }) {
  const { depth: asked } = artifactVersionRoute.useSearch();
  const depth = Math.min(10, Math.max(1, asked ?? USUAL));
  const navigate = useNavigate();
  const query = useQuery(lineage(project, artifact.id, depth));
  return (
    <Card
      title="Lineage"
      flush
      actions={
        <span className="flex items-center gap-2 text-xs text-muted">
          <span aria-hidden className="whitespace-nowrap">
            steps each way
          </span>
          <Select
            aria-label="steps each way"
            className="w-16"
            value={String(depth)}
            options={
              ["1", "2", "3", "5", "10"].includes(String(depth))
                ? ["1", "2", "3", "5", "10"]
                : [String(depth), "10"]
            }
            onChange={(event) =>
              void navigate({
                to: ".",
                search: { tab: "lineage", depth: Number(event.target.value) },
                replace: true,
              } as never)
            }
          />
        </span>
      }
    >
      <Answer query={query} loading={<Loading rows={8} />}>
        {(told) => <Graph project={project} artifact={artifact} told={told} />}
      </Answer>
    </Card>
  );
}

function Graph({ project, artifact, told }: { project: string; artifact: Artifact; told: Lineage }) {
  const [all, setAll] = useState(false);
  const { shown, more } = useMemo(() => (all ? { shown: told, more: [] } : folded(told)), [all, told]);
  const { data: places, error } = useQuery({
    queryKey: ["lineage-places", shown, more],
    queryFn: () => placed(shown, more),
    staleTime: Number.POSITIVE_INFINITY,
  });
  const theme = useTheme();
  const nodes = useMemo(
    () => (places ? nodesOf(project, artifact, shown, more, () => setAll(true), places) : []),
    [project, artifact, shown, more, places],
  );
  const edges = useMemo(() => (places ? edgesOf(shown, more, places) : []), [shown, more, places]);
  // All of a wide graph would be too small to read: then the artifact and what is next to it is in sight.
  const near = useMemo(() => {
    const own = places?.nodes.get(artifact.id)?.x ?? 0;
    const ids = [...(places?.nodes ?? [])].filter(([, { x }]) => Math.abs(x - own) < 1.5 * WIDTH);
    return ids.map(([id]) => ({ id }));
  }, [artifact.id, places]);
  if (told.edges.length === 0)
    return (
      <Empty title="Nothing is known of where it came from">
        The run that made it was deleted, and no step has used it.
      </Empty>
    );
  return (
    <>
      <div style={{ height: `clamp(18rem, ${Math.ceil((places?.height ?? 0) + 120)}px, 65vh)` }}>
        {error ? (
          <p className="p-4 text-sm text-muted">The graph could not be laid out; below is what is in it.</p>
        ) : places ? (
          <ReactFlow
            nodes={nodes}
            edges={edges}
            nodeTypes={TYPES}
            edgeTypes={EDGES}
            colorMode={theme === "dark" ? "dark" : "light"}
            key={`${artifact.id} ${nodes.length}`}
            fitView
            fitViewOptions={{
              maxZoom: 1,
              minZoom: 0.85,
              padding: 0.05,
              nodes: nodes.length <= 5 ? nodes : window.innerWidth < 640 ? [{ id: artifact.id }] : near,
            }}
            minZoom={0.1}
            nodesDraggable={false}
            nodesConnectable={false}
            nodesFocusable={false}
            edgesFocusable={false}
            elementsSelectable={false}
            proOptions={{ hideAttribution: true }}
            aria-label="lineage"
          >
            <Background />
            <Controls showInteractive={false} />
          </ReactFlow>
        ) : (
          <Loading rows={6} />
        )}
      </div>
      <p className="border-t border-line px-4 py-2 text-xs text-muted">
        {plural(told.artifacts.length, "artifact")}, {plural(told.step_runs.length, "step")}
        {told.cut && "; there is more than is shown"}. What a step loaded by itself is not among its inputs.
      </p>
    </>
  );
}

type ArtifactData = {
  project: string;
  name: string;
  version: number;
  type: string;
  own: boolean;
};
type StepData = { project: string; run: string; step: string; state: string };
type ArtifactItem = Node<ArtifactData, "artifact">;
type StepItem = Node<StepData, "step">;
type MoreItem = Node<{ step: string; count: number; onShow: () => void }, "more">;
type Item = ArtifactItem | StepItem | MoreItem;

function nodesOf(
  project: string,
  artifact: Artifact,
  told: Lineage,
  more: More[],
  onShow: () => void,
  places: Laid,
): Item[] {
  const at = (id: string) => ({
    position: places.nodes.get(id) ?? { x: 0, y: 0 },
    width: WIDTH,
    height: HEIGHT,
    sourcePosition: Position.Right,
    targetPosition: Position.Left,
  });
  return [
    ...told.artifacts.map(
      (each): ArtifactItem => ({
        id: each.id,
        type: "artifact",
        ...at(each.id),
        data: {
          project,
          name: each.name,
          version: each.version,
          type: each.type,
          own: each.id === artifact.id,
        },
      }),
    ),
    ...told.step_runs.map(
      (each): StepItem => ({
        id: each.id,
        type: "step",
        ...at(each.id),
        data: { project, run: each.run, step: each.step, state: each.state },
      }),
    ),
    ...more.map(
      (each): MoreItem => ({
        id: each.id,
        type: "more",
        ...at(each.id),
        data: { step: each.step, count: each.count, onShow },
      }),
    ),
  ];
}

function edgesOf(told: Lineage, more: More[], places: Laid): LaidEdge[] {
  const all = [
    ...told.edges,
    ...more.flatMap(({ id, from }) => from.map((source) => ({ source, target: id }))),
  ];
  return all.map(({ source, target }) => ({
    id: `${source} ${target}`,
    source,
    target,
    type: "laid",
    data: { points: places.edges.get(`${source} ${target}`) ?? [] },
    markerEnd: { type: MarkerType.ArrowClosed, color: "var(--line-strong)" },
    style: { stroke: "var(--line-strong)", strokeWidth: 1.5 },
  }));
}

type LaidEdge = Edge<{ points: Point[] }, "laid">;

function LaidPath({ data, markerEnd, style }: EdgeProps<LaidEdge>) {
  return (
    <BaseEdge path={pathOf(data?.points ?? [])} {...(markerEnd && { markerEnd })} {...(style && { style })} />
  );
}

const EDGES = { laid: LaidPath };

function ArtifactBox({ data }: NodeProps<ArtifactItem>) {
  const at = data.name.lastIndexOf("/") + 1;
  return (
    <Box own={data.own}>
      <Link
        to="/p/$project/artifacts/$name/$version"
        params={{ project: data.project, name: data.name, version: String(data.version) }}
        search={{ tab: "lineage" } as never}
        aria-current={data.own || undefined}
        title={`${data.name}, version ${data.version}`}
        className="nopan flex h-full items-center gap-2 px-3"
      >
        <FileBox className="size-4 shrink-0 text-muted" aria-hidden />
        <span className="min-w-0">
          <span className="flex gap-1 text-[13px] leading-tight font-medium">
            <span className="truncate">{data.name.slice(at)}</span>
            <span className="shrink-0 text-muted tabular-nums">v{data.version}</span>
          </span>
          <span className="block truncate text-[11px] leading-tight text-muted">
            {data.name.slice(0, at).replace(/\/$/, "") || data.type}
          </span>
        </span>
      </Link>
    </Box>
  );
}

function StepBox({ data }: NodeProps<StepItem>) {
  return (
    <Box round>
      <Link
        to={runPath(data.project, data.run, data.step)}
        title={`step ${data.step} of ${data.run || "a deleted run"}`}
        className="nopan flex h-full flex-col justify-center border-l-4 px-3"
        style={{ borderColor: colourOf(data.state) }}
      >
        <span className="flex items-center justify-between gap-2 text-[13px] leading-tight font-medium">
          <span className="truncate">{data.step}</span>
          <State state={data.state} bare />
        </span>
        <span className="block truncate text-[11px] leading-tight text-muted">
          {data.run || "a deleted run"}
        </span>
      </Link>
    </Box>
  );
}

function Box({
  children,
  own = false,
  round = false,
}: {
  children: React.ReactNode;
  own?: boolean;
  round?: boolean;
}) {
  const id = useNodeId();
  const flow = useReactFlow();
  // By keyboard one also comes to what is out of sight.
  const onFocus = (event: React.FocusEvent) => {
    const node = id === null ? undefined : flow.getNode(id);
    if (node && event.target.matches(":focus-visible"))
      void flow.setCenter(node.position.x + WIDTH / 2, node.position.y + HEIGHT / 2, {
        zoom: flow.getZoom(),
      });
  };
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the link in it has the focus
    <div
      onFocus={onFocus}
      style={{ width: WIDTH, height: HEIGHT }}
      className={clsx(
        "overflow-hidden border bg-surface text-ink shadow-card",
        round ? "rounded-md" : "rounded-2xl",
        own ? "border-accent ring-2 ring-accent" : "border-line-strong",
      )}
    >
      <Handle type="target" position={Position.Left} className="invisible" isConnectable={false} />
      {children}
      <Handle type="source" position={Position.Right} className="invisible" isConnectable={false} />
    </div>
  );
}

function MoreBox({ data }: NodeProps<MoreItem>) {
  return (
    <Box round>
      <button
        type="button"
        onClick={data.onShow}
        className="nopan flex size-full flex-col justify-center px-3 text-left hover:bg-sunken"
      >
        <span className="text-[13px] leading-tight font-medium">
          {plural(data.count, "older run")} of {data.step}
        </span>
        <span className="text-[11px] leading-tight text-muted">show all</span>
      </button>
    </Box>
  );
}

const TYPES = { artifact: ArtifactBox, step: StepBox, more: MoreBox };

import { Link } from "@tanstack/react-router";
import clsx from "clsx";
import { Card } from "@/ui/card";
import { bytes, plural } from "@/ui/format";
import { came, drawn, type Image, longest, stored, WAYS } from "./layers";
import { Key, keyOf, Legend, ScaledBar, type Segment, total } from "./parts";
import type { Passed } from "./queries";
import { type Part, parts } from "./scale";

/** Packages of several environments as bars of one scale, those that others have too in a colour of their own. */
export function SizeBars({ project, environments }: { project: string; environments: Passed[] }) {
  const known = environments.filter((each) => total(each.unpacked) > 0);
  if (known.length === 0) return null;
  const widest = Math.max(...known.map((each) => total(each.unpacked)));
  const holders = new Map<string, number>();
  for (const each of known) {
    for (const { name, version } of each.packages) {
      holders.set(`${name} ${version}`, (holders.get(`${name} ${version}`) ?? 0) + 1);
    }
  }
  return (
    <Card
      title="Where the bytes are"
      actions={
        <Legend>
          <Key className="bg-accent">in this one only</Key>
          <Key className="bg-cached">in several, stored once</Key>
          <Key className="bg-line-strong">too small to draw</Key>
        </Legend>
      }
    >
      <ul className="space-y-3">
        {known.map((each) => {
          const whole = total(each.unpacked);
          const { seen, rest } = parts(
            each.packages,
            (one) => each.unpacked[one.name] ?? 0,
            (0.008 * widest) / whole,
          );
          return (
            <li
              key={keyOf(each)}
              className="grid gap-x-3 gap-y-1 md:grid-cols-[9rem_1fr_5rem] md:items-center"
            >
              <span className="truncate text-sm" title={each.name}>
                {each.digest ? (
                  <Link
                    to="/p/$project/environments/$digest"
                    params={{ project, digest: each.digest }}
                    className="hover:underline"
                  >
                    {each.name}
                  </Link>
                ) : (
                  each.name
                )}
              </span>
              <ScaledBar
                className="h-8"
                scale={widest}
                label={`${each.name}: ${seen
                  .slice(0, 5)
                  .map((one) => `${one.item.name} ${bytes(one.size)}`)
                  .join(", ")}`}
                segments={segmentsOf(seen, rest, holders)}
              />
              <span className="text-xs text-muted tabular-nums md:text-right">{bytes(whole)}</span>
            </li>
          );
        })}
      </ul>
    </Card>
  );
}

/** Layers of images, each as long as it is large, on one scale; what they share has the colour of that. */
export function LayerBars({
  project,
  images,
  names,
  title = "Image layers, to scale",
}: {
  project: string;
  images: Image[]; // by the id of their build
  names: Map<string, string>; // id of a build -> what it is called here
  title?: string;
}) {
  const placed = drawn(images);
  const scale = longest(images);
  const { once, saved, sent } = stored(images);
  return (
    <Card
      title={title}
      actions={
        <Legend>
          <Key className="bg-cached">shared</Key>
          <Key className="bg-accent">its own</Key>
          <Key className="hatched bg-sunken ring-1 ring-line-strong">not sent: it was there</Key>
        </Legend>
      }
    >
      <p className="mb-3 text-sm text-muted">
        <b className="font-semibold text-ink">{bytes(once)}</b> stored once,{" "}
        <b className="font-semibold text-ink">{bytes(saved)}</b> saved by sharing,{" "}
        <b className="font-semibold text-ink">{bytes(sent)}</b> sent by these builds
      </p>
      <ul className="space-y-3">
        {images.map(({ key }) => {
          const layers = placed.get(key) ?? [];
          const size = layers.reduce((sum, each) => sum + each.size, 0);
          return (
            <li key={key} className="grid gap-x-3 gap-y-1 md:grid-cols-[9rem_1fr_5rem] md:items-center">
              <Link
                to="/p/$project/builds/$id"
                params={{ project, id: key }}
                className="truncate text-sm hover:underline"
              >
                {names.get(key)}
              </Link>
              <ScaledBar
                scale={scale}
                label={`layers of ${names.get(key)}: ${layers.map((each) => `${each.title} ${bytes(each.size)}`).join(", ")}`}
                segments={layers.map((each, at) => ({
                  key: `${at} ${each.digest}`,
                  start: each.start,
                  size: each.size,
                  tone: layerTone(each.sharedWith.length > 0, each.way),
                  label: each.title,
                  title: [
                    `${each.title}: ${bytes(each.size)}`,
                    each.sharedWith.length
                      ? `shared with ${each.sharedWith.map((one) => names.get(one) ?? one).join(", ")}`
                      : "in no other image here",
                    WAYS[each.way ?? ""] ?? "",
                  ]
                    .filter(Boolean)
                    .join("\n"),
                }))}
              />
              <span className="text-xs text-muted tabular-nums md:text-right">{bytes(size)}</span>
            </li>
          );
        })}
      </ul>
    </Card>
  );
}

/** The colour of a layer: whether others have it too, and whether it was there already. */
export function layerTone(shared: boolean, way: string | undefined): string {
  return clsx(
    shared ? "bg-cached text-surface" : "bg-accent text-accent-ink",
    came(way) === "there" && "hatched",
  );
}

function segmentsOf(
  seen: Part<Passed["packages"][number]>[],
  rest: { items: unknown[]; size: number },
  holders: Map<string, number>,
): Segment[] {
  let start = 0;
  const found = seen.map(({ item, size }) => {
    const several = (holders.get(`${item.name} ${item.version}`) ?? 0) > 1;
    const segment = {
      key: item.name,
      start,
      size,
      tone: several ? "bg-cached text-surface" : "bg-accent text-accent-ink",
      label: item.name,
      title: `${item.name} ${item.version}: ${bytes(size)}${several ? ", in several environments" : ""}`,
    };
    start += size;
    return segment;
  });
  if (rest.items.length > 0) {
    const title = `${plural(rest.items.length, "smaller package")}: ${bytes(rest.size)}`;
    found.push({ key: " rest", start, size: rest.size, tone: "bg-line-strong text-ink", label: "", title });
  }
  return found;
}

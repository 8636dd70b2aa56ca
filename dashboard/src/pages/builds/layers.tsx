import { useQuery } from "@tanstack/react-query";
import { Link } from "@tanstack/react-router";
import clsx from "clsx";
import { Card } from "@/ui/card";
import { Digest } from "@/ui/copy";
import { bytes, plural } from "@/ui/format";
import { Answer } from "@/ui/said";
import { Badge } from "@/ui/state";
import { layerTone } from "../environments/bars";
import { came, WAYS } from "../environments/layers";
import { Key, Legend, ScaledBar } from "../environments/parts";
import { layersOf } from "./queries";

/** The layers of one image, each as high as it is large, with who shares it and how it came there. */
export function ImageLayers({ project, build }: { project: string; build: string }) {
  const query = useQuery(layersOf(project, build));
  return (
    <Answer query={query}>
      {(image) => {
        const largest = Math.max(1, ...image.layers.map((each) => each.size));
        const sent = image.layers.filter((each) => came(each.way) === "sent");
        if (image.layers.length === 0) {
          return (
            <Card title="Layers">
              <p className="text-sm text-muted">
                Nothing is known of its layers: it was found in the registry, or is not whole.
              </p>
            </Card>
          );
        }
        return (
          <Card
            flush
            title={`${plural(image.layers.length, "layer")}, ${bytes(image.size)}`}
            actions={
              <Legend>
                <Key className="bg-cached">shared</Key>
                <Key className="bg-accent">its own</Key>
                <Key className="hatched bg-sunken ring-1 ring-line-strong">not sent: it was there</Key>
              </Legend>
            }
          >
            <div className="space-y-3 border-b border-line p-4">
              <ScaledBar
                className="h-10"
                scale={image.size}
                label="layers, to scale"
                segments={image.layers.map((each, at) => ({
                  key: `${at} ${each.digest}`,
                  start: image.layers.slice(0, at).reduce((sum, one) => sum + one.size, 0),
                  size: each.size,
                  tone: layerTone(each.shared.length > 0, each.way),
                  label: each.title,
                  title: `${each.title}: ${bytes(each.size)}`,
                }))}
              />
              <p className="text-sm text-muted">
                <b className="font-semibold text-ink">{bytes(image.shared_size)}</b> shared with{" "}
                {plural(image.compared_with, "other image")} of the newest builds;{" "}
                <b className="font-semibold text-ink">
                  {bytes(sent.reduce((sum, each) => sum + each.size, 0))}
                </b>{" "}
                sent in {plural(sent.length, "layer")}
              </p>
            </div>
            <ul className="divide-y divide-line">
              {image.layers.map((each, at) => (
                <li
                  // biome-ignore lint/suspicious/noArrayIndexKey: an image may have one layer twice
                  key={`${at} ${each.digest}`}
                  className="grid gap-x-3 gap-y-1 px-4 py-2 text-sm md:grid-cols-[minmax(10rem,1fr)_8rem_9rem_minmax(10rem,1fr)_auto] md:items-center"
                >
                  <span className="flex min-w-0 items-center gap-2 font-medium">
                    <span className="truncate" title={each.title}>
                      {each.title}
                    </span>
                    {each.made && <Badge tone="good">made</Badge>}
                  </span>
                  <span className="flex items-center gap-2">
                    <span className="h-1.5 w-14 overflow-hidden rounded-full bg-sunken" aria-hidden>
                      <span
                        className={clsx("block h-full", each.shared.length ? "bg-cached" : "bg-accent")}
                        style={{ width: `${(100 * each.size) / largest}%` }}
                      />
                    </span>
                    <span className="text-xs tabular-nums">{bytes(each.size)}</span>
                  </span>
                  <span className="text-xs text-muted">{WAYS[each.way] ?? ""}</span>
                  <span className="text-xs text-muted">
                    {each.shared.length === 0
                      ? "in no other image"
                      : each.shared.slice(0, 3).map((one, index) => (
                          <span key={one.build}>
                            {index > 0 && ", "}
                            <Link
                              to="/p/$project/builds/$id"
                              params={{ project, id: one.build }}
                              className="hover:text-ink hover:underline"
                            >
                              {one.name}
                            </Link>
                          </span>
                        ))}
                    {each.shared.length > 3 && ` and ${each.shared.length - 3} more`}
                  </span>
                  <Digest value={each.digest} />
                </li>
              ))}
            </ul>
          </Card>
        );
      }}
    </Answer>
  );
}

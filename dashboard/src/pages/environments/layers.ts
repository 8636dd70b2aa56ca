/** Layers of several images, and what they have in common: pure, so that it can be tested. */

export type Layer = { digest: string; size: number; title: string; made?: boolean; way?: string };
export type Image = { key: string; layers: ReadonlyArray<Layer> };

export type Drawn = Layer & {
  sharedWith: string[]; // keys of other images that have it
  start: number; // bytes before it
};

/** What is stored of a layer once, however many images have it. */
export type Stored = {
  total: number; // bytes of all images, each on its own
  once: number; // bytes of all layers, each once
  saved: number; // bytes that sharing saves
  sent: number; // bytes that went over the wire
};

/** The layers of each image, with those of the others that have it too, where each begins. */
export function drawn(images: ReadonlyArray<Image>): Map<string, Drawn[]> {
  const holders = new Map<string, string[]>();
  for (const { key, layers } of images) {
    for (const digest of new Set(layers.map((each) => each.digest))) {
      holders.set(digest, [...(holders.get(digest) ?? []), key]);
    }
  }
  return new Map(
    images.map(({ key, layers }) => {
      let start = 0;
      const placed = layers.map((layer) => {
        const sharedWith = (holders.get(layer.digest) ?? []).filter((each) => each !== key);
        const found = { ...layer, sharedWith, start };
        start += layer.size;
        return found;
      });
      return [key, placed];
    }),
  );
}

export function stored(images: ReadonlyArray<Image>): Stored {
  const sizes = new Map<string, number>();
  let total = 0;
  let sent = 0;
  for (const { layers } of images) {
    for (const { digest, size, way } of layers) {
      sizes.set(digest, size);
      total += size;
      if (came(way) === "sent") sent += size;
    }
  }
  const once = [...sizes.values()].reduce((sum, each) => sum + each, 0);
  return { total, once, saved: total - once, sent };
}

/** How a layer came where it is, in few words; empty where that is not known. */
export function came(way: string | undefined): "sent" | "there" | "" {
  if (way === "sent" || way === "copied") return "sent";
  return way === "mounted" || way === "skipped" ? "there" : "";
}

export const WAYS: Record<string, string> = {
  sent: "sent by this build",
  copied: "copied from where the base is",
  mounted: "taken from another repository of the registry",
  skipped: "the registry had it",
};

/** The longest of these images, in bytes: what all are drawn to the scale of. */
export function longest(images: ReadonlyArray<Image>): number {
  return Math.max(0, ...images.map(({ layers }) => layers.reduce((sum, each) => sum + each.size, 0)));
}

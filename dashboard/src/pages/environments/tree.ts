/** The packages of an environment as a tree: below each what it requires, the first time that it appears. */

export type Node = {
  name: string;
  requested: ReadonlyArray<string>;
  required_by: ReadonlyArray<string>;
  requires: Record<string, string> | null;
};

export type TreeLine<T extends Node> = {
  key: string; // unlike that of any other line
  node: T;
  depth: number;
  asked: string; // in which words the package above asks for it
  again: boolean; // what it requires stands elsewhere
  children: number;
};

/**
 * The lines of the tree, without those below what is closed.
 *
 * A package stands at the margin when it was requested, or when nothing is known to require it; those that only require
 * each other stand there too.
 */
export function tree<T extends Node>(nodes: ReadonlyArray<T>, closed: ReadonlySet<string>): TreeLine<T>[] {
  const byName = new Map(nodes.map((each) => [each.name, each]));
  const lines: TreeLine<T>[] = [];
  const shown = new Set<string>();
  const begin = (top: T) => {
    const stack = [{ node: top, depth: 0, asked: top.requested.join(", "), key: top.name, hidden: false }];
    for (let at = stack.pop(); at; at = stack.pop()) {
      const { node, depth, asked, key, hidden } = at;
      const needs = Object.entries(node.requires ?? {}).filter(([name]) => byName.has(name));
      const again = shown.has(node.name) && needs.length > 0;
      shown.add(node.name);
      if (!hidden) lines.push({ key, node, depth, asked, again, children: again ? 0 : needs.length });
      if (again) continue;
      for (const [name, words] of needs.sort(([one], [other]) => (one < other ? 1 : -1))) {
        const child = byName.get(name);
        if (!child) continue;
        const below = { node: child, depth: depth + 1, asked: words, key: `${key}/${name}` };
        stack.push({ ...below, hidden: hidden || closed.has(key) });
      }
    }
  };
  const asked = nodes.filter((each) => each.requested.length > 0);
  const unrequired = nodes.filter((each) => each.requested.length === 0 && each.required_by.length === 0);
  for (const each of [...asked, ...unrequired]) begin(each);
  for (const each of nodes) if (!shown.has(each.name)) begin(each);
  return lines;
}

/** Whether a package stands at the margin: it was requested, or nothing is known to require it. */
export function isTop(node: Node): boolean {
  return node.requested.length > 0 || node.required_by.length === 0;
}

/** The packages that a text is looked for in, with everything that requires them: why they are there. */
export function withReasons<T extends Node>(nodes: ReadonlyArray<T>, text: string): T[] {
  const wanted = text.trim().toLowerCase();
  if (!wanted) return [...nodes];
  const byName = new Map(nodes.map((each) => [each.name, each]));
  const kept = new Set<string>();
  const waiting = nodes.filter((each) => each.name.toLowerCase().includes(wanted)).map((each) => each.name);
  for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
    if (kept.has(name)) continue;
    kept.add(name);
    waiting.push(...(byName.get(name)?.required_by ?? []));
  }
  return nodes.filter((each) => kept.has(each.name));
}

/** What a pipeline's runs were given, parameter by parameter. */

export type Given = {
  name: string;
  last: unknown;
  values: Array<{ value: unknown; text: string; runs: number; failed: number }>; // those of most runs first
  distinct: number;
  points: Array<{ run: string; value: number }>; // oldest first; where all values are numbers
};

type Run = { name: string; state: string; parameters: Record<string, unknown> };

const SHOWN = 6;

/** Of runs, the newest first. */
export function given(runs: Run[]): Given[] {
  const names = [...new Set(runs.flatMap((each) => Object.keys(each.parameters)))].sort();
  return names.map((name) => {
    const having = runs.filter((each) => name in each.parameters);
    const counts = new Map<string, { value: unknown; text: string; runs: number; failed: number }>();
    for (const each of having) {
      const value = each.parameters[name];
      const text = JSON.stringify(value);
      const known = counts.get(text) ?? { value, text, runs: 0, failed: 0 };
      known.runs += 1;
      if (each.state === "failed") known.failed += 1;
      counts.set(text, known);
    }
    const numeric = having.every((each) => typeof each.parameters[name] === "number") && counts.size > 1;
    return {
      name,
      last: having[0]?.parameters[name],
      values: [...counts.values()].sort((a, b) => b.runs - a.runs).slice(0, SHOWN),
      distinct: counts.size,
      points: numeric
        ? having.map((each) => ({ run: each.name, value: each.parameters[name] as number })).reverse()
        : [],
    };
  });
}

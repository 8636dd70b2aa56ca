/** A word as a shell takes it whole, whatever is in it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'"'"'`)}'`;
}

/** A step as the command line names it: `churn-3/train`, or `churn-3/train[2]` for an item. */
export function stepName(run: string, step: string, index: number | null): string {
  return index === null ? `${run}/${step}` : `${run}/${step}[${index}]`;
}

/** What to type for a step, with what it does. */
export function stepCommands(run: string, step: string, index: number | null): Array<[string, string]> {
  const name = quoted(stepName(run, step, index));
  const folder = quoted(index === null ? `${run}-${step}` : `${run}-${step}-${index}`);
  return [
    ["Recreate it in a folder: code, environment and inputs", `tilth env checkout ${name} ${folder}`],
    ["Run it again here, as it was, in a debugger", `tilth runs rerun ${name} --debug`],
    ["Open a shell in its environment", `tilth env shell ${name}`],
  ];
}

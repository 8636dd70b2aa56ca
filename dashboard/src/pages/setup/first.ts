/** What somebody types to see a first run. */

export const FIRST = `from tilth import pipeline, step


@step
def load() -> list[int]:
    return [3, 1, 2]


@step
def total(numbers: list[int]) -> int:
    return sum(numbers)


@pipeline
def first():
    total(load())
`;

/** The command that names the project of a folder. */
export function tomlFor(project: string): string {
  const line = `project = ${JSON.stringify(project || "NAME")}`;
  return `echo '${line.replaceAll("'", `'\\''`)}' > tilth.toml`;
}

/** A job of GitHub that runs a pipeline on the server's records. */
export function ciJob(url: string): string {
  return `jobs:
  train:
    runs-on: ubuntu-latest
    env:
      TILTH_SERVER_URL: ${url}
      TILTH_API_KEY: \${{ secrets.TILTH_API_KEY }}
    steps:
      - uses: actions/checkout@v4
      - run: pip install tilth
      - run: tilth run first.py
`;
}

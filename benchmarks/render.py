"""RESULTS.md from results.json. Measures nothing."""

from __future__ import annotations

from statistics import median
from typing import Any

from cases import CASES, Case
from frameworks import FRAMEWORKS

Samples = list[dict[str, Any]]


class Results:
    """What was measured, by row and framework."""

    def __init__(self, results: dict[str, Any]) -> None:
        self.about: dict[str, str] = results["about"]
        self.cases: dict[str, dict[str, Samples]] = results["cases"]
        self.failed: dict[str, str] = results["failed"]

    def values(self, row: str, framework: str, what: str) -> list[float]:
        """A quantity of each sample; `A..B` is the time between two marks, `mark:A` the number of one."""
        found = []
        for each in self.cases.get(row, {}).get(framework, []):
            marks = dict(each["marks"])
            if ".." in what:
                start, end = what.split("..")
                found.append(marks[end] - marks[start])
            elif what.startswith("mark:"):
                found.append(marks[what.removeprefix("mark:")])
            elif each[what] is not None:
                found.append(each[what])
        return found

    def median(self, row: str, framework: str, what: str = "wall") -> float | None:
        values = self.values(row, framework, what)
        return median(values) if values else None

    def marginal(self, few: str, many: str, framework: str, what: str, steps: int) -> float | None:
        """The cost of one step more: between two rows that differ by `steps` steps."""
        low, high = self.median(few, framework, what), self.median(many, framework, what)
        return None if low is None or high is None else (high - low) / steps


def render(results: dict[str, Any], *, quick: bool = False) -> str:
    """The page. A quick look has the same tables, and says that they mean nothing."""
    given = Results(results)
    parts = [
        "# Benchmarks",
        *_about(given, quick),
        *_zenml(given, quick),
        *_artifacts(given),
        *_memory(given),
    ]
    parts += [*_peers(given), *_alone(given, quick)]
    if not quick:
        parts += _aims(given)
    if given.failed:
        parts += [
            "## Failed",
            "\n".join(f"- {label}: {text}" for label, text in sorted(given.failed.items())),
        ]
    return "\n\n".join(parts) + "\n"


def _about(given: Results, quick: bool) -> list[str]:
    facts = given.about
    versions = [
        f"{name.removeprefix('version of ')} {text}"
        for name, text in sorted(facts.items())
        if "version of" in name
    ]
    loads = [each["load"] for row in given.cases.values() for samples in row.values() for each in samples]
    machine = [facts.get(name, "") for name in ("date", "system", "processor", "cores", "memory", "python")]
    lines = ["- {}; {}; {}; {} cores, {}; Python {}".format(*machine), f"- {', '.join(versions)}"]
    if loads:
        lines.append(
            f"- load average before each sample: median {median(loads):.1f}, at most {max(loads):.1f}"
        )
    text = (
        "Frameworks take turns. Figures are median (least to most, number of samples). Wall is of the whole "
        "process, from its start to its end. CPU is user and system time of all processes, even those that "
        "outlive the command. Peak memory is that of the largest process, unless said otherwise. Every run's "
        "steps are counted: a run that skips one, or a cached run that executes one, is a failure."
    )
    warning = "**A quick look: one sample of each, of smaller things than the titles say. Not to be quoted.**"
    return [*([warning] if quick else []), text, "\n".join(lines)]


def _zenml(given: Results, quick: bool) -> list[str]:
    rows = []
    for case in CASES:
        if not {"tilth", "zenml"} <= set(case.frameworks) or case.memory or "plain" in case.frameworks:
            continue
        rows += [_pair(given, case.name, case.title)]
        if case.cached:
            rows += [_pair(given, f"{case.name}-cached", f"{case.title}, all cached")]
    if not quick:
        for suffix, title in (("", "one more step in a row"), ("-cached", "one more cached step")):
            cells = [title]
            for what in ("wall", "cpu"):
                ours, theirs = (
                    given.marginal(f"chain-10{suffix}", f"chain-100{suffix}", name, what, 90)
                    for name in ("tilth", "zenml")
                )
                cells += [_ms(ours), _ms(theirs), _ratio(theirs, ours)]
            rows.append([*cells, "", ""])
    head = ["", "tilth wall", "ZenML wall", "x", "tilth CPU", "ZenML CPU", "x", "tilth MB", "ZenML MB"]
    return ["## Beside ZenML", _table(head, rows)]


def _pair(given: Results, row: str, title: str) -> list[str]:
    cells = [title]
    for what in ("wall", "cpu"):
        ours, theirs = (given.values(row, name, what) for name in ("tilth", "zenml"))
        cells += [
            _spread(ours),
            _spread(theirs),
            _ratio(*(median(each) if each else None for each in (theirs, ours))),
        ]
    return cells + [_mb(given.median(row, name, "peak_mb")) for name in ("tilth", "zenml")]


def _artifacts(given: Results) -> list[str]:
    rows = []
    for row in ("array", "frame"):
        for what, until in (
            ("produced..begun", "consumer begins"),
            ("produced..used", "consumer has read all of it"),
        ):
            plain, ours, theirs = (given.values(row, name, what) for name in ("plain", "tilth", "zenml"))
            middle = [median(each) if each else None for each in (plain, ours, theirs)]
            cells = [f"{_case(row).title}, until the {until}", *map(_spread, (plain, ours, theirs))]
            rows.append([*cells, _ratio(middle[1], middle[0]), _ratio(middle[2], middle[1])])
    head = ["from the end of the producer", "plain files", "tilth", "ZenML", "tilth / plain", "ZenML / tilth"]
    return ["## Artifacts between steps", _table(head, rows)]


def _memory(given: Results) -> list[str]:
    rows = []
    for row in ("memory-1", "memory-100", "memory-array", "memory-frame"):
        ours, theirs = (given.median(row, name, "tree_mb") for name in ("tilth", "zenml"))
        rows.append([_case(row).title, _mb(ours), _mb(theirs), _ratio(theirs, ours)])
    text = "Peak of all processes of a run together, pages they share counted once (PSS)."
    return ["## Memory", text, _table(["", "tilth MB", "ZenML MB", "x"], rows)]


def _peers(given: Results) -> list[str]:
    names = ("tilth", "metaflow", "flyte", "flyte-recorded")
    rows = [
        [_case(row).title, *(_spread(given.values(row, name, "wall")) for name in names)]
        for row in ("import", "help", "chain-1", "chain-100", "independent-50")
    ]
    text = (
        "Wall. A flow of Metaflow has at least two tasks, and a foreach three more than its items; it keeps "
        "values and logs, in a process for each task. Flyte runs all tasks in one event loop; with "
        "`local_persistence` (recorded) it keeps a row for each."
    )
    return [
        "## Beside Metaflow and Flyte",
        text,
        _table(["", *(FRAMEWORKS[name].title for name in names)], rows),
    ]


def _alone(given: Results, quick: bool) -> list[str]:
    rows = [
        [_case(row).title, *(_spread(given.values(row, "tilth", what)) for what in ("wall", "cpu"))]
        for row in ("environments-10", "environments-100", "map-100", "map-10000")
    ]
    parts = ["## tilth alone", _table(["", "wall", "CPU"], rows)]
    if not quick:
        wall = given.marginal("map-100", "map-10000", "tilth", "wall", 9900)
        parts.append(
            f"One more item of a map costs the driver {_ms(_map_cpu(given))} of CPU and "
            f"{_kib(_map_memory(given))} of peak memory, and the run {_ms(wall)} of wall."
        )
    return parts


def _aims(given: Results) -> list[str]:
    def ratio(row: str, what: str = "wall") -> float | None:
        ours, theirs = given.median(row, "tilth", what), given.median(row, "zenml", what)
        return None if not ours or theirs is None else theirs / ours

    def over_plain(row: str) -> float | None:
        ours, plain = (
            given.median(row, "tilth", "produced..begun"),
            given.median(row, "plain", "produced..begun"),
        )
        return None if ours is None or not plain else ours / plain

    def lead(row: str) -> float | None:
        """How many times faster than the fastest of the others."""
        others = [given.median(row, name) for name in ("metaflow", "flyte", "flyte-recorded")]
        ours, known = given.median(row, "tilth"), [each for each in others if each is not None]
        return min(known) / ours if ours and known else None

    step = [given.marginal("chain-10", "chain-100", name, "wall", 90) for name in ("tilth", "zenml")]
    alternating = given.marginal("environments-10", "environments-100", "tilth", "wall", 90)
    value = given.median("memory-array", "tilth", "tree_mb")
    base = given.median("memory-1", "tilth", "tree_mb")
    extra = None if value is None or base is None else (value - base) / 1.048576 / 200
    at_least, at_most = "at least", "at most"
    aims: list[tuple[str, str, float, float | None, str]] = [
        ("import, ZenML / tilth", at_least, 20, ratio("import"), "x"),
        ("one-step script, ZenML / tilth", at_least, 10, ratio("chain-1"), "x"),
        ("one-step script", at_most, 660, _thousand(given.median("chain-1", "tilth")), " ms"),
        ("one more step", at_most, 8, _thousand(step[0]), " ms"),
        (
            "one more step, ZenML / tilth",
            at_least,
            30,
            step[1] / step[0] if step[0] and step[1] else None,
            "x",
        ),
        ("one more step, another environment each time", at_most, 8, _thousand(alternating), " ms"),
        ("100 cached steps, ZenML / tilth", at_least, 20, ratio("chain-100-cached"), "x"),
        ("array of 200 MB, tilth / plain files", at_most, 1.3, over_plain("array"), "x"),
        ("frame of 1M by 5, tilth / plain files", at_most, 1.3, over_plain("frame"), "x"),
        ("peak memory above a one-step run, per size of the array", at_most, 1.5, extra, "x"),
        ("one more item of a map, CPU of the driver", at_most, 1, _thousand(_map_cpu(given)), " ms"),
        ("one more item of a map, memory of the driver", at_most, 2, _map_memory(given), " KiB"),
    ]
    aims += [
        (f"{_case(row).title}, fastest of Metaflow and Flyte / tilth", at_least, 1, lead(row), "x")
        for row in ("import", "chain-1", "chain-100", "independent-50")
    ]
    rows = []
    for title, bound, aim, found, unit in aims:
        if found is None:
            verdict = "not measured"
        elif found >= aim if bound == at_least else found <= aim:
            verdict = "yes"
        else:
            verdict = "**no**"
        rows.append(
            [title, f"{bound} {aim:g}{unit}", "-" if found is None else f"{found:.3g}{unit}", verdict]
        )
    return ["## Aims", _table(["", "aim", "found", "met"], rows)]


def _map_cpu(given: Results) -> float | None:
    return given.marginal("map-100", "map-10000", "tilth", "mark:driver_cpu", 9900)


def _map_memory(given: Results) -> float | None:
    return given.marginal("map-100", "map-10000", "tilth", "mark:driver_kib", 9900)


def _case(name: str) -> Case:
    return next(case for case in CASES if case.name == name)


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    digits = 3 if median(values) < 1 else 2
    low, middle, high = (f"{each:.{digits}f}" for each in (min(values), median(values), max(values)))
    return f"{middle} s" + (f" ({low} to {high}, {len(values)})" if len(values) > 1 else "")


def _ratio(above: float | None, below: float | None) -> str:
    return "-" if above is None or not below else f"{above / below:.3g}"


def _thousand(value: float | None) -> float | None:
    return None if value is None else value * 1000


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value * 1000:.2f} ms"


def _kib(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} KiB"


def _mb(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

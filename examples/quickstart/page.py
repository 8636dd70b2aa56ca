"""The report: one HTML page that needs no other file. Knows matplotlib, and nothing of scikit-learn."""

from __future__ import annotations

import io
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#1f6f8b", "#d1732b", "#6a5a9c", "#5b8c3e")  # told apart with any kind of sight
DASHES = ("-", "--", "-.", ":")
INK, FAINT = "#22303a", "#dfe5e8"
SHOWN_FEATURES = 10
SHOWN_CLASSES = 12  # more, and the numbers in the matrix cannot be read

SUBTITLE = "One random forest, the same rows and seed, in environments that exclude each other."
STYLE = """
body { font: 16px/1.55 system-ui, sans-serif; color: #22303a; max-width: 60rem; margin: 2.5rem auto }
body { padding: 0 1.25rem } svg { max-width: 100%; height: auto } .wide { overflow-x: auto }
h1 { font-size: 1.75rem; margin: 0 0 .25rem } h2 { font-size: 1.15rem; margin: 2.25rem 0 .5rem }
p { margin: .5rem 0 } .quiet { color: #5d6b75 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .35rem 1.5rem .35rem 0; border-bottom: 1px solid #dfe5e8; text-align: right }
th:first-child { text-align: left } th { font-weight: 600 }
"""


def render(comparison: dict[str, Any], *, title: str) -> str:
    """The page as text; the same comparison always gives the same page."""
    names = list(comparison["scores"])
    rows, agree = comparison["rows"], comparison["agreement"]
    verdict = (
        f"The environments predict the same class for all {rows} held-out rows"
        if agree == rows
        else f"The environments predict the same class for {agree} of {rows} held-out rows"
    )
    difference = comparison["largest_difference"]
    apart = f"differ by at most {difference:.1g}" if difference else "are equal to the last digit"
    sections = [
        f"<h1>{escape(title)}: {' and '.join(names)}</h1>",
        f"<p>{verdict}; their probabilities {apart}.</p>",
        f'<p class="quiet">{SUBTITLE}</p>',
        "<h2>Scores on the held-out rows</h2>",
        _table(comparison["scores"], lambda value: f"{value:.4f}"),
    ]
    if comparison["curves"]:
        positive = comparison["classes"][1]
        sections += [f"<h2>ROC curve for “{escape(positive)}”</h2>", _curves(comparison["curves"])]
    if len(comparison["classes"]) <= SHOWN_CLASSES:
        sections += ["<h2>Predicted and true classes</h2>", _confusion(comparison)]
    sections += [
        "<h2>What the forests look at</h2>",
        _importance(comparison["importance"]),
        "<h2>Environments</h2>",
        _table(comparison["versions"], str),
    ]
    body = "\n".join(sections)
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _table(columns: dict[str, dict[str, Any]], show: Any) -> str:
    """A column for each name, a row for each key."""
    heads = "".join(f"<th>{escape(name)}</th>" for name in columns)
    keys = dict.fromkeys(key for column in columns.values() for key in column)
    rows = []
    for key in keys:
        cells = (escape(show(column[key])) if key in column else "-" for column in columns.values())
        rows.append(f"<tr><th>{escape(key)}</th>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>")
    head, body = f"<thead><tr><th></th>{heads}</tr></thead>", f"<tbody>{''.join(rows)}</tbody>"
    return f'<div class="wide"><table>{head}{body}</table></div>'


def _curves(curves: dict[str, dict[str, list[float]]]) -> str:
    figure = _figure(6, 4.2)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=FAINT)
    for (name, curve), colour, dash in zip(curves.items(), COLOURS, DASHES, strict=False):
        axes.step(curve["false"], curve["true"], dash, where="post", color=colour, label=name, linewidth=1.8)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1), ylim=(0, 1.01))
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure, "ROC curves")


def _confusion(comparison: dict[str, Any]) -> str:
    classes = [_short(name, 14) for name in comparison["classes"]]
    side = 1.9 + 0.45 * len(classes)
    matrices = comparison["confusion"]
    figure = _figure(side * len(matrices) + 0.6, side)
    grid = figure.subplots(1, len(matrices), squeeze=False)[0]
    for axes, (name, matrix) in zip(grid, matrices.items(), strict=True):
        most = max(map(max, matrix)) or 1
        axes.imshow(matrix, cmap="Blues", vmin=0, vmax=most * 1.4)
        for row, counts in enumerate(matrix):
            for column, count in enumerate(counts):
                axes.text(
                    column, row, count, ha="center", va="center", color="white" if count > 0.8 * most else INK
                )
        axes.set(title=name, xlabel="predicted", ylabel="true")
        axes.set_xticks(range(len(classes)), classes, rotation=90 if len(classes) > 3 else 0)
        axes.set_yticks(range(len(classes)), classes)
        axes.tick_params(length=0)
    return _svg(figure, "Confusion matrices")


def _importance(importance: dict[str, dict[str, float]]) -> str:
    first = next(iter(importance.values()))
    features = list(first)[:SHOWN_FEATURES]
    figure = _figure(7, 0.8 + 0.34 * len(features))
    axes = figure.add_subplot()
    height = 0.8 / len(importance)
    for index, ((name, shares), colour) in enumerate(zip(importance.items(), COLOURS, strict=False)):
        at = [place + (index - (len(importance) - 1) / 2) * height for place in range(len(features))]
        axes.barh(at, [shares.get(key, 0) for key in features], height * 0.9, color=colour, label=name)
    axes.set_yticks(range(len(features)), [_short(key, 28) for key in features])
    axes.invert_yaxis()
    axes.set(xlabel="share of the importance")
    axes.legend(frameon=False, loc="lower right")
    return _svg(figure, "Importance of the features")


def _figure(width: float, height: float) -> Figure:
    # Not pyplot: it costs a quarter of a second to import, and keeps every figure.
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams.update(
        {
            "font.family": "sans-serif",
            "svg.fonttype": "none",  # text stays text: smaller, and can be searched
            "svg.hashsalt": "quickstart",  # else ids are random, and no two pages are equal
            "text.parse_math": False,  # a column may be called `$price`
            "text.color": INK,
            "axes.edgecolor": "#9aa7af",
            "axes.labelcolor": INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "xtick.color": INK,
            "ytick.color": INK,
        }
    )
    return Figure(figsize=(width, height), layout="constrained")


def _svg(figure: Figure, description: str) -> str:
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})
    drawing = text.getvalue()
    drawing = drawing[drawing.index("<svg") :]
    return drawing.replace("<svg ", f'<svg role="img" aria-label="{description}" ', 1)


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

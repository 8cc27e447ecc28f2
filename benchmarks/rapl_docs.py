"""Put the tables and the curves of the benchmark of visual rewards into docs/visual-rewards.md.

`python -m benchmarks.rapl_docs` reads benchmarks/results/rapl.jsonl and fills what stands between
`<!-- begin NAME -->` and `<!-- end NAME -->`; the words around are written by hand.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.align_figures import Row, select
from benchmarks.pages import fill_page
from benchmarks.rapl import RESULTS
from benchmarks.rapl_cases import (
    AVOID,
    CASES,
    FEW,
    LABELS,
    MANY,
    METHODS,
    NOISE,
    PLUS,
    RLHF,
    SEARCH,
)
from benchmarks.rapl_figures import COPIES, METRICS, figure, summarise
from benchmarks.rapl_policy_figures import summarise_policies
from benchmarks.result_lines import read_rows
from robopref.align.figures import AFTER, BEFORE, INK, MUTED, svg_data
from robopref.config import write_text_atomically

PAGE = Path("docs/visual-rewards.md")
CURVES = Path("docs/images/visual-rewards-curves.svg")
NOTHING = "Not measured yet."
TESTS = tuple(test for case in CASES for test in case.tests)


def main() -> None:
    """Fill the page and draw the curves."""
    rows = read_rows(RESULTS)
    fill_page(PAGE, {name: make(rows) or NOTHING for name, make in TABLES.items()})
    if _grid(rows):
        write_text_atomically(CURVES, draw_curves(rows))


def aims(rows: Sequence[Row]) -> str:
    """Return what must hold beside what was measured."""
    found = summarise(rows)["figures"] | summarise_policies(rows)["figures"]
    lines = []
    for name, one in found.items():
        held = {True: "holds", False: "**missed**"}.get(one.get("ok"), "")
        aim = f"{one['floor']:g}" if "floor" in one else ""
        lines.append((name, _text(one), aim, str(one["n"]), held))
    return _table(("figure", "measured", "aim", "runs", ""), lines)


def by_test(rows: Sequence[Row]) -> str:
    """Return every metric of every method with 20 rankings, by test."""
    return _by_test(rows, FEW, 0.0)


def more_labels(rows: Sequence[Row]) -> str:
    """Return the same with 100 rankings."""
    return _by_test(rows, MANY, 0.0)


def mistakes(rows: Sequence[Row]) -> str:
    """Return the same with 20 rankings of which a fifth is wrong."""
    return _by_test(rows, FEW, 0.2)


def _by_test(rows: Sequence[Row], labels: int, noise: float) -> str:
    fits = _fits(rows)
    lines = []
    for test in TESTS:
        for method in METHODS:
            wanted = {"method": method.name, "labels": labels, "noise": noise}
            cells = [figure(fits, test, metric, **wanted) for metric in METRICS]
            if cells[0]["n"]:
                lines.append((test, method.name, *map(_text, cells), str(cells[0]["n"])))
    return _table(("test", "method", *METRICS, "seeds"), lines)


def copies(rows: Sequence[Row]) -> str:
    """Return what every method makes of good clips and their copies on avoid, in deviations."""
    fits = _fits(rows)
    lines = []
    for method in METHODS:
        wanted = {"method": method.name, "labels": FEW, "noise": 0.0}
        cells = [figure(fits, AVOID.name, f"copy {copy}", **wanted) for copy in COPIES]
        own = figure(fits, AVOID.name, "own distance", **wanted)
        if cells[0]["n"]:
            lines.append((method.name, *(f"{cell['value']:.2f}" for cell in cells), _text(own)))
    heads = ("method", "the clip", "other speed", *COPIES[2:], "distance from itself")
    return _table(heads, lines)


def grid(rows: Sequence[Row]) -> str:
    """Return how RAPL++ and RLHF order clips of avoid, by rankings and mistakes."""
    fits = _fits(rows)
    lines = []
    for metric in ("spearman", "within"):
        for method in (PLUS, RLHF):
            for noise in NOISE:
                cells = [
                    figure(fits, AVOID.name, metric, method=method.name, labels=n, noise=noise)
                    for n in LABELS
                ]
                if any(cell["n"] for cell in cells):
                    lines.append((metric, method.name, f"{noise:.0%}", *map(_text, cells)))
    found = _table(("metric", "method", "mistakes", *map(str, LABELS)), lines)
    return found and f"![Rank correlations by rankings](images/{CURVES.name})\n\n{found}"


def search(rows: Sequence[Row]) -> str:
    """Return what the search of settings found, in which both had as many tries."""
    found = select(rows, stage="search")
    lines = []
    for method in SEARCH:
        for row in select(found, method=method.name):
            scores = row["scores"][AVOID.name]
            lines.append((method.name, *(_value(scores[metric]) for metric in METRICS)))
    return _table(("setting", *METRICS), lines)


def policies(rows: Sequence[Row]) -> str:
    """Return the rates of policies before and after, by what was done with which reward."""
    lines = [
        (
            line["case"], line["reward"], line["method"], _text(line["base success"]),
            _text(line["aligned success"]), _text(line["preferred"]), _text(line["base joint"]),
            _text(line["aligned joint"]), str(line["aligned joint"]["n"]),
        )
        for line in summarise_policies(rows)["policies"]
    ]  # fmt: skip
    heads = ("case", "reward", "how", "success of the base", "success", "preferred",
             "joint of the base", "joint", "seeds")  # fmt: skip
    return _table(heads, lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "aims": aims, "tests": by_test, "more": more_labels, "mistakes": mistakes, "copies": copies,
    "grid": grid, "search": search, "policies": policies,
}  # fmt: skip


def draw_curves(rows: Sequence[Row]) -> str:
    """Return how RAPL++ and RLHF order clips and frames, by rankings, with and without mistakes."""
    plots, axes = plt.subplots(1, 4, figsize=(11.5, 2.8), sharey=True)
    panels = [(metric, noise) for metric in ("spearman", "within") for noise in (0.0, 0.2)]
    for axis, (metric, noise) in zip(axes, panels, strict=True):
        for method, colour in ((PLUS, AFTER), (RLHF, BEFORE)):
            found = [
                figure(_grid(rows), AVOID.name, metric, method=method.name, labels=n, noise=noise)
                for n in LABELS
            ]
            middle, low, high = ([one[key] for one in found] for key in ("value", "low", "high"))
            axis.plot(LABELS, middle, "o-", color=colour, markersize=4, label=method.name)
            axis.fill_between(LABELS, low, high, color=colour, alpha=0.15, linewidth=0)
        what = {"spearman": "between clips", "within": "along a clip"}[metric]
        axis.set_title(f"{what}, {noise:.0%} mistakes", fontsize=9, color=INK)
        axis.set_xscale("log")
        # There is no room for the number before the last.
        axis.set_xticks(LABELS, [str(n) if n != MANY else "" for n in LABELS])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("rankings", fontsize=9, color=INK)
        axis.tick_params(colors=MUTED, labelsize=8)
        axis.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0].set_ylabel("rank correlation", fontsize=9, color=INK)
    axes[0].legend(frameon=False, fontsize=8)
    return svg_data(plots)


def _fits(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if "scores" in row and row["stage"] != "search"]


def _grid(rows: Sequence[Row]) -> list[Row]:
    """Return the lines that curves are drawn from: of both methods on avoid."""
    return [
        row for row in select(_fits(rows), case=AVOID.name)
        if row["method"] in (PLUS.name, RLHF.name)
    ]  # fmt: skip


def _table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a table; nothing where there are no lines."""
    rows = [f"| {' | '.join(line)} |" for line in lines]
    if not rows:
        return ""
    return "\n".join([f"| {' | '.join(heads)} |", "| --- " * len(heads) + "|", *rows])


def _text(one: Mapping[str, Any]) -> str:
    """Return a figure with its interval; nothing where it is not known."""
    if not one["n"]:
        return ""
    value = _value(one["value"])
    if "low" not in one or one["n"] < 2:
        return value
    return f"{value} ({_value(one['low'])} to {_value(one['high'])})"


def _value(value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return ""
    return f"{value:.0f}" if abs(value) >= 5 else f"{value:.2f}"


if __name__ == "__main__":
    main()

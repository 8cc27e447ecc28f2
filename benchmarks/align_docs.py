"""Put the tables and pictures of the alignment benchmark into docs/alignment.md.

`python -m benchmarks.align_docs` reads benchmarks/results/align.jsonl and fills what stands between
`<!-- begin NAME -->` and `<!-- end NAME -->`; the words around are written by hand.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np

from benchmarks.align import RESULTS
from benchmarks.align_cases import CASES, DEFAULT, PUBLISHED
from benchmarks.align_figures import (
    Row,
    curve_rows,
    gain_of_selection,
    joint,
    mean_of,
    select,
    summarise,
    table,
)
from benchmarks.pages import fill_page
from benchmarks.result_lines import read_rows
from robopref.align.figures import AFTER, BEFORE, INK, MUTED, svg_data
from robopref.config import write_text_atomically

PAGE = Path("docs/alignment.md")
CURVES = Path("docs/images/alignment-curves.svg")
GROUPS = tuple(dict.fromkeys(case.group for case in CASES))


def main() -> None:
    """Fill the page and draw the curves."""
    rows = read_rows(RESULTS)
    fill_page(PAGE, {name: make(rows) for name, make in TABLES.items()})
    if select(rows, stage="curves"):
        write_text_atomically(CURVES, draw_curves(curve_rows(rows)))


def floors(rows: Sequence[Row]) -> str:
    """Return what must hold beside what was measured."""
    lines = ["| figure | measured | aim | runs | |", "| --- | --- | --- | --- | --- |"]
    for name, figure in summarise(rows)["figures"].items():
        aim = f"{figure['floor']:g}" if "floor" in figure else ""
        held = {True: "holds", False: "**missed**"}.get(figure.get("ok"), "")
        lines.append(
            f"| {name.replace('_', ' ')} | {_figure(figure)} | {aim} | {figure['n']} | {held} |"
        )
    return "\n".join(lines)


def by_group(rows: Sequence[Row]) -> str:
    """Return the joint rate of every method of the main stage, by group and labels."""
    return _by_group(select(rows, stage="main"))


def own_episodes(rows: Sequence[Row]) -> str:
    """Return the same for queries about the policy's own episodes alone."""
    return _by_group(select(rows, stage="own"))


def _by_group(main_rows: Sequence[Row]) -> str:
    names = list(dict.fromkeys(row["method"] for row in main_rows))
    default = select(main_rows, method=DEFAULT.name, labels=20, flips=0.0)
    base = [_figure(mean_of(select(default, group=group), _base)) for group in GROUPS]
    lines = ["| base | 0 | " + " | ".join(base) + " |"]
    for labels in (5, 20):
        for of, what in (
            (_selected, "best-of-16 on the base"),
            (_on_top, "distil, best-of-16 on top"),
        ):
            lines.append(_line(main_rows, DEFAULT.name, labels, what, of))
        for name in names:
            lines.append(_line(main_rows, name, labels, name, joint))
    lines.append(
        _line(main_rows, DEFAULT.name, 20, "distil, 20 % of the answers flipped", joint, 0.2)
    )
    head = [
        "| method | labels | " + " | ".join(GROUPS) + " |",
        "| --- | --- |" + " --- |" * len(GROUPS),
    ]
    # Controls have no answers but 20, and an unfinished queue has nothing yet for some methods.
    return "\n".join([*head, *(line for line in lines if " to " in line)])


def screening(rows: Sequence[Row]) -> str:
    """Return every method's mean over the screening's cases, best rank first."""
    found = select(rows, stage="screening")
    lines = [
        "| method | joint | with 20 % flips | preferred | change of success | drift | base kept "
        "| seconds | mean rank |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    every = [dict(row, group="all") for row in found]
    tables = {(line["method"], line["flips"]): line for line in table(every)}
    names = {row["method"] for row in found}

    def rank(name: str) -> float:
        ranks = [tables[name, f]["rank"]["value"] for f in (0.0, 0.2) if (name, f) in tables]
        return float(np.mean(ranks))

    for name in sorted(names, key=lambda name: (rank(name), name)):
        of = select(found, method=name)
        kept = f"{sum(row['kept_base'] for row in of if 'kept_base' in row)} of {len(of)}"
        clean, flipped = tables.get((name, 0.0)), tables.get((name, 0.2))
        line = clean or flipped
        assert line is not None
        lines.append(
            f"| {name} | {_figure(clean['joint']) if clean else ''} "
            f"| {_figure(flipped['joint']) if flipped else ''} "
            f"| {_figure(line['preferred'])} | {_figure(line['success_change'])} "
            f"| {_figure(line['drift'])} | {kept} "
            f"| {line['seconds']['value']:.0f} | {rank(name):.1f} |"
        )
    return "\n".join(lines)


def against_default(rows: Sequence[Row]) -> str:
    """Return how much more the default reaches than each method, in the runs that both did."""
    lines = ["| method | runs | default's joint rate less its own | |", "| --- | --- | --- | --- |"]
    settings = ("stage", "case", "seed", "labels", "flips")
    default = {tuple(r[s] for s in settings): joint(r) for r in select(rows, method=DEFAULT.name)}
    for name in dict.fromkeys(row["method"] for row in rows if row["stage"] != "search"):
        pairs = [
            {"gap": default[key] - joint(row)}
            for row in select(rows, method=name)
            if (key := tuple(row[s] for s in settings)) in default and row["stage"] != "search"
        ]
        if name == DEFAULT.name or not pairs:
            continue
        gap = mean_of(pairs, lambda pair: float(pair["gap"]))
        verdict = "no difference seen"
        if gap["low"] > 0 or gap["high"] < 0:
            verdict = "worse" if gap["low"] > 0 else "better"
        lines.append(f"| {name} | {gap['n']} | {_figure(gap)} | {verdict} |")
    return "\n".join(lines)


def search(rows: Sequence[Row]) -> str:
    """Return what the search of settings found, which both sides had as many tries in."""
    found = select(rows, stage="search")
    names = list(dict.fromkeys(row["case"] for row in found))
    lines = ["| setting | " + " | ".join(names) + " |", "| --- |" + " --- |" * len(names)]
    for method in dict.fromkeys(row["method"] for row in found):
        values = [
            mean_of(select(found, method=method, case=name), joint)["value"] for name in names
        ]
        lines.append(f"| {method} |" + "".join(f" {value:.2f} |" for value in values))
    return "\n".join(lines)


def mistakes(rows: Sequence[Row]) -> str:
    """Return the joint rates of the curves with 20 labels, by how the teacher errs."""
    found = select(curve_rows(rows), labels=20)
    ways = {
        flips: "as people err, the more the closer the two are" if flips < 0 else f"{flips:.0%}"
        for flips in sorted({row["flips"] for row in found}, key=lambda flips: (flips < 0, flips))
    }
    names = (DEFAULT.name, PUBLISHED.name)
    lines = [
        "| decided answers turned around | " + " | ".join(names) + " | runs |",
        "| --- |" + " --- |" * (len(names) + 1),
    ]
    for flips, what in ways.items():
        of = [mean_of(select(found, method=name, flips=flips), joint) for name in names]
        num = min(figure["n"] for figure in of)
        lines.append(
            f"| {what} |" + "".join(f" {_figure(figure)} |" for figure in of) + f" {num} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[Sequence[Row]], str]] = {
    "floors": floors, "groups": by_group, "own": own_episodes, "screening": screening,
    "against": against_default, "search": search, "mistakes": mistakes,
}  # fmt: skip


def draw_curves(rows: Sequence[Row]) -> str:
    """Return the joint rate by labels and by the share of wrong answers, of both methods."""
    figure, axes = plt.subplots(1, 2, figsize=(8.4, 2.8), sharey=True)
    for method, colour in ((DEFAULT.name, AFTER), (PUBLISHED.name, BEFORE)):
        chosen = select(rows, method=method)
        ways = (
            (axes[0], "labels", select(chosen, flips=0.0)),
            (axes[1], "flips", [r for r in select(chosen, labels=20) if r["flips"] >= 0]),
        )
        for axis, key, of in ways:
            at = sorted({row[key] for row in of})
            means = [mean_of(select(of, **{key: value}), joint) for value in at]
            middle = np.array([mean["value"] for mean in means])
            axis.plot(at, middle, "o-", color=colour, markersize=4, label=method)
            axis.fill_between(
                at, [m["low"] for m in means], [m["high"] for m in means], color=colour, alpha=0.15,
                linewidth=0,
            )  # fmt: skip
    axes[0].set_xscale("log")
    axes[0].set_xticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
    axes[0].set_xlabel("labels", fontsize=9, color=INK)
    axes[1].set_xlabel("share of decided answers turned around, of 20", fontsize=9, color=INK)
    axes[0].set_ylabel("joint rate", fontsize=9, color=INK)
    axes[0].set_ylim(0, 1.02)
    axes[0].legend(frameon=False, fontsize=8)
    for axis in axes:
        axis.tick_params(colors=MUTED, labelsize=8)
        axis.grid(axis="y", color="#e4e7eb", linewidth=0.8)
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    return svg_data(figure)


def _line(
    rows: Sequence[Row],
    method: str,
    labels: int,
    name: str,
    of: Callable[[Row], float],
    flips: float = 0.0,
) -> str:
    chosen = select(rows, method=method, labels=labels, flips=flips)
    cells = [_figure(mean_of(select(chosen, group=group), of)) for group in GROUPS]
    return f"| {name} | {labels} | " + " | ".join(cells) + " |"


def _figure(figure: dict[str, Any]) -> str:
    if not figure["n"]:
        return ""
    value = f"{figure['value']:.2f}"
    return f"{value} ({figure['low']:.2f} to {figure['high']:.2f})" if "low" in figure else value


def _base(row: Row) -> float:
    return float(row["base"]["joint"]["value"])


def _selected(row: Row) -> float:
    return float(row["selected"]["joint"]["value"]) if "selected" in row else math.nan


def _on_top(row: Row) -> float:
    return joint(row) + gain_of_selection(row) if "selection_pays" in row else math.nan


if __name__ == "__main__":
    main()

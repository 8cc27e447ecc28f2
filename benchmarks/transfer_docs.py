"""Put the tables of the transfer benchmarks into docs/transfer.md.

`python -m benchmarks.transfer_docs` reads transfer.json, transport_speed.json,
transfer_rewards.json and transfer_policies.jsonl in benchmarks/results and fills what stands
between `<!-- begin NAME -->` and `<!-- end NAME -->`; the words around are written by hand.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.pages import fill_page
from benchmarks.policy_cases import (
    CARRIED,
    CONTROLS,
    LABELLED,
    TRUE,
    WITH_ACTIONS,
    chosen_tasks,
)
from benchmarks.result_lines import read_rows
from benchmarks.transfer_policies import OVER_TRUE, rates_within, summarise
from benchmarks.transfer_rewards import PEOPLES

PAGE = Path("docs/transfer.md")
RESULTS = Path("benchmarks/results")
COLUMNS = (
    ("accuracy", "accuracy"), ("clear", "clear pairs"), ("papers_pairs", "PEARL's 8 pairs"),
    ("worst_pair", "worst pair"), ("below_half", "below 0.5"), ("brier", "Brier"), ("ece", "ECE"),
    ("coverage_at_90", "coverage at 90 %"),
)  # fmt: skip
PEOPLES_ROWS = {
    "linear, folds of pairs": "linear, folds of pairs",
    "linear, recordings apart": "linear, recordings apart",
    "linear and the other two tasks, recordings apart":
        "linear and the other two, recordings apart",
    "MLP, folds of pairs": "mlp, folds of pairs",
    "MLP, recordings apart": "mlp, recordings apart",
    "carried from the other two": "carried from the other two",
    "carried from six Meta-World tasks": "carried from Meta-World",
}  # fmt: skip
"""What is called how in the results."""
POLICIES_ROWS = {
    "recorded": TRUE, "learned from true labels": LABELLED, "learned from carried labels": CARRIED,
    **{f"learned from {name}": name for name in WITH_ACTIONS},
    **{name: name for name in CONTROLS},
}  # fmt: skip


def main() -> None:
    """Fill the page."""
    paths = [RESULTS / f"{name}.json" for name in ("transfer", "transport_speed")]
    results = [json.loads(path.read_text()) for path in paths if path.exists()]
    learned = json.loads((RESULTS / "transfer_rewards.json").read_text())["figures"]
    tables = {
        "transfer": fill(results[0], *results[1:]),
        "rewards": rewards_table(learned),
        "people": people_table(learned),
        "policies": policies_table(read_rows(RESULTS / "transfer_policies.jsonl")),
    }
    fill_page(PAGE, tables)


def fill(transfer: Mapping[str, Any], speed: Mapping[str, Any] | None = None) -> str:
    """Return the tables of the results, with the words between them."""
    parts = [
        f"{transfer['pairs']} ordered pairs of six Meta-World tasks, {transfer['seeds']} seeds of "
        "the data, 64 segments of 50 steps each (recipe `mixed`, segments of all episodes in turn; "
        "`robopref bench transfer`). All pairs that the true return decides are scored, however "
        "small the difference; *clear pairs* are those that differ by more than a tenth of the "
        "returns' deviation. The settings of `shared-features` were chosen on seeds 0 to 4. "
        "`k` answers about the target are chosen by `choose_queries`; *no goals* leaves out the "
        "features that the goal is part of.",
        _figures(transfer["figures"]),
        _methods(transfer["table"]),
        "### Where it stops\n\nTransfers by `shared-features` between tasks that are less alike, "
        "with no answer about the target and after ten random ones. *Verdict* counts trust / care "
        "/ distrust; all figures but the last two are of the transfer without answers. *Source* "
        "and *across* are the shares of the sources' own answers that are foretold, and that the "
        "other sources foretell.",
        _harder(transfer["harder"]),
        "Of the transfers with each verdict, those that order fewer than 60 % of the pairs right:",
        _verdicts(transfer["verdicts"]),
        WORDS.format(reach=_mean_to("reach-v3", transfer["harder_rows"])),
    ]
    if speed is not None:
        parts += [
            "### Time of the alignment",
            SPEED,
            _figures(speed["figures"]),
            _speed(speed["rows"]),
        ]
    return "\n\n".join(parts)


WORDS = """\
Another robot with other actions and rewards of another design is no obstacle (*the six to
robomimic*). Nothing carries over where what is preferred has changed (*success there, slow here*),
to `reach-v3` ({reach:.2f}: it has no object), and hardly anything of what is not in the features
(*approach-high*; *keep-away*, a place on the table). Without any answer about the target, sources
that fail on each other give most of the last away, and nothing shows the first two: without an
answer no transfer is trusted. Ask ten answers before you train."""

SPEED = """\
POT's projected gradient is stopped after 20 steps, with which it is timed but does not find the
matches of these sets. Medians, on two cores with no other work."""


def _mean_to(target: str, rows: Sequence[Mapping[str, Any]]) -> float:
    """Return the mean accuracy of the transfers to a task."""
    found = [row["accuracy"] for row in rows if row["target"] == target]
    return float(np.mean(found)) if found else float("nan")


def _figures(figures: Mapping[str, Any]) -> str:
    lines = ["| figure | measured | aim | |", "| --- | --- | --- | --- |"]
    for name, figure in figures.items():
        aim = "" if figure["floor"] is None else f"{figure['floor']:g}"
        held = {True: "holds", False: "**missed**"}.get(figure["ok"], "")
        value = f"{figure['value']:.3g}"
        if figure["low"] is not None:
            value += f" ({figure['low']:.3g} to {figure['high']:.3g})"
        lines.append(f"| {name} | {value} | {aim} | {held} |")
    return "\n".join(lines)


def _verdicts(verdicts: Mapping[str, Mapping[str, float]]) -> str:
    lines = ["| verdict | transfers | useless |", "| --- | --- | --- |"]
    lines += [f"| {name} | {row['n']} | {row['value']:.0%} |" for name, row in verdicts.items()]
    return "\n".join(lines)


def _methods(table: Mapping[str, Mapping[str, Any]]) -> str:
    heads = [head for _, head in COLUMNS]
    lines = [f"| method | {' | '.join(heads)} |", "| --- |" + " --- |" * len(heads)]
    for name, row in table.items():
        cells = [_cell(row.get(key)) for key, _ in COLUMNS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _harder(kinds: Mapping[str, Mapping[str, Any]]) -> str:
    lines = [
        "| transfer | n | accuracy | worst | expected | source | across | meaning | verdict "
        "| accuracy after 10 answers | verdict after 10 answers |",
        "| --- |" + " --- |" * 10,
    ]
    keys = ("accuracy", "worst", "expected_accuracy", "source", "across", "meaning")
    for kind, row in kinds.items():
        cells = [f"{row[key]:.2f}" if row[key] is not None else "" for key in keys]
        levels = [
            " / ".join(str(row[when].get(level, 0)) for level in ("trust", "care", "distrust"))
            for when in ("verdicts", "verdicts_after_answers")
        ]
        levels.insert(1, f"{row['accuracy_after_answers']:.2f}")
        lines.append(f"| {kind} | {row['num']} | {' | '.join([*cells, *levels])} |")
    return "\n".join(lines)


def _speed(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| items | method | seconds | true matches |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['items']} | {row['method']} | {row['seconds']:.2f} | {row['matches']:.0%} |"
        for row in rows
    ]
    return "\n".join(lines)


def rewards_table(figures: Mapping[str, Any]) -> str:
    """Return what rewards reach by the labels that they were learned from."""
    last = ", label accuracy"
    lines = [
        "| learned from | labels right | accuracy | rank correlation |",
        "| --- | --- | --- | --- |",
    ]
    for name in (key.removesuffix(last) for key in figures if key.endswith(last)):
        cells = [
            _interval(figures[f"{name}, {key}"], 3) for key in ("accuracy", "rank correlation")
        ]
        lines.append(f"| {name} | {figures[name + last]['value']:.3f} | {' | '.join(cells)} |")
    return "\n".join(lines)


def people_table(figures: Mapping[str, Any]) -> str:
    """Return how many of people's answers are foretold."""
    lines = [
        f"| | {' | '.join(name.capitalize() for name in PEOPLES)} |",
        "| --- |" + " --- |" * len(PEOPLES),
        "| linear on nine features, trial runs | "
        + " | ".join(f"{share:.2f}" for share in PEOPLES.values())
        + " |",
    ]
    for head, key in PEOPLES_ROWS.items():
        cells = [_interval(figures[f"people, {name}, {key}"]) for name in PEOPLES]
        lines.append(f"| {head} | {' | '.join(cells)} |")
    return "\n".join(lines)


def policies_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return what policies reach by what they were learned from."""
    limits = chosen_tasks(rows)
    figures = summarise(rows)["figures"]
    final = [row for row in rows if row["stage"] == "final"]
    tasks = [f"{row['task'].removesuffix('-v3')} ({limits[row['task']]})" for row in final]
    lines = [
        f"| reward | {' | '.join(tasks)} | all |",
        "| --- |" + " --- |" * (len(tasks) + 1),
    ]
    for head, name in POLICIES_ROWS.items():
        means = [f"{np.mean(rates_within(row, name, limits)):.2f}" for row in final]
        lines.append(f"| {head} | {' | '.join(means)} | {_interval(figures[f'success, {name}'])} |")
    over = figures[OVER_TRUE]
    held = "holds" if over["ok"] else "**missed**"
    return "\n".join(lines) + (
        f"\n\nCarried over true labels: {_interval(over)} (aim {over['floor']:g}: {held}), on "
        f"{len(final)} tasks."
    )


def _interval(figure: Mapping[str, float], digits: int = 2) -> str:
    low, high = (f"{figure[key]:.{digits}f}" for key in ("low", "high"))
    return f"{figure['value']:.{digits}f} [{low}, {high}]"


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()

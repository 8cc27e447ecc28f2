"""Tests for benchmarks/rapl_figures.py."""

from typing import Any

import pytest

from benchmarks.rapl_cases import AVOID, FAITHFUL, FEW, LABELS, NOISE, PLUS, RLHF
from benchmarks.rapl_figures import COPIES, METRICS, NEVER, first_at, labels_needed, summarise

CURVE: dict[int, float] = dict(zip(LABELS, (0.2, 0.4, 0.5, 0.6, 0.7, 0.8), strict=True))


def make_row(method, labels, *, seed=0, noise=0.0, test="avoid", **scores):
    found = dict.fromkeys((*METRICS, "ramp", "own distance"), 0.5)
    found |= {f"copy {copy}": 0.0 for copy in COPIES} | {"copy other-speed": 1.0}
    return {
        "stage": "main", "case": AVOID.name, "seed": seed, "labels": labels, "noise": noise,
        "method": method.name, "scores": {test: found | scores},
    }  # fmt: skip


def curves(factor):
    """Return the rows of a grid in which RAPL++ needs `factor` times as many rankings as RLHF."""

    def at(labels):
        below = [n for n in LABELS if n <= labels]
        return CURVE[below[-1]] if below else 0.0

    return [
        make_row(method, n, seed=seed, noise=noise, spearman=value, within=value)
        for seed in (0, 1) for noise in NOISE for n in LABELS
        for method, value in ((RLHF, CURVE[n]), (PLUS, at(n / factor)))
    ]  # fmt: skip


def test_levels_are_reached_between_points():
    assert first_at([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0.25) == pytest.approx(15.0)
    assert first_at([0.5] * 6, 0.2) == LABELS[0]
    assert first_at([0.1] * 6, 0.2) == NEVER
    # It does not stay the first time.
    assert first_at([0.3, 0.1, 0.3, 0.4, 0.5, 0.6], 0.2) == pytest.approx(15.0)


def test_rankings_that_are_needed_are_counted_for_each_share_of_mistakes():
    figures = labels_needed(curves(0.2), "spearman")
    needed = figures["rankings for spearman without mistakes, visual-rlhf"]
    assert needed["value"] == 100.0
    assert needed["n"] == 2
    ours = figures["rankings for spearman without mistakes, rapl-plus"]["value"]
    assert 10 < ours <= 20
    ratio = figures["ratio of rankings for spearman with up to 30% mistakes"]
    assert ratio["value"] == pytest.approx(ours / 100)
    assert ratio["ok"]
    assert ratio["n"] == 8
    worse = labels_needed(curves(2), "spearman")
    assert not worse["ratio of rankings for spearman without mistakes"]["ok"]


def test_runs_with_a_part_of_their_curve_are_left_out():
    rows = [row for row in curves(1) if row["seed"] == 0 or row["labels"] < 150]
    figures = labels_needed(rows, "within")
    assert figures["ratio of rankings for within without mistakes"]["n"] == 1


def test_aims_compare_equal_runs():
    turned: dict[str, Any] = {"copy reversed": 2.0}
    rows = [
        make_row(PLUS, FEW, spearman=0.9, **turned),
        make_row(PLUS, FEW, noise=0.2, spearman=0.8),
        make_row(FAITHFUL, FEW, spearman=0.6),
        make_row(FAITHFUL, FEW, seed=1, spearman=5.0),  # The other has no such run.
        make_row(RLHF, 100, spearman=0.7),
    ]
    rows.append({"stage": "policies", "case": AVOID.name, "seed": 0, "method": "distil"})
    figures = summarise(rows)["figures"]
    found = {
        "spearman: rapl-plus less rapl": (0.3, True),
        "spearman lost with 20 % noise": (0.1, False),
        "spearman: rapl-plus with 20 less visual-rlhf with 100": (0.2, True),
        "reversed below other speed, rapl-plus": (0.0, False),
        "half below other speed, rapl-plus": (1.0, True),
        "spearman, avoid": (0.9, True),
    }
    for name, (value, ok) in found.items():
        assert figures[name]["value"] == pytest.approx(value), name
        assert figures[name]["ok"] == ok, name
    assert "within, group" not in figures

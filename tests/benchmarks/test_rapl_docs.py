"""Tests for benchmarks/rapl_docs.py and rapl_policy_figures.py."""

import shutil
from dataclasses import asdict
from typing import Any

import pytest

from benchmarks import rapl_docs
from benchmarks.rapl_cases import CASES, FAITHFUL, FEW, LABELS, METHODS, PLUS, RLHF, plan_policies
from benchmarks.rapl_figures import COPIES, METRICS
from benchmarks.rapl_policy_figures import summarise_policies
from robopref.statistics import wilson


def make_fits():
    rows = []
    for case in CASES:
        for method in METHODS:
            for noise in (0.0, 0.2):
                for labels in LABELS:
                    value = 0.9 if method is PLUS else 0.5
                    scores: dict[str, Any] = dict.fromkeys(
                        (*METRICS, "ramp", "own distance"), value
                    )
                    scores |= {f"copy {copy}": value for copy in COPIES}
                    if not case.env.startswith("planar"):
                        scores["within"] = None
                    rows.append(
                        {"stage": "main", "case": case.name, "seed": 0, "labels": labels,
                         "noise": noise, "method": method.name,
                         "scores": dict.fromkeys(case.tests, scores)}
                    )  # fmt: skip
    return rows


def make_policies(seeds=2):
    """Return lines in which tuning by RAPL++ takes the joint rate from 0.4 to 0.72 of 0.8."""
    rows = []
    for item in plan_policies():
        if item.seed >= seeds:
            continue
        joint = 36 if item.reward is PLUS and item.method.name in ("distil", "simulate") else 28
        rates = {
            when: {"success": asdict(wilson(40, 50)), "preferred": asdict(wilson(num, 40)),
                   "joint": asdict(wilson(num, 50))}
            for when, num in (("base", 20), ("aligned", joint))
        }  # fmt: skip
        rows.append(
            {"stage": "policies", "case": item.case.name, "seed": item.seed,
             "reward": item.reward.name, "method": item.method.name, "pool_accuracy": 0.8, **rates}
        )  # fmt: skip
    return rows


def test_policies_are_judged_by_what_success_allows():
    figures = summarise_policies(make_policies())["figures"]
    found = {
        "joint over success, avoid": (0.9, True), "success less base, avoid": (0.0, True),
        "joint less that of visual-rlhf, avoid": (0.16, None),
        "critic's part of what simulating gains, avoid": (0.5, None),
    }  # fmt: skip
    for name, (value, ok) in found.items():
        assert figures[name]["value"] == pytest.approx(value), name
        assert figures[name].get("ok") == ok, name
    worse = make_policies()
    for row in worse:
        row["aligned"]["success"] = asdict(wilson(30, 50))
    assert not summarise_policies(worse)["figures"]["success less base, avoid"]["ok"]


def test_an_unknown_preferred_rate_does_not_count():
    rows = make_policies()
    for row in rows:
        if row["seed"] == 0:
            row["aligned"]["preferred"] = {"value": None, "num": 0}
    figure = summarise_policies(rows)["figures"]["joint over success, avoid"]
    assert figure["n"] == 1


def test_the_page_has_a_place_for_every_table(tmp_path, monkeypatch):
    page, curves = tmp_path / "page.md", tmp_path / "curves.svg"
    shutil.copy(rapl_docs.PAGE, page)
    monkeypatch.setattr(rapl_docs, "PAGE", page)
    monkeypatch.setattr(rapl_docs, "CURVES", curves)
    monkeypatch.setattr(rapl_docs, "read_rows", lambda path: [])
    rapl_docs.main()
    assert page.read_text().count("Not measured yet.") == len(rapl_docs.TABLES)
    assert not curves.exists()
    monkeypatch.setattr(rapl_docs, "read_rows", lambda path: make_fits() + make_policies())
    rapl_docs.main()
    text = page.read_text()
    assert text.count("Not measured yet.") == 1  # The search.
    assert "| avoid | rapl-plus | 0.90 | 0.90 | 0.90 | 0.90 | 0.90 | 1 |" in text
    assert "| keep away | rapl | 0.50 | 0.50 | 0.50 |  | 0.50 | 1 |" in text
    assert "| avoid | rapl-plus | distil | 0.80 (0.80 to 0.80) |" in text
    assert "| spearman | visual-rlhf | 20% | 0.50 |" in text
    assert "spearman: rapl-plus less rapl | 0.40" in text
    assert curves.read_text().startswith("<svg")


def test_rows_of_other_methods_are_not_mixed():
    rows = [row for row in make_fits() if row["method"] in (FAITHFUL.name, RLHF.name)]
    assert "rapl-plus" not in rapl_docs.by_test(rows)
    assert rapl_docs.by_test(rows).count(f"| {FAITHFUL.name} |") == len(rapl_docs.TESTS)
    assert rapl_docs.more_labels(select_few(rows)) == ""


def select_few(rows):
    return [row for row in rows if row["labels"] == FEW]

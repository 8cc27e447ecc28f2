"""Tests for benchmarks/align*.py: the plan, the figures, and one run of the queue."""

import dataclasses
import json
import math
import pickle

import pytest

from benchmarks import align, align_docs
from benchmarks.align_cases import CASES, DEFAULT, PUBLISHED, STAGES, Case, Item, plan
from benchmarks.align_figures import (
    cases_below,
    labels_to_reach,
    preferred,
    select,
    summarise,
    table,
)
from benchmarks.result_lines import append_row, read_rows
from robopref.align.collect import Workers
from robopref.align.run import with_null
from robopref.errors import NothingLearnedError
from robopref.statistics import wilson
from tests.align.conftest import make_tiny


def row(
    method=DEFAULT, *, case=CASES[0], seed=0, labels=20, base=25, tuned=50, flips=0.0, stage="main"
):
    def rates(num):
        shares = {"success": wilson(50, 50), "preferred": wilson(num, 50), "joint": wilson(num, 50)}
        return {name: vars(share) for name, share in shares.items()}

    item = Item(stage, case, seed, labels, flips, method)
    return {
        "key": item.key, "stage": stage, "group": case.group, "case": case.name, "seed": seed,
        "labels": labels, "flips": flips, "method": method.name, "seconds": 10.0,
        "base": rates(base), "aligned": rates(tuned),
    }  # fmt: skip


def test_the_plan_has_what_was_promised():
    items = [item for stage in STAGES for item in plan(stage)]
    assert len({item.key for item in items}) == len(items)
    main = [item for item in items if item.stage == "main"]
    assert len({item.case.task for item in main}) >= 6
    assert len({(item.case.task, str(item.case.behaviour)) for item in main}) >= 12
    for group in {case.group for case in CASES}:
        assert len({case.name for case in CASES if case.group == group}) == 3
    for method, seeds in ((DEFAULT, 5), (PUBLISHED, 5)):
        found = {item.seed for item in main if item.method is method}
        assert len(found) == seeds
    with pytest.raises(ValueError) as error:
        list(plan("extra"))
    assert str(error.value) == (
        "`stage` must be one of ['search', 'screening', 'own', 'main', 'curves'], got 'extra'."
    )


def test_items_cross_to_workers():
    for item in plan("screening"):
        assert pickle.loads(pickle.dumps(item)) == item


def test_labels_to_reach_a_rate():
    rows = [
        row(method, labels=labels, tuned=tuned, stage="curves")
        for method, curve in (
            (DEFAULT, {2: 46, 5: 40, 10: 46, 20: 48, 50: 50}),
            (PUBLISHED, {2: 10, 5: 20, 10: 30, 20: 40, 50: 44}),
        )
        for labels, tuned in curve.items()
    ]
    # A run that has not been finished must not count as one that never gets there.
    rows += [
        row(method, seed=1, labels=2, tuned=10, stage="curves") for method in (DEFAULT, PUBLISHED)
    ]
    found = labels_to_reach(rows, 0.9)
    assert found["labels_to_0.90"]["n"] == 1
    assert found["runs_that_reach_0.90"]["value"] == 1
    assert found["runs_that_reach_0.90_published_dpo"]["value"] == 0
    assert found["labels_to_0.90"]["value"] == 10
    assert found["labels_to_0.90_published_dpo"]["value"] == 100
    assert found["labels_ratio"]["value"] == pytest.approx(0.1)
    assert found["labels_ratio"]["ok"]


def test_a_case_that_became_worse_is_found():
    fine = [row(case=case, seed=seed, base=25, tuned=24) for case in CASES for seed in range(3)]
    assert cases_below(fine, "base", "aligned") == []
    fine = [one for one in fine if one["case"] != CASES[2].name]
    worse = [row(case=CASES[2], seed=seed, base=25, tuned=5 + seed) for seed in range(3)]
    assert cases_below([*fine, *worse], "base", "aligned") == [CASES[2].name]
    at_20 = [row(case=CASES[3], seed=s, labels=20, base=25, tuned=t) for s in range(3) for t in [5]]
    at_5 = [row(case=CASES[3], seed=s, labels=5, base=25, tuned=50) for s in range(3)]
    assert cases_below([*at_5, *at_20], "base", "aligned") == [CASES[3].name]


def test_what_the_guard_would_hide_is_measured():
    items = {item.method.name: item for stage in STAGES for item in plan(stage)}
    published = {name: items[name] for name in items if name.startswith("dpo-as-published")}
    assert len(published) > 5
    for name, item in published.items():
        keeps_worse = align.make_config(item).guard.keep_worse
        assert keeps_worse == (name != "dpo-as-published, best kept")


def test_a_single_bad_seed_is_no_proof():
    rows = [row(seed=seed, base=25, tuned=tuned) for seed, tuned in enumerate((50, 50, 5))]
    assert cases_below(rows, "base", "aligned") == []


def test_flips_are_judged_in_each_group():
    rows = [
        row(case=case, labels=20, flips=flips, tuned=tuned)
        for case, with_flips in ((CASES[0], 50), (CASES[12], 30))
        for flips, tuned in ((0.0, 50), (0.2, with_flips))
    ]
    figures = summarise(rows)["figures"]
    assert figures["joint_lost_with_flips_even"]["ok"]
    assert figures["joint_lost_with_flips_combined"]["value"] == pytest.approx(0.4)
    assert not figures["joint_lost_with_flips_combined"]["ok"]


def test_best_of_n_on_top_must_not_cost_a_case_anything():
    rows = []
    for seed in range(4):
        for case, on_top in ((CASES[0], 50), (CASES[1], 30)):
            one = row(case=case, seed=seed, tuned=45) | {"selection_pays": True}
            rows.append(one | {"aligned-selected": row(tuned=on_top)["aligned"]})
    rows += [one | {"case": "another", "aligned-selected": row(tuned=50)["aligned"]}
             for one in rows for _ in range(3) if one["case"] == CASES[0].name]  # fmt: skip
    figures = summarise(rows)["figures"]
    assert figures["gain_of_best_of_n"]["value"] > 0
    assert not figures["gain_of_best_of_n"]["ok"]
    assert figures["runs_where_best_of_n_is_used"]["value"] == 1


def test_methods_are_ranked_within_a_setting():
    rows = [row(tuned=50), row(PUBLISHED, tuned=30), row(seed=1, tuned=40),
            row(PUBLISHED, seed=1, tuned=40)]  # fmt: skip
    ranks = {line["method"]: line["rank"]["value"] for line in table(rows)}
    assert ranks == {DEFAULT.name: 1.25, PUBLISHED.name: 1.75}


def test_figures_have_floors_and_undefined_rates_count_as_joint_ones():
    rows = [row(labels=5, tuned=48), row(labels=5, seed=1, tuned=47)]
    rows[1]["aligned"]["preferred"] = vars(wilson(0, 0))
    assert math.isnan(preferred(rows[1]))
    figures = summarise(rows)["figures"]
    assert figures["preferred_even_5_labels"]["value"] == pytest.approx(0.95)
    assert figures["preferred_even_5_labels"]["ok"]
    assert figures["preferred_even_5_labels"]["n"] == 2
    assert not any(name.startswith("preferred_rare") for name in figures)


@pytest.mark.slow
def test_a_queue_that_was_cut_off_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(align, "make_config", lambda item: make_tiny(
        seed=item.seed, method=make_tiny().method, behaviour=item.case.behaviour
    ))  # fmt: skip
    item = Item("quick", Case("even", "button-press-topdown-v3", CASES[0].behaviour), 0, 4, 0.0,
                dataclasses.replace(DEFAULT))  # fmt: skip
    with Workers(0) as workers:
        first, again = (
            with_null(align.do_item(item, tmp_path / "runs", workers)) for _ in range(2)
        )
    timed = {"seconds", "total_seconds"}
    assert {k: v for k, v in first.items() if k not in timed} == {
        k: v for k, v in again.items() if k not in timed
    }

    assert first["wrong"] == 0 < first["decided"] <= 4

    def nothing_but_ties(*_):
        raise NothingLearnedError("All 4 answers are ties.")

    monkeypatch.setattr(align, "_labelled", nothing_but_ties)
    with Workers(0) as workers:
        kept = with_null(align.do_item(item, tmp_path / "runs", workers))
    assert kept["aligned"] == kept["selected"] == kept["base"] == first["base"]
    assert kept["nothing_learned"]
    results = tmp_path / "align.jsonl"
    results.write_text(json.dumps(first) + "\n" + json.dumps(first)[:50])
    assert [found["key"] for found in read_rows(results)] == [item.key]
    # It stands there, so nothing is run.
    align.work([item], results, Workers(0), runs=tmp_path / "runs")
    assert len(select(read_rows(results), key=item.key)) == 1


def test_a_line_takes_the_place_of_one_that_was_cut_off(tmp_path):
    results = tmp_path / "rows.jsonl"
    assert read_rows(results) == []
    append_row({"key": "é"}, results)
    with results.open("a") as file:
        file.write('{"key": "cut')
    assert read_rows(results) == [{"key": "é"}]
    append_row({"key": "next"}, results)
    assert read_rows(results) == [{"key": "é"}, {"key": "next"}]
    with pytest.raises(ValueError):
        append_row({"key": float("nan")}, results)
    assert len(read_rows(results)) == 2


def test_the_page_is_filled_and_stays_the_same_when_filled_again(tmp_path, monkeypatch):
    rows = [
        row(method, seed=seed, labels=labels, stage=stage, tuned=25 + labels)
        | {"selected": row()["aligned"], "aligned-selected": row()["aligned"]}
        for method in (DEFAULT, PUBLISHED)
        for seed in range(2)
        for stage, labels in (("main", 5), ("main", 20), ("screening", 20), ("curves", 10))
    ]
    results = tmp_path / "align.jsonl"
    results.write_text("".join(json.dumps(with_null(one)) + "\n" for one in rows))
    page, curves = tmp_path / "alignment.md", tmp_path / "curves.svg"
    page.write_text(align_docs.PAGE.read_text())
    for name, value in (("PAGE", page), ("CURVES", curves), ("RESULTS", results)):
        monkeypatch.setattr(align_docs, name, value)
    align_docs.main()
    text = page.read_text()
    assert "| distil | 20 | 0.90 (0.90 to 0.90) |" in text
    assert "| dpo-as-published | 8 | 0.00 (0.00 to 0.00) | no difference seen |" in text
    assert curves.read_text().startswith("<svg")
    align_docs.main()
    assert page.read_text() == text


def test_the_page_says_what_the_committed_results_say(tmp_path, monkeypatch):
    page, committed = tmp_path / "alignment.md", align_docs.PAGE.read_text()
    page.write_text(committed)
    for name, value in (("PAGE", page), ("CURVES", tmp_path / "curves.svg")):
        monkeypatch.setattr(align_docs, name, value)
    align_docs.main()
    assert page.read_text() == committed, "Run python -m benchmarks.align_docs, and look at it."

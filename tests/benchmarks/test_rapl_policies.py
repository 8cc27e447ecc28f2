"""Tests for benchmarks/rapl_policies.py: what is planned, and what its runs share."""

from dataclasses import replace

import pytest

from benchmarks.rapl_cases import (
    ALIGNMENTS,
    AS_PUBLISHED,
    DIRECT,
    DISTIL,
    FEW,
    MATCHED,
    PLUS,
    POLICY_CASES,
    POLICY_SEEDS,
    RLHF,
    Policy,
    plan_policies,
)
from benchmarks.rapl_policies import _plain, make_config, work_policies
from benchmarks.result_lines import append_row, read_rows
from robopref.align.checks import check_parts_fit
from robopref.workers import Workers


def test_every_alignment_is_planned_once_and_fits_together():
    items = list(plan_policies())
    assert len({item.key for item in items}) == len(items)
    assert len(items) == POLICY_SEEDS * len(POLICY_CASES) * len(ALIGNMENTS)
    # The default, DPO as published and both ways to choose, by the reward that is held to aims.
    of_plus = {item.method.name for item in items if item.reward is PLUS}
    assert of_plus >= {"distil", "dpo-as-published", "dpo, matched", "critic", "simulate"}
    for item in items[: len(POLICY_CASES) * len(ALIGNMENTS)]:
        check_parts_fit(make_config(item))


def test_a_case_and_seed_has_one_base_for_all_and_one_reward_for_all_that_use_it():
    case = POLICY_CASES[0]
    plain = [
        _plain(make_config(Policy(case, 3, FEW, reward, method)))
        for reward, method in (
            (PLUS, DISTIL),
            (PLUS, AS_PUBLISHED),
            (RLHF, MATCHED),
            (PLUS, DIRECT),
        )
    ]
    assert all(config == plain[0] for config in plain)
    assert plain[0].num_labels == 2 * FEW
    assert _plain(make_config(Policy(case, 4, FEW, PLUS, DISTIL))) != plain[0]


def test_dpo_on_answers_differs_from_the_published_in_its_pairs_alone():
    published, direct = (item.changes["method"] for item in (AS_PUBLISHED, DIRECT))
    assert replace(direct, groups=published.groups) == published
    assert direct.groups.source == "answers"
    assert published.groups.source == "reward"
    assert published.safeguard == published.anchor == 0.0


def test_what_is_done_is_not_done_again_and_what_fails_is_named(tmp_path, monkeypatch):
    items = [item for item in plan_policies() if item.seed == 0][:3]
    results = tmp_path / "rapl.jsonl"
    append_row({"key": items[0].key, "aligned": {"joint": {"value": 1.0}}}, results)

    def do(item, workers, runs):
        if item is items[1]:
            raise RuntimeError("no pictures")
        return {"key": item.key, "aligned": {"joint": {"value": 0.5}}}

    monkeypatch.setattr("benchmarks.rapl_policies.do_policy", do)
    with pytest.raises(RuntimeError) as error:
        work_policies(items, results, Workers(0), runs=tmp_path)
    assert str(error.value) == (
        f"1 runs failed, with the errors above; run again to try only these: {items[1].key}."
    )
    assert [row["key"] for row in read_rows(results)] == [items[0].key, items[2].key]

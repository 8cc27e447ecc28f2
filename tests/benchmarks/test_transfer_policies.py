"""Tests for benchmarks/transfer_policies.py and policy_cases.py: the plan, figures, and a job."""

import json

import numpy as np
import pytest

from benchmarks import policy_cases
from benchmarks import transfer_policies as bench
from benchmarks.policy_cases import (
    CANDIDATES,
    CARRIED,
    CONTROLS,
    LABELLED,
    LIMITS,
    TRUE,
    WITH_ACTIONS,
    Job,
    chosen_tasks,
    plan,
)
from benchmarks.transfer_policies import ratio
from robopref.workers import Workers


def screened(task, true, **others):
    """Return a line of the screening; rates are those within each limit."""
    nothing = [0.0] * len(LIMITS)
    success = {TRUE: [true], "zero": [nothing], "negated": [nothing], "cloning": [nothing]}
    success |= {name: [rates] for name, rates in others.items()}
    return {"key": task, "stage": "screening", "task": task, "success": success}


def test_tasks_are_taken_in_which_it_takes_the_right_reward():
    a, b, c, d, e = CANDIDATES[:5]
    rows = [
        screened(e, [0.0, 0.2, 0.9, 1.0]),
        screened(a, [0.0, 0.0, 0.4, 0.4]),
        screened(b, [0.0, 0.5, 0.9, 1.0], zero=[0.0, 0.1, 0.4, 0.6]),
        screened(c, [0.0, 0.5, 0.5, 0.5], cloning=[0.0, 0.25, 0.3, 0.3]),
        screened(d, [0.9, 0.9, 0.9, 0.9], negated=[0.5, 0.5, 0.5, 0.5]),
    ]
    assert list(chosen_tasks(rows).items()) == [(b, 100), (c, 80), (e, 150)]


def test_the_plan_has_what_was_promised():
    rows = [screened(name, [1.0] * len(LIMITS)) for name in CANDIDATES]
    final = list(plan("final", rows))
    assert [job.task for job in final] == list(CANDIDATES)
    for job in final:
        of = {name: [seed for by, seed in job.members if by == name] for name, _ in job.members}
        assert all(len(of[name]) >= 5 for name in (LABELLED, CARRIED))
        assert all(len(of[name]) >= 2 for name in (TRUE, *WITH_ACTIONS, *CONTROLS))
        assert policy_cases.SCREENING_SEED not in {seed for _, seed in job.members}
    jobs = [*plan("updates", []), *plan("screening", []), *final]
    assert len({job.key for job in jobs}) == len(jobs)
    assert max(job.num_updates for job in jobs) <= 50_000


def test_a_ratio_is_that_of_the_means():
    found = ratio([[0.9, 0.9], [0.4, 0.6]], [[1.0, 1.0], [0.5, 0.5]])
    assert found["value"] == pytest.approx(2.8 / 3.0)
    assert found["low"] == pytest.approx((1.8 + 0.8) / 3.0)
    assert found["high"] == pytest.approx((1.8 + 1.2) / 3.0)
    assert found["n"] == 4


@pytest.mark.slow
def test_a_job_trains_and_judges_all_members(tmp_path, monkeypatch):
    for name, value in (
        ("MAX_STEPS", 60), ("NUM_TESTS", 2), ("NUM_SEGMENTS", 12), ("NUM_PAIRS", 30),
    ):  # fmt: skip
        monkeypatch.setattr(bench, name, value)
    seeing = next(iter(WITH_ACTIONS))
    members = ((TRUE, 0), (LABELLED, 0), (seeing, 0), ("cloning", 0))
    row = bench.do_job(Job("screening", "drawer-open-v3", 5, members, num_episodes=4), tmp_path)
    assert row["key"] == "screening|drawer-open-v3|5 updates"
    assert list(row["success"]) == [TRUE, LABELLED, seeing, "cloning"]
    for (rates,) in row["success"].values():
        assert len(rates) == len(LIMITS)
        assert rates == sorted(rates)
    assert [known["by"] for known in row["rewards"]] == [LABELLED, seeing]
    assert {known["label accuracy"] for known in row["rewards"]} == {1.0}
    json.dumps(row, allow_nan=False)


def test_what_has_a_line_is_not_done_again(tmp_path, monkeypatch):
    results = tmp_path / "rows.jsonl"
    monkeypatch.setattr(bench, "RESULTS", results)
    job = Job("updates", "drawer-open-v3", 5, ())
    monkeypatch.setattr(bench, "plan", lambda stage, rows: [job] if stage == "updates" else [])
    results.write_text(json.dumps({"key": job.key}) + "\n")
    bench.work(["updates"], Workers(0))
    assert len(results.read_text().splitlines()) == 1


def test_the_summary_counts_what_ended_within_a_tasks_limit():
    final = {
        "stage": "final", "task": CANDIDATES[0],
        "success": {name: [[0.0, 0.8, 1.0, 1.0]] * 2 for name in (TRUE, LABELLED)}
        | {CARRIED: [[0.0, 0.4, 1.0, 1.0], [0.0, 0.8, 1.0, 1.0]]}
        | {name: [[0.0, 0.0, 1.0, 1.0]] for name in (*WITH_ACTIONS, *CONTROLS)},
    }  # fmt: skip
    late = [0.0, 0.1, 0.9, 1.0]
    found = bench.summarise([final, screened(CANDIDATES[0], [0.0, 0.8, 0.9, 1.0], zero=late)])
    assert found["limits"] == {CANDIDATES[0]: 80}
    figures = found["figures"]
    assert figures["success, zero"]["value"] == 0.0
    assert figures["success, true labels"]["value"] == pytest.approx(0.8)
    figure = figures["success, carried labels over true labels"]
    assert figure["value"] == pytest.approx(0.75)
    assert not figure["ok"]
    assert not figures["tasks"]["ok"]
    assert np.isnan(bench.summarise([])["figures"]["success, zero"]["value"])

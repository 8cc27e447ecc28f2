"""Tests for policies that are steered at run time: align/actors.py and the loop's way there."""

import shutil
from dataclasses import replace
from typing import Any

import pytest

from robopref.align.actors import policy_spec
from robopref.align.collect import Workers
from robopref.align.guard import GuardConfig
from robopref.align.loop import AlignmentLoop
from robopref.policies.finetune.at_run_time import GuideConfig, SelectConfig
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.guidance import GuidedPolicy
from robopref.policies.selection import BestOfN
from robopref.scorers import CombinedScorer, ImplicitScorer
from tests.align.conftest import make_tiny, training

DPO = DPOConfig(trainer=training(10), groups=GroupsConfig("reward", num_groups=20))
METHODS: dict[str, Any] = {
    "best-of-n": SelectConfig(num_candidates=3),
    "implicit": SelectConfig(num_candidates=3, score="implicit", tuning=DPO),
    "combined": SelectConfig(num_candidates=3, score="combined", tuning=DPO),
    "guidance": GuideConfig(),
}


def run(finished, directory, **changes):
    for name in ("demonstrations", "base", "pool", "reward", "preferences.sqlite"):
        (directory / name).symlink_to(finished.directory / name)
    with Workers(0) as workers:
        loop = AlignmentLoop(make_tiny(**changes), directory, workers)
        loop.align()
        loop.evaluate_policy("aligned")
    return loop


@pytest.mark.parametrize(
    "name",
    [
        "best-of-n",
        "guidance",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("implicit", "combined")),
    ],
)
def test_the_aligned_folder_is_steered_and_needs_nothing_else(finished, tmp_path, name):
    (tmp_path / "run").mkdir()
    guard = GuardConfig(num_episodes=2, keep_worse=True)
    loop = run(finished, tmp_path / "run", method=METHODS[name], num_rounds=1, guard=guard)
    moved = tmp_path / "moved"
    shutil.copytree(loop.directory / "aligned", moved)
    shutil.rmtree(loop.directory)
    base, policy = (
        (place / "policy" / "model.safetensors").read_bytes()
        for place in (finished.directory / "base", moved)
    )
    assert policy == base
    acting = policy_spec(moved).load()
    if name == "guidance":
        assert isinstance(acting, GuidedPolicy)
        return
    assert isinstance(acting, BestOfN)
    assert acting.config.num_candidates == 3
    kinds = {"implicit": ImplicitScorer, "combined": CombinedScorer}
    assert isinstance(acting.scorer, kinds.get(name, object))
    assert (moved / "reward").is_dir() == (name != "implicit")
    assert (moved / "tuned").is_dir() == (name != "best-of-n")


def test_best_of_n_acts_as_the_base_choosing_by_the_reward(finished, tmp_path):
    guard = GuardConfig(num_episodes=2, keep_worse=True)
    loop = run(finished, tmp_path, method=SelectConfig(num_candidates=2), guard=guard)
    assert "round-1" not in loop.run.stages
    assert not (tmp_path / "rounds").exists()
    for ours, theirs in zip(loop.store("evaluation/aligned"),
                            finished.store("evaluation/selected"), strict=True):  # fmt: skip
        assert (ours.action == theirs.action).all()


def test_a_steered_policy_that_is_worse_is_not_kept(finished, tmp_path, monkeypatch):
    monkeypatch.setattr("robopref.align.guard.Guard.is_worse", lambda self, figures: True)
    loop = run(finished, tmp_path, method=SelectConfig(num_candidates=2))
    assert loop.run.figures("aligned")["kept_base"]
    assert policy_spec(tmp_path / "aligned").selection is None


def test_a_second_score_beside_its_own_is_refused(finished, tmp_path):
    guard = GuardConfig(num_episodes=2, keep_worse=True)
    run(finished, tmp_path, method=SelectConfig(num_candidates=2), guard=guard)
    with pytest.raises(ValueError, match="is steered by a score of its own"):
        policy_spec(tmp_path / "aligned", finished.directory)
    alone = policy_spec(tmp_path / "aligned" / "policy", finished.directory)
    assert alone.reward == finished.directory / "reward"


def test_the_implicit_score_needs_a_policy_that_was_changed():
    with pytest.raises(ValueError, match="must be a method that changes the policy"):
        replace(METHODS["implicit"], tuning="best-of-n")

"""Tests for align/evaluate.py."""

import dataclasses
import json
import math

import numpy as np

from robopref.align.config import AlignConfig
from robopref.align.evaluate import (
    Evaluation,
    behaviour_of_run,
    evaluate_episodes,
    score_segment,
)
from robopref.align.run import save_figures
from robopref.commands.train_policy import TrainPolicyCommand
from robopref.config import save_yaml
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.envs.behaviours import FastConfig
from robopref.envs.high_return import HighReturnConfig
from robopref.types import STATE


class AboveZero:
    """Measures the mean of the first number of the state."""

    def measure(self, state, action, reward):
        assert len(state) == len(action) == len(reward)
        return float(state[:, 0].mean())

    def shows(self, measure):
        return measure > 0


def episode(i, *, succeeded, shown):
    state = np.full((5, 2), 1.0 if shown else -1.0, np.float32)
    return Episode(
        id=str(i),
        obs={STATE: state},
        action=np.zeros((4, 1), np.float32),
        reward=np.zeros(4, np.float32),
        success=np.array([False, False, False, succeeded]),
        terminated=succeeded,
        truncated=not succeeded,
        env="none/none",
        task="",
        seed=i,
        fps=10.0,
    )


def test_rates_count_what_they_say():
    kinds = [(True, True)] * 12 + [(True, False)] * 4 + [(False, True)] * 3 + [(False, False)]
    rows = [episode(i, succeeded=s, shown=p) for i, (s, p) in enumerate(kinds)]
    found = evaluate_episodes(rows, AboveZero())
    assert (found.success.successes, found.success.num) == (16, 20)
    assert (found.preferred.successes, found.preferred.num) == (12, 16)
    assert (found.joint.successes, found.joint.num) == (12, 20)
    assert found.length_mean == 4
    assert Evaluation.from_dict(found.to_dict()) == found


def test_preferred_rate_is_undefined_below_ten_successes():
    rows = [episode(i, succeeded=i < 9, shown=True) for i in range(20)]
    found = evaluate_episodes(rows, AboveZero())
    assert found.preferred.num == 0
    assert math.isnan(found.preferred.value)
    assert found.joint.successes == 9


def test_without_a_preferred_behaviour_only_success_and_return_are_known(tmp_path):
    rows = [
        dataclasses.replace(
            episode(i, succeeded=i < 12, shown=True), reward=np.full(4, i, np.float32)
        )
        for i in range(20)
    ]
    found = evaluate_episodes(rows, None)
    assert (found.success.successes, found.success.num) == (12, 20)
    assert found.return_mean == 4 * np.mean(range(20))
    assert (found.preferred.num, found.joint.num) == (0, 0)
    assert math.isnan(found.measure_mean)
    save_figures(found.to_dict(), tmp_path / "evaluation.json")
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert str(Evaluation.from_dict(values)) == str(found)


def test_a_run_says_by_its_config_which_behaviour_it_was_about(tmp_path):
    run = tmp_path / "run"
    save_yaml(AlignConfig(behaviour=FastConfig(threshold_m_s=0.5)), run / "config.yaml")
    (run / "aligned" / "policy").mkdir(parents=True)
    for place in (run, run / "aligned", run / "aligned" / "policy"):
        assert behaviour_of_run(place) == FastConfig(threshold_m_s=0.5)
    # What was trained by itself within a run's folder has a config of its own.
    cloned = run / "cloned"
    save_yaml(TrainPolicyCommand(data=tmp_path / "data", out=cloned), cloned / "config.yaml")
    assert behaviour_of_run(cloned) is None
    assert behaviour_of_run(tmp_path / "elsewhere") is None


def test_an_undefined_rate_survives_json(tmp_path):
    found = evaluate_episodes([episode(0, succeeded=True, shown=True)], AboveZero())
    save_figures(found.to_dict(), tmp_path / "evaluation.json")
    values = json.loads((tmp_path / "evaluation.json").read_text())
    assert values["preferred"]["value"] is None
    assert str(Evaluation.from_dict(values)) == str(found)


def test_where_success_is_not_known_every_episode_counts():
    rows = [episode(i, succeeded=False, shown=i < 3) for i in range(4)]
    found = evaluate_episodes(rows, AboveZero(), knows_success=False)
    assert found.success.num == 0
    assert (found.preferred.successes, found.preferred.num) == (3, 4)
    assert (found.joint.successes, found.joint.num) == (3, 4)


def test_a_measure_of_the_whole_gives_one_score_and_a_sum_one_a_step():
    one = dataclasses.replace(
        episode(0, succeeded=True, shown=True), reward=np.arange(4, dtype=np.float32)
    )
    segment = Segment("0", 1, 2)
    assert score_segment(AboveZero(), one, segment).shape == (1,)
    np.testing.assert_array_equal(score_segment(HighReturnConfig(), one, segment), [1.0, 2.0])

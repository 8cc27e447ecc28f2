"""Tests that the loop works beyond Meta-World, and for what does not fit together."""

import re

import numpy as np
import pytest

from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.loop import AlignmentLoop
from robopref.align.report import write_report
from robopref.data.segment import Segment
from robopref.envs.behaviours import FastConfig
from robopref.envs.high_return import HighReturnConfig
from robopref.errors import DataError
from robopref.preferences.teachers import EqualTeacherConfig, MyopicTeacherConfig
from robopref.types import STATE
from tests.align.conftest import make_tiny

ENV = "gymnasium/Pendulum-v1"
STEPS = 40


class Swings:
    """Pushes the pendulum the way it turns; every second episode pushes weakly."""

    def build(self, envs):
        return self

    def begin(self, seeds):
        self.strength = np.array([2.0 if i % 2 else 0.2 for i, _ in enumerate(seeds)])

    def act(self, obs):
        turning = np.array([np.sign(one[STATE][2]) for one in obs])
        return (self.strength * turning)[:, None].astype(np.float32)


@pytest.fixture(scope="module")
def demonstrations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pendulum") / "demonstrations"
    with Workers(0) as workers:
        store = open_or_create(folder, ENV)
        collect(
            Plan(ENV, Swings(), 0, "demonstrations", 8, max_episode_steps=STEPS), store, workers
        )
    return folder


def pendulum(folder, **changes):
    options = {
        "env": ENV,
        "demonstrations": folder,
        "behaviour": HighReturnConfig(threshold=-250.0),
        "teacher": MyopicTeacherConfig(),
        "knows_success": False,
        "use_success": True,
        "max_episode_steps": STEPS,
        "segment_length": 20,
    }
    return make_tiny(**(options | changes))


@pytest.mark.slow
def test_the_loop_runs_from_given_demonstrations_in_any_environment(demonstrations, tmp_path):
    with Workers(0) as workers:
        loop = AlignmentLoop(pendulum(demonstrations), tmp_path / "run", workers)
        evaluations = loop.execute()
    assert loop.run.figures("demonstrations")["episodes"] == 8
    assert loop.run.figures("labels")["labels"] == 4
    for evaluation in evaluations.values():
        assert evaluation.success.num == 0
        assert evaluation.joint.num == evaluation.preferred.num == 4
    text = write_report(loop).read_text()
    assert "8 demonstrations" in text
    assert "the success signal was not used" in text


def test_a_myopic_teacher_weighs_the_end_more(demonstrations, tmp_path):
    with Workers(0) as workers:
        loop = AlignmentLoop(pendulum(demonstrations), tmp_path / "run", workers)
        (tmp_path / "run" / "pool").symlink_to(demonstrations)
        labels = loop.labels()
        labels.ask()
    preferences = labels.preferences()
    assert preferences
    for preference in preferences:
        sums = []
        for item in preference.query.items:
            assert isinstance(item, Segment)
            rewards = labels.pool.episode(item.episode_id).reward[item.start :][: item.length]
            sums.append(rewards @ 0.9 ** np.arange(item.length - 1, -1, -1.0))
        assert preference.ranking.order == ((int(np.argmax(sums)),), (int(np.argmin(sums)),))


def refusal(config, tmp_path, error: type[Exception] = ValueError):
    with Workers(0) as workers, pytest.raises(error) as caught:
        AlignmentLoop(config, tmp_path / "run", workers).execute()
    return str(caught.value)


def test_a_behaviour_of_other_observations_is_refused(demonstrations, tmp_path):
    assert refusal(pendulum(demonstrations, behaviour=FastConfig()), tmp_path) == (
        "The behaviour 'fast' is measured from Meta-World's or robomimic's one-armed observations "
        f"and cannot judge '{ENV}'. 'high-return' judges any environment; a behaviour of your own "
        "is one class (see docs/environments.md)."
    )


def test_demonstrations_are_asked_for_where_nobody_can_show_them(tmp_path):
    assert refusal(pendulum(None), tmp_path) == (
        f"There is no scripted expert for '{ENV}'. "
        "Give a data set of demonstrations with --demonstrations."
    )
    assert refusal(pendulum(None, env="metaworld/reach-v3"), tmp_path) == (
        "The behaviour 'high-return' has no styles for scripted experts. "
        "Give a data set of demonstrations with --demonstrations."
    )


def test_a_discount_needs_scores_of_steps(tmp_path):
    assert refusal(make_tiny(teacher=MyopicTeacherConfig()), tmp_path) == (
        "`teacher.discount` (=0.9) weighs steps, but the behaviour 'detour-right' judges a "
        "segment as a whole. Take a behaviour that scores steps, such as 'high-return', or a "
        "teacher without a discount."
    )


def test_demonstrations_of_another_environment_are_refused(demonstrations, tmp_path):
    config = pendulum(demonstrations, env="gymnasium/InvertedPendulum-v5")
    assert refusal(config, tmp_path, DataError) == (
        f"The demonstrations in '{demonstrations}' have 'observation.state' of shape (3,), but "
        "'gymnasium/InvertedPendulum-v5' has (4,): they are of another environment."
    )


def test_demonstrations_without_success_are_refused_where_success_counts(demonstrations, tmp_path):
    config = pendulum(demonstrations, knows_success=True, teacher=EqualTeacherConfig())
    assert refusal(config, tmp_path, DataError) == (
        f"None of the 8 demonstrations in '{demonstrations}' succeeded, so there is nothing to "
        "imitate. If success was not recorded, add --no-knows-success."
    )


def test_no_demonstrations_are_refused(tmp_path):
    open_or_create(tmp_path / "empty", ENV)
    message = refusal(pendulum(tmp_path / "empty"), tmp_path, DataError)
    assert re.fullmatch(r"'.*empty' holds no episodes, so there is nothing to imitate\.", message)

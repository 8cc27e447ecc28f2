import numpy as np
import pytest

from robopref.deform.outcomes import CachedTrials
from robopref.envs.deformable.env import DeformableConfig
from robopref.envs.deformable.trials import Trials
from tests.deform.conftest import TASK

CONFIG = DeformableConfig(TASK)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "runs" / "outcomes.sqlite"


def equal(one, other):
    return (
        np.array_equal(one.qualities, other.qualities)
        and np.array_equal(one.states, other.states)
        and one.problems == other.problems
    )


def test_what_was_tried_is_found_again_and_not_simulated(path, state, proposed):
    plain = Trials(CONFIG).outcomes(state, proposed)
    trials = CachedTrials(CONFIG, path=path)
    assert equal(trials.outcomes(state, proposed[:2]), trials.outcomes(state, proposed[:2]))
    assert trials.num_tried == 2
    trials = CachedTrials(CONFIG, path=path)
    assert equal(trials.outcomes(state, proposed), plain)
    assert trials.num_tried == 1


def test_another_state_and_another_physics_are_something_else(path, env, state, proposed):
    trials = CachedTrials(CONFIG, path=path)
    first = trials.outcomes(state, proposed[:1])
    env.perform(proposed[0])
    trials.outcomes(env.get_state(), proposed[:1])
    assert trials.num_tried == 2
    slippery = DeformableConfig(TASK, physics="held-out")
    trials = CachedTrials(slippery, path=path)
    assert not equal(trials.outcomes(state, proposed[:1]), first)
    assert trials.num_tried == 1


def test_the_problem_of_what_cannot_be_performed_is_kept(path, state):
    nowhere = np.zeros((1, 6), np.float32)
    trials = CachedTrials(CONFIG, path=path)
    (problem,) = trials.outcomes(state, nowhere).problems
    assert problem.startswith("The points of a primitive must be at least 0.01 m apart")
    assert trials.outcomes(state, nowhere).problems == [problem]
    assert trials.num_tried == 1

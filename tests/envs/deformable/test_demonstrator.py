"""Tests of demonstrations by the geometric rule."""

from typing import Any

import numpy as np
import pytest

from robopref.envs.deformable.demonstrator import demonstrate
from robopref.envs.deformable.env import DeformableConfig
from robopref.errors import RoboprefError


@pytest.fixture(scope="module")
def rope() -> Any:
    env = DeformableConfig("rope-circle-v0").build()
    yield env
    env.close()


def test_a_demonstration_is_a_step_by_the_action_that_it_returns(rope):
    rope.reset(seed=1)
    state = rope.get_state()
    action, info = demonstrate(rope, np.random.default_rng(0), num_checked=3)
    after = rope.get_state()
    assert after.step[0] == 1
    rope.put(state)
    assert rope.perform(action) == info
    np.testing.assert_array_equal(rope.get_state().step, after.step)


def test_the_first_proposal_that_is_no_worse_is_taken_or_else_the_best(rope, monkeypatch):
    rope.reset(seed=1)
    state, now = rope.get_state(), rope.quality()
    good = rope.propose(np.random.default_rng(0), 1)[0]
    pile = np.append(rope.task.material().mean(axis=0)[:2], 0.0)
    bad = np.concatenate([good[:3], pile]).astype(np.float32)  # Away from its place.
    nothing = np.zeros(6, np.float32)
    rope.put(state)
    assert rope.perform(bad)["quality"] < now
    for proposed, wanted in (([bad, good], good), ([bad, nothing], nothing), ([bad], bad)):
        monkeypatch.setattr(rope, "propose", lambda rng, num, some=proposed: np.array(some))
        rope.put(state)
        action, _ = demonstrate(rope, np.random.default_rng(0), num_checked=2)
        np.testing.assert_array_equal(action, wanted)


def test_where_nothing_is_proposed_it_is_said_and_nothing_moves(rope, monkeypatch):
    rope.reset(seed=1)
    state = rope.get_state()
    monkeypatch.setattr(rope, "propose", lambda rng, num: np.zeros((0, 6), np.float32))
    with pytest.raises(RoboprefError) as error:
        demonstrate(rope, np.random.default_rng(0))
    assert str(error.value) == (
        "The geometric rule of deformable/rope-circle-v0 proposes nothing that can be performed "
        "here. Reset the environment."
    )
    np.testing.assert_array_equal(rope.get_state().step, state.step)

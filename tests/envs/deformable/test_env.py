"""Tests of the deformable tasks beyond what every environment has to do."""

from typing import Any

import numpy as np
import pytest

from robopref.envs.deformable.env import DeformableConfig
from robopref.envs.deformable.primitives import sweep
from robopref.envs.deformable.rope import LENGTH_M, NUM_VERTICES, RADIUS_M
from robopref.envs.deformable.simulation import UnstableSimulationError
from robopref.envs.deformable.trials import Trials
from robopref.envs.make import make_env
from robopref.types import NUM_POINTS, POINTS
from robopref.workers import Workers


@pytest.fixture(scope="module")
def rope() -> Any:
    env: Any = make_env("deformable/rope-circle-v0")
    yield env
    env.close()


@pytest.fixture(scope="module")
def granular() -> Any:
    env: Any = make_env("deformable/granular-T-v0")
    yield env
    env.close()


def stretch(vertices):
    """Return the length of each edge of the rope, relative to what it should be."""
    ring = np.linalg.norm(vertices - np.roll(vertices, -1, axis=0), axis=1)
    return ring / (LENGTH_M / NUM_VERTICES)


@pytest.mark.parametrize("name", [pytest.param("rope", marks=pytest.mark.slow), "granular"])
def test_a_primitive_that_moves_something_is_the_same_in_a_fresh_environment(name, request):
    env = request.getfixturevalue(name)
    env.reset(seed=2)
    state, before = env.get_state(), env.task.material()
    action = env.propose(np.random.default_rng(0), 1)[0]
    obs, reward, *_, info = env.step(action)
    assert info["grasped"]
    assert np.abs(env.task.material() - before).max() > 0.03
    assert reward == info["quality"] - env.quality(state)
    fresh: Any = make_env(env.env_id)
    fresh.set_state(state)
    again, reward_again, *_, info_again = fresh.step(action)
    np.testing.assert_array_equal(fresh.get_state().step, env.get_state().step)
    np.testing.assert_array_equal(obs[POINTS], again[POINTS])
    assert (reward, info) == (reward_again, info_again)
    fresh.close()


@pytest.mark.parametrize("name", ["rope", "granular"])
def test_the_cloud_lies_where_the_material_is(name, request):
    env = request.getfixturevalue(name)
    obs, _ = env.reset(seed=1)
    points, material = obs[POINTS], env.task.material()
    away = np.linalg.norm(points[:, None] - material[None], axis=-1).min(axis=1)
    assert np.percentile(away, 95) < 0.02
    back = np.linalg.norm(points[:, None] - material[None], axis=-1).min(axis=0)
    assert np.percentile(back, 90) < 0.02
    assert obs[NUM_POINTS][0] >= 8


@pytest.mark.slow
def test_a_rope_keeps_its_length_and_stays_on_the_table(rope, rng):
    rope.reset(seed=3)
    for _ in range(15):
        pick = rope.task.material()[rng.integers(NUM_VERTICES)]
        action = np.array([*pick, *rng.uniform(-0.3, 0.3, 2), 0.0], np.float32)
        assert rope.perform(action)["grasped"]
        vertices = rope.task.material()
        assert np.percentile(stretch(vertices), 95) <= 1.06
        assert vertices[:, 2].min() > 0  # Less than a radius deep.
        assert np.isfinite(vertices).all()


def test_a_rope_at_rest_stays_at_rest(rope):
    rope.reset(seed=4)
    before = rope.task.material()
    rope.task.sim.settle()
    assert np.abs(rope.task.material() - before).max() < RADIUS_M


def test_a_short_carry_leaves_the_rest_of_the_rope_where_it_is(rope):
    rope.reset(seed=0)
    sim = rope.task.sim
    sim.restore(np.zeros_like(sim.positions))  # A circle.
    before = rope.task.material()
    rope.task.perform(np.stack([before[0], before[0] * [1.1, 1.1, 1.0]]))
    moved = np.linalg.norm(rope.task.material() - before, axis=1)
    assert moved[0] > 0.01
    assert moved[12 : NUM_VERTICES - 12].max() < RADIUS_M


def test_almonds_that_only_spin_on_the_spot_are_not_waited_for(granular):
    granular.reset(seed=3)
    action = granular.propose(np.random.default_rng(0), 1)[0]
    path = sweep(action.reshape(2, 3).astype(float))
    assert granular.perform(action)["seconds"] < path.times_s[-1] + 0.5
    before = granular.task.material()
    granular.task.sim.settle()
    assert np.abs(granular.task.material() - before).max() < 0.002


def test_a_pick_beside_the_rope_moves_nothing(rope):
    rope.reset(seed=0)
    before = rope.get_state().step
    corner = -0.39 * np.sign(rope.task.material().mean(axis=0)[:2])
    *_, info = rope.step(np.array([*corner, 0, 0, 0, 0], np.float32))
    assert not info["grasped"]
    np.testing.assert_array_equal(rope.get_state().step[1:], before[1:])


@pytest.mark.parametrize(("action", "message"), [
    ([0.1, 0.1, 0, 0.1, 0.1, 0],
     "The points of a primitive must be at least 0.01 m apart seen from above, got 0.000 m."),
    ([0.5, 0, 0, 0, 0, 0],
     "The points of a primitive must lie within 0.4 m of the middle along x and y, and 0 to 0.1 m "
     "above the table, got [[0.5, 0.0, 0.0], [0.0, 0.0, 0.0]]."),
])  # fmt: skip
def test_what_no_tool_could_do_is_said(rope, action, message):
    rope.reset(seed=0)
    before = rope.get_state().step
    _, reward, *_, info = rope.step(np.array(action, np.float32))
    assert info["problem"] == message
    assert reward == 0
    np.testing.assert_array_equal(rope.get_state().step[1:], before[1:])


def test_an_unstable_simulation_is_taken_back(rope):
    rope.reset(seed=0)
    state = rope.get_state()
    action = rope.propose(np.random.default_rng(0), 1)[0]
    rope.task.sim.model.opt.gravity[2] = -1e7
    try:
        with pytest.raises(UnstableSimulationError) as error:
            rope.step(action)
    finally:
        rope.task.sim.model.opt.gravity[2] = -9.81
    assert str(error.value).startswith("The simulation went unstable: ")
    assert str(error.value).endswith(" Choose another one.")
    np.testing.assert_array_equal(rope.get_state().step, state.step)


def test_other_physics_end_elsewhere_from_the_same_state(rope):
    rope.reset(seed=0)
    state = rope.get_state()
    action = rope.propose(np.random.default_rng(0), 1)[0]
    other: Any = make_env("deformable/rope-circle-v0", physics="held-out")
    ends = []
    for env in (rope, other):
        env.put(state)
        env.perform(action)
        ends.append(env.task.material())
    assert np.abs(ends[0] - ends[1]).max() > 0.005
    other.close()


@pytest.mark.parametrize("num_workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_trials_foretell_what_a_step_does(rope, num_workers):
    rope.reset(seed=5)
    state = rope.get_state()
    actions = rope.propose(np.random.default_rng(0), 3)
    actions[2] = 0.0
    with Workers(num_workers) as workers:
        outcomes = Trials(DeformableConfig(), workers).outcomes(state, actions)
    assert outcomes.problems[:2] == ["", ""]
    assert "apart" in outcomes.problems[2]
    rope.put(state)
    info = rope.perform(actions[0])
    assert info["quality"] == outcomes.qualities[0]
    np.testing.assert_array_equal(rope.get_state().step, outcomes.states[0])


def test_the_demonstrator_lays_a_circle(rope):
    rope.reset(seed=0)
    info: dict[str, Any] = {"success": False}
    for step in range(20):
        if info["success"]:
            break
        info = rope.perform(rope.propose(np.random.default_rng(step), 1)[0])
    assert info["success"]
    assert info["quality"] >= 0.85

"""Tests of the planar tasks beyond what every environment has to do."""

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from robopref.envs.make import make_env
from robopref.envs.metaworld import MetaWorldConfig
from robopref.envs.planar.env import PlanarConfig
from robopref.envs.planar.tasks import BLOCKS, GOAL_Y_M, HAND, TASKS, ZONE
from robopref.envs.scene import read_scene
from robopref.envs.scripted import scripted_policy
from robopref.errors import ConfigError, UnknownNameError
from robopref.types import STATE


@pytest.fixture(params=sorted(TASKS))
def env(request) -> Any:
    return make_env(f"planar/{request.param}")


def act_expertly(env, seed, num_steps=None):
    """Return observations and states of an episode, or of its first steps."""
    policy = scripted_policy(env, noise=0.1)
    policy.reset(np.random.default_rng(seed))
    obs, _ = env.reset(seed=seed)
    steps, done = [(obs[STATE], env.get_state())], False
    while not done and len(steps) != num_steps:
        obs, _, terminated, truncated, _ = env.step(policy.act(obs))
        steps.append((obs[STATE], env.get_state()))
        done = terminated or truncated
    return steps


def test_gymnasium_accepts_every_task(env):
    check_env(env, skip_render_check=True)


def test_a_state_in_the_midst_of_pushing_continues_bit_for_bit(env, rng):
    """Contacts warm-start the solver and are in no state: they must not outlive an action."""
    state = act_expertly(env, 3, 25)[-1][1]
    others = [make_env(env.env_id) for _ in range(2)]
    act_expertly(others[0], 8, 40)
    for other in others:
        other.set_state(state)
    for _ in range(30):
        action = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
        action[1] = 1.0
        ours, *theirs = (each.step(action) for each in (env, *others))
        for their in theirs:
            np.testing.assert_array_equal(ours[0][STATE], their[0][STATE])
            assert ours[1:] == their[1:]
        for other in others:
            np.testing.assert_array_equal(env.get_state().step, other.get_state().step)
    touched = (
        env.get_state().step[1:].reshape(-1, 6)[-2:, :2] - state.step[1:].reshape(-1, 6)[-2:, :2]
    )
    assert np.abs(touched).max() > 0.05  # Something was pushed meanwhile.


_PUSH = """
import numpy as np
from robopref.envs.planar.hands import HANDS
from robopref.envs.planar.physics import advance, resting
bodies = np.concatenate([resting(HANDS["gripper"], 0.0, -0.9), np.zeros((2, 6))])
bodies[-2:, :3] = [(-0.05, -0.5, 0.3), (0.1, -0.3, 0.1)]
for _ in range(15):
    bodies = advance(HANDS["gripper"], bodies, np.array([0.1, 1.0, 0.05, 1.0]))
print(bodies.tobytes().hex())
"""


def test_a_push_is_the_same_in_every_process():
    """Nothing depends on where objects lie in memory, or on how Python hashes."""
    ended = [
        subprocess.run(
            [sys.executable, "-c", _PUSH], env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True, text=True, check=True,
        ).stdout
        for seed in ("1", "2")
    ]  # fmt: skip
    assert len(ended[0]) > 100
    assert ended[0] == ended[1]


def test_the_observation_is_a_function_of_the_state_alone(env):
    other = make_env(env.env_id)
    for obs, state in act_expertly(env, 1, 30)[::7]:
        np.testing.assert_array_equal(other.set_state(state)[STATE], obs)


def test_the_expert_solves_the_task(env):
    for seed in range(3):
        steps = act_expertly(env, seed)
        assert len(steps) - 1 < env.config.max_episode_steps
        state = steps[-1][0]
        assert min(state[part][1] for part in BLOCKS) >= GOAL_Y_M


def test_reward_is_minus_the_mean_distance_from_the_goal():
    env = make_env("planar/group-short-v0")
    obs, _ = env.reset(seed=0)
    obs, reward, *_ = env.step(np.zeros(3, np.float32))
    below = [GOAL_Y_M - obs[STATE][part][1] for part in BLOCKS]
    assert reward == pytest.approx(-np.mean(below), abs=1e-6)


def test_a_solved_task_ends_unless_told_otherwise():
    for ends in (True, False):
        env: Any = make_env("planar/group-medium-v0", terminate_on_success=ends)
        env.reset(seed=0)
        state = env.get_state()
        state.step[1:].reshape(-1, 6)[-2:, 1] = 0.9
        env.set_state(state)
        _, reward, terminated, _, info = env.step(np.zeros(3, np.float32))
        assert info["success"] is True
        assert terminated is ends
        assert reward == 0.0


def test_things_stay_on_the_table(env, rng):
    env.reset(seed=5)
    push = rng.uniform(-1, 1, env.action_space.shape).astype(np.float32)
    space = env.observation_space[STATE]
    for _ in range(60):
        obs, *_ = env.step(np.sign(push))
        assert space.contains(obs[STATE])
        assert np.abs(obs[STATE][HAND]).max() < 1.1


def test_blocks_slow_down_by_themselves():
    env: Any = make_env("planar/group-short-v0")
    env.reset(seed=0)
    state = env.get_state()
    state.step[1:].reshape(-1, 6)[-1, 3:5] = (0.5, 0.5)
    env.set_state(state)
    for _ in range(10):
        env.step(np.zeros(3, np.float32))
    np.testing.assert_array_equal(env.get_state().step[1:].reshape(-1, 6)[-1, 3:], 0.0)


def test_the_gripper_closes_around_a_block_and_takes_it_along():
    env: Any = make_env("planar/group-gripper-v0")
    env.reset(seed=0)
    state = env.get_state()
    bodies = state.step[1:].reshape(-1, 6)
    bodies[-2] = (bodies[0, 0], bodies[0, 1] + 0.14, 0.0, 0.0, 0.0, 0.0)
    env.set_state(state)
    seen = [
        env.step(np.array([0.0, motion, 0.0, 1.0], np.float32))[0][STATE]
        for motion in [0.0] * 8 + [0.5] * 8 + [-0.5] * 8  # Close, then push, then pull.
    ]
    assert 0.15 < seen[7][4] < 0.35  # The block is between the fingers.
    assert seen[15][BLOCKS[0]][1] > seen[7][BLOCKS[0]][1] + 0.2
    assert seen[23][BLOCKS[0]][1] < seen[15][BLOCKS[0]][1] - 0.2
    assert seen[23][HAND][1] - seen[23][BLOCKS[0]][1] == pytest.approx(-0.14, abs=0.05)


def test_the_region_lies_between_blocks_and_goal_and_leaves_room_on_both_sides():
    for hand in ("short", "medium", "long", "gripper"):
        env: Any = make_env(f"planar/avoid-{hand}-v0")
        for seed in range(20):
            state = env.reset(seed=seed)[0][STATE].astype(float)
            x, y, half_x, half_y = state[ZONE]
            assert y + half_y < GOAL_Y_M
            assert y - half_y > max(state[part][1] for part in BLOCKS) + 0.3
            assert 1.1 - abs(x) - half_x > state[5]


def test_a_scene_of_another_environment_is_refused():
    with pytest.raises(ValueError, match="of 'avoid-medium-v0' have 18 numbers, got 39"):
        PlanarConfig().read_scene(np.zeros((2, 39), np.float32))
    with pytest.raises(ValueError, match="of 'button-press-topdown-v3' have 39 numbers, got 18"):
        MetaWorldConfig().read_scene(np.zeros((2, 18), np.float32))


def test_a_scene_has_the_blocks_and_the_nearest_place_in_the_goal():
    env = make_env("planar/avoid-long-v0")
    state = env.reset(seed=2)[0][STATE]
    scene = read_scene("planar/avoid-long-v0", state[None])
    assert scene.objects.shape == (1, 2, 3)
    np.testing.assert_allclose(scene.goal[0], [state[6], GOAL_Y_M, 0.0], rtol=1e-6)
    np.testing.assert_allclose(scene.hand[0], [*state[HAND], 0.0], rtol=1e-6)


def test_unknown_tasks_and_limits_are_refused():
    with pytest.raises(UnknownNameError) as error:
        make_env("planar/avoid-shrt-v0")
    assert str(error.value) == (
        "No planar task named 'avoid-shrt-v0'. Did you mean 'avoid-short-v0'? Tasks: "
        f"{sorted(TASKS)}."
    )
    with pytest.raises(ConfigError) as limit:
        make_env("planar/avoid-short-v0", max_episode_steps=0)
    assert "`max_episode_steps` must be at least 1, got 0." in str(limit.value)


def test_there_is_one_camera():
    env: Any = make_env("planar/avoid-short-v0")
    env.reset(seed=0)
    state = env.get_state()
    with pytest.raises(ValueError) as error:
        env.render_states(state.step[None], state.episode, camera="side")
    assert str(error.value) == "`camera` must be one of ['top'], got 'side'."

"""Tests for the adapter of any Gymnasium environment."""

import importlib.util
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from robopref.envs.gymnasium import GymnasiumConfig
from robopref.envs.gymnasium_spaces import map_action, map_obs
from robopref.envs.make import make_env
from robopref.errors import MissingExtraError, UnknownNameError
from robopref.types import STATE


@pytest.mark.parametrize(
    "task",
    [
        "CartPole-v1",
        "Pendulum-v1",
        "MountainCarContinuous-v0",
        "InvertedPendulum-v5",
        "Ant-v5",  # Its reward reads positions that are one substep old.
        "Humanoid-v5",
    ],
)
def test_a_state_continues_bit_for_bit_in_a_fresh_environment(task, rng):
    env, fresh = make_env(f"gymnasium/{task}"), make_env(f"gymnasium/{task}")
    low, high = env.action_space.low.clip(-1), env.action_space.high.clip(None, 1)
    env.reset(seed=1)
    for _ in range(4):
        env.step(rng.uniform(low, high) * 0.2)
    state = env.get_state()
    fresh.reset(seed=2)
    fresh.step(rng.uniform(low, high))
    fresh.set_state(state)
    for _ in range(30):
        action = rng.uniform(low, high) * 0.2
        ours, theirs = env.step(action), fresh.step(action)
        np.testing.assert_array_equal(ours[0][STATE], theirs[0][STATE])
        assert ours[1:4] == theirs[1:4]
        if ours[2]:
            break
    np.testing.assert_array_equal(env.get_state().step, fresh.get_state().step)
    env.close()
    fresh.close()


def test_going_back_and_forth_by_replay():
    env = make_env("gymnasium/Pendulum-v1")
    obs, _ = env.reset(seed=3)
    seen, states = [obs[STATE]], [env.get_state()]
    for step in range(6):
        obs, *_ = env.step(np.array([step / 3 - 1]))
        seen.append(obs[STATE])
        states.append(env.get_state())
    for index in (6, 2, 3, 0, 5):
        np.testing.assert_array_equal(env.set_state(states[index])[STATE], seen[index])


def test_the_largest_score_is_the_action_of_a_discrete_space():
    env, own = make_env("gymnasium/CartPole-v1"), gymnasium.make("CartPole-v1")
    obs, _ = env.reset(seed=0)
    theirs, _ = own.reset(seed=0)
    np.testing.assert_array_equal(obs[STATE], theirs)
    for scores, index in (([0.2, 0.9], 1), ([0.5, 0.1], 0)):
        obs, *_ = env.step(np.array(scores))
        np.testing.assert_array_equal(obs[STATE], own.step(index)[0])


def test_an_episode_is_cut_off_at_the_environments_own_limit_or_at_ours():
    own, ours = (
        make_env("gymnasium/Pendulum-v1"),
        make_env("gymnasium/Pendulum-v1", max_episode_steps=3),
    )
    for env, limit in ((own, 200), (ours, 3)):
        env.reset(seed=0)
        ends = [env.step(np.zeros(1))[3] for _ in range(limit)]
        assert ends == [False] * (limit - 1) + [True]


def test_success_is_termination_where_asked_for():
    env = make_env("gymnasium/CartPole-v1", success_from="terminated")
    env.reset(seed=0)
    done = False
    while not done:
        _, _, done, _, info = env.step(np.array([0.0, 1.0]))
        assert info["success"] is done


def test_success_is_read_from_info():
    class Solved(gymnasium.Env):
        metadata = {"render_modes": []}  # noqa: RUF012
        observation_space = spaces.Box(-1, 1, (1,), np.float32)
        action_space = spaces.Box(-1, 1, (1,), np.float32)

        def reset(self, *, seed=None, options=None):
            super().reset(seed=seed)
            return np.zeros(1, np.float32), {}

        def step(self, action):
            return np.zeros(1, np.float32), 0.0, False, False, {"is_success": action[0] > 0}

    gymnasium.register("TestSolved-v0", Solved)  # type: ignore[arg-type]
    try:
        env = make_env("gymnasium/TestSolved-v0")
        env.reset(seed=0)
        assert [env.step(np.array([a]))[4]["success"] for a in (-1.0, 1.0)] == [False, True]
        state = env.get_state()
        with pytest.raises(ValueError) as error:
            env.render_states(state.step[None], state.episode, width=8, height=8, camera="default")
        assert str(error.value) == (
            "'gymnasium/TestSolved-v0' draws no pictures: it has no mode 'rgb_array'."
        )
    finally:
        del gymnasium.registry["TestSolved-v0"]


def test_dictionaries_become_lerobot_keys():
    space = spaces.Dict(
        {
            "pose": spaces.Box(-1.0, 1.0, (2, 2), np.float64),
            "wrist": spaces.Box(0, 255, (4, 5, 3), np.uint8),
            "speed": spaces.Box(-np.inf, np.inf, (1,), np.float64),
        }
    )
    obs_map = map_obs("gymnasium/Some-v0", space)
    obs = obs_map.convert(space.sample())
    assert obs_map.space.contains(obs)
    assert obs[STATE].shape == (5,)
    assert obs["observation.images.wrist"].shape == (4, 5, 3)
    made = obs_map.convert(
        {"pose": np.array([[1, 2], [3, 4]]) / 4, "speed": [7.0], "wrist": np.zeros((4, 5, 3))}
    )
    np.testing.assert_array_equal(made[STATE], np.array([0.25, 0.5, 0.75, 1, 7], np.float32))


def test_boxes_of_actions_are_flattened_and_clipped():
    flat, back = map_action("gymnasium/Some-v0", spaces.Box(-2.0, 2.0, (2, 2), np.float64))
    assert flat.shape == (4,)
    np.testing.assert_array_equal(
        back(np.array([1, -9, 0, 9], np.float32)), [[1.0, -2.0], [0.0, 2.0]]
    )


def test_other_spaces_are_refused():
    with pytest.raises(ValueError) as error:
        map_obs("gymnasium/Some-v0", spaces.Discrete(3))
    assert str(error.value) == (
        "Observations of 'gymnasium/Some-v0' must be a Box or a Dict of Boxes, got Discrete(3). "
        "Wrap the environment so that they are."
    )
    space = spaces.MultiBinary(3)
    with pytest.raises(ValueError) as error:
        map_action("gymnasium/Some-v0", space)
    assert str(error.value) == (
        f"Actions of 'gymnasium/Some-v0' must be a Box or Discrete, got {space}. "
        "Wrap the environment so that they are."
    )


def test_unknown_id_suggests_the_nearest():
    with pytest.raises(UnknownNameError) as error:
        GymnasiumConfig(task="CartPol-v1")
    assert str(error.value) == (
        "No Gymnasium environment named 'CartPol-v1'. Did you mean 'CartPole-v1'? "
        "If a package registers it, write 'gymnasium/<module>:<id>'."
    )


def test_pictures_without_their_package():
    if importlib.util.find_spec("pygame") is not None:
        pytest.skip("pygame is installed")
    env: Any = make_env("gymnasium/CartPole-v1")
    env.reset(seed=0)
    with pytest.raises(MissingExtraError) as error:
        env.render()
    assert str(error.value) == (
        "Pictures of 'gymnasium/CartPole-v1' need a package: pygame is not installed, run "
        '`pip install "gymnasium[classic-control]"`'
    )


def test_a_replayed_state_does_not_depend_on_the_time_limit():
    long, short = (make_env("gymnasium/Pendulum-v1", max_episode_steps=n) for n in (200, 30))
    obs, _ = short.reset(seed=3)
    for _ in range(5):
        obs, *_ = short.step(np.array([0.5], np.float32))
    long.reset(seed=8)
    np.testing.assert_array_equal(long.set_state(short.get_state())[STATE], obs[STATE])

"""Tests for the behaviours, their measures and the styles that act them out."""

import dataclasses
import inspect
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.envs import BEHAVIOURS
from robopref.envs.behaviours import (
    Behaviour,
    DetourLeftConfig,
    DetourRightConfig,
    FastConfig,
    JerkyConfig,
    KeepAwayConfig,
    Styled,
)
from robopref.envs.high_return import HighReturnConfig
from robopref.envs.make import make_env
from robopref.envs.paths import FPS, approach
from robopref.envs.scripted import ScriptedPolicy, scripted_policy
from robopref.envs.styles import PlainStyle, ViaStyle
from robopref.errors import UnknownNameError
from robopref.types import STATE

TASK = "metaworld/button-press-topdown-v3"
OPPOSITES = [
    ("detour-left", "detour-right"),
    ("approach-high", "approach-low"),
    ("fast", "slow"),
    ("smooth", "jerky"),
]


@pytest.fixture(scope="module")
def env():
    return make_env(TASK, max_episode_steps=250)


ELSEWHERE = ("high-return", "keep-out", "together")


@pytest.fixture(params=[name for name in BEHAVIOURS.names() if name not in ELSEWHERE])
def behaviour(request):
    return BEHAVIOURS.config_class(request.param)()


def measure(behaviour, states, actions):
    """Return the measure of a behaviour that rewards do not matter to."""
    return behaviour.measure(states, actions, np.full(len(actions), np.nan, np.float32))


def act_out(env, style, seed, noise=0.05):
    """Return states (T + 1, 39), actions (T, 4), and whether the task was solved."""
    policy = scripted_policy(env, style, np.random.default_rng(seed), noise=noise)
    obs, info = env.reset(seed=seed)
    states, actions, done = [obs[STATE]], [], False
    while not done:
        actions.append(policy.act(obs))
        obs, _, terminated, truncated, info = env.step(actions[-1])
        states.append(obs[STATE])
        done = terminated or truncated
    return np.stack(states), np.stack(actions), info["success"]


def states_along(path):
    """Return states whose hand follows `path` and whose object stays."""
    states = np.zeros((len(path), 39), np.float32)
    states[:, :3] = path
    return states


def test_a_behaviour_has_what_is_needed(behaviour):
    config: Any = behaviour
    assert isinstance(behaviour, Behaviour)
    assert isinstance(behaviour, Styled)
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(config, dataclasses.fields(config)[0].name, 1.0)
    assert behaviour.question.endswith("?")
    assert inspect.getdoc(type(behaviour))
    names = [style.name for style in behaviour.styles()]
    assert len(set(names)) == 2


def test_both_styles_do_the_task_and_only_one_shows_the_behaviour(env, behaviour):
    measures = []
    for style, expected in zip(behaviour.styles(), (True, False), strict=True):
        for seed in range(3):
            states, actions, success = act_out(env, style, seed)
            assert success
            measures.append(measure(behaviour, states, actions))
            assert behaviour.shows(measures[-1]) is expected
            assert np.abs(actions).max() <= 1
    assert min(measures[:3]) > max(measures[3:])


def test_a_segment_can_be_measured(env, behaviour):
    states, actions, _ = act_out(env, None, 0)
    for start, length in ((0, 1), (0, 2), (20, 30), (len(actions) - 5, 5)):
        window = slice(start, start + length)
        assert np.isfinite(measure(behaviour, states[window], actions[window]))


@pytest.mark.parametrize(("one", "other"), OPPOSITES)
def test_opposites_measure_the_same_thing_with_another_sign(env, one, other):
    one, other = BEHAVIOURS.config_class(one)(), BEHAVIOURS.config_class(other)()
    states, actions, _ = act_out(env, one.styles()[0], 0)
    value = measure(one, states, actions)
    assert measure(other, states, actions) == -value
    assert one.shows(value)
    assert not other.shows(-value)


def test_a_style_is_decided_by_the_generator(env, behaviour):
    style = behaviour.styles()[0]
    first, again, another = (act_out(env, style, 0)[1] for _ in range(3))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, another)


def test_each_episode_draws_its_own_detour(env):
    ways = []
    for seed in (1, 2):
        policy = scripted_policy(env, DetourLeftConfig().styles()[0], np.random.default_rng(seed))
        obs, _ = env.reset(seed=0)
        ways.append(policy.act(obs))
    assert not np.array_equal(ways[0], ways[1])


@given(
    sides=st.lists(st.floats(-0.3, 0.3), min_size=2, max_size=20),
    shift=st.floats(-0.1, 0.1),
)
def test_a_mirrored_path_swings_out_as_far_on_the_other_side(sides, shift):
    path = np.zeros((len(sides), 3))
    path[:, 0] = sides
    right, left = DetourRightConfig(), DetourLeftConfig()
    actions = np.zeros((len(sides), 4), np.float32)
    value = measure(right, states_along(path), actions)
    assert measure(right, states_along(-path), actions) == pytest.approx(-value, abs=1e-6)
    assert measure(left, states_along(path), actions) == -value
    assert measure(right, states_along(path + np.array([shift, 0, 0])), actions) == pytest.approx(
        value, abs=1e-6
    )


def test_right_is_minus_x():
    path = np.array([[0.0, 0.4, 0.2], [-0.3, 0.5, 0.2], [0.0, 0.6, 0.2]])
    assert measure(DetourRightConfig(), states_along(path), np.zeros((2, 4))) == pytest.approx(0.1)


def test_speed_is_in_metres_per_second():
    path = np.zeros((11, 3))
    path[:, 1] = np.arange(11) * 0.01
    speed = measure(FastConfig(), states_along(path), np.zeros((10, 4)))
    assert speed == pytest.approx(0.01 * FPS, rel=1e-5)


@given(pace=st.floats(0.2, 5.0))
def test_unevenness_does_not_depend_on_the_scale_of_the_motion(pace):
    path = np.zeros((30, 3))
    path[:, 1] = 0.01 * np.cumsum(np.tile([1.0, 1.0, 0.2], 10))
    jerky, actions = JerkyConfig(), np.zeros((29, 4))
    value = measure(jerky, states_along(path), actions)
    assert measure(jerky, states_along(pace * path), actions) == pytest.approx(value, rel=1e-3)
    straight = np.linspace(path[0], path[-1], 30)
    assert measure(jerky, states_along(straight), actions) < 0.1 < value


def test_the_zone_is_measured_from_its_edge():
    zone = KeepAwayConfig(zone_m=(0.1, 0.6), radius_m=0.05)
    path = np.array([[0.1, 0.4, 0.2], [0.1, 0.5, 0.9]])
    assert measure(zone, states_along(path), np.zeros((1, 4))) == pytest.approx(0.05)
    assert measure(zone, states_along(path + np.array([0, 0.07, 0])), np.zeros((1, 4))) < 0


def test_the_approach_ends_when_the_object_has_moved():
    states = states_along(np.zeros((6, 3)))
    states[0, 4:7] = 9.0  # The first observation may be of before the object was put in place.
    states[1:, 4] = [0.0, 0.02, 0.029, 0.031, 0.0]
    assert len(approach(states)) == 4


def test_configs_are_checked():
    with pytest.raises(ValueError) as error:
        DetourLeftConfig(offset_m=-1.0)
    assert str(error.value) == "`offset_m` must be at least 0.0, got -1.0."
    with pytest.raises(ValueError) as error:
        KeepAwayConfig(radius_m=-0.1)
    assert str(error.value) == "`radius_m` must be at least 0.0, got -0.1."


@pytest.mark.filterwarnings("ignore:Constant.s. may be too high:UserWarning")
def test_the_plain_style_is_the_expert():
    from metaworld.policies import ENV_POLICY_MAP

    env = make_env("metaworld/reach-v3")
    obs, _ = env.reset(seed=0)
    expert = ENV_POLICY_MAP["reach-v3"]()
    policy = scripted_policy(env, PlainStyle())
    assert isinstance(policy, ScriptedPolicy)
    wanted = np.clip(expert.get_action(obs[STATE].astype(np.float64)), -1, 1)
    np.testing.assert_array_equal(policy.act(obs), wanted.astype(np.float32))


def test_a_via_point_is_passed_once(env):
    style = ViaStyle("via", (-0.2, 0.0, 0.0))
    states, _, _ = act_out(env, style, 0, noise=0.0)
    assert states[:, 0].min() < -0.12
    np.testing.assert_array_equal(style.bend(states[0], np.full(4, 0.25)), np.full(4, 0.25))


def test_styles_need_an_expert():
    env = make_env("gymnasium/InvertedPendulum-v5")
    with pytest.raises(UnknownNameError) as error:
        scripted_policy(env, DetourLeftConfig().styles()[0])
    assert str(error.value) == (
        "There is no scripted expert for 'gymnasium/InvertedPendulum-v5' to act in the style "
        "'detour-left'. Styles exist for: ['arm', 'metaworld', 'planar', 'robomimic']."
    )


def test_the_return_is_the_sum_of_recorded_rewards():
    behaviour = HighReturnConfig(threshold=2.0)
    reward = np.array([0.5, 1.0, 1.5], np.float32)
    states, actions = np.zeros((3, 2)), np.zeros((3, 1))
    assert behaviour.measure(states, actions, reward) == 3.0
    assert behaviour.shows(3.0)
    assert not behaviour.shows(2.0)
    assert isinstance(behaviour, Behaviour)
    assert not isinstance(behaviour, Styled)
    np.testing.assert_array_equal(behaviour.score_steps(states, actions, reward), reward)


def test_behaviours_say_which_environments_they_can_judge(behaviour):
    behaviour.check_env("metaworld/reach-v3")
    HighReturnConfig().check_env("gymnasium/Pendulum-v1")
    with pytest.raises(ValueError) as error:
        behaviour.check_env("gymnasium/Pendulum-v1")
    judged = behaviour.criteria()[0] if hasattr(behaviour, "criteria") else behaviour
    assert str(error.value) == (
        f"The behaviour '{BEHAVIOURS.name_of(type(judged))}' is measured from {judged.readable} "
        "observations and cannot judge 'gymnasium/Pendulum-v1'. 'high-return' judges any "
        "environment; a behaviour of your own is one class (see docs/environments.md)."
    )

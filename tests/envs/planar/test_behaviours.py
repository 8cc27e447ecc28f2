"""Tests of what is preferred on the table, and of the ways to do it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.envs import BEHAVIOURS
from robopref.envs.behaviours import Behaviour, ScoresSteps, Styled
from robopref.envs.make import make_env
from robopref.envs.planar.behaviours import KeepOutConfig, TogetherConfig
from robopref.envs.planar.hands import HANDS
from robopref.envs.planar.measures import apart, intrusion
from robopref.envs.planar.styles import QUALITIES, quality_style, styles
from robopref.envs.scripted import scripted_policy
from robopref.types import STATE

KINDS: dict[str, Any] = {"avoid": KeepOutConfig(), "group": TogetherConfig()}


def act_out(env, style, seed, noise=0.05):
    """Return states (T + 1, Do), actions (T, Da) and whether the task was solved."""
    policy = scripted_policy(env, style, noise=noise)
    policy.reset(np.random.default_rng(seed))
    obs, info = env.reset(seed=seed)
    states, actions, done = [obs[STATE]], [], False
    while not done:
        actions.append(policy.act(obs))
        obs, _, terminated, truncated, info = env.step(actions[-1])
        states.append(obs[STATE])
        done = terminated or truncated
    return np.stack(states), np.stack(actions), info["success"]


def measure(behaviour, states, actions):
    """Return the measure of a behaviour that rewards do not matter to."""
    return behaviour.measure(states, actions, np.full(len(actions), np.nan, np.float32))


def table(
    num=1, *, hand=(0.0, -0.9), angle=np.pi / 2, blocks=((-0.4, -0.5), (0.4, -0.5)), width=0.28
):
    """Return `num` equal observations of "avoid", the region in the middle of the table."""
    row = [*hand, np.cos(angle), np.sin(angle), 1.0, width]
    for block in blocks:
        row += [*block, 1.0, 0.0]
    return np.tile(np.array([*row, 0.0, 0.25, 0.25, 0.17], np.float32), (num, 1))


@pytest.mark.parametrize("hand", HANDS)
@pytest.mark.parametrize("kind", KINDS)
def test_both_styles_do_the_task_and_only_one_shows_the_behaviour(kind, hand):
    behaviour = KINDS[kind]
    env = make_env(f"planar/{kind}-{hand}-v0")
    for style, expected in zip(behaviour.styles(), (True, False), strict=True):
        states, actions, success = act_out(env, style, 100)
        assert success
        assert behaviour.shows(measure(behaviour, states, actions)) is expected


@pytest.mark.parametrize("kind", KINDS)
def test_a_behaviour_has_what_is_needed(kind):
    behaviour = KINDS[kind]
    assert isinstance(behaviour, Behaviour)
    assert isinstance(behaviour, Styled)
    assert isinstance(behaviour, ScoresSteps)
    assert behaviour.question.endswith("?")
    behaviour.check_env(f"planar/{kind}-long-v0")


@pytest.mark.parametrize(("kind", "name", "other"), [
    ("avoid", "keep-out", "planar/group-short-v0"), ("group", "together", "metaworld/reach-v3"),
])  # fmt: skip
def test_other_environments_are_refused(kind, name, other):
    with pytest.raises(ValueError) as error:
        BEHAVIOURS.config_class(name)().check_env(other)
    assert str(error.value) == (
        f"The behaviour '{name}' is measured from planar tasks' (planar/{kind}-...) observations "
        f"and cannot judge '{other}'. 'high-return' judges any environment; a behaviour of your "
        "own is one class (see docs/environments.md)."
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_measure_is_the_sum_over_steps_with_and_without_the_last_observation(kind):
    behaviour = KINDS[kind]
    states, actions, _ = act_out(make_env(f"planar/{kind}-short-v0"), behaviour.styles()[1], 0)
    whole = behaviour.score_steps(states, actions, actions[:, 0])
    part = behaviour.score_steps(states[:-1], actions, actions[:, 0])
    assert whole.shape == part.shape == (len(actions),)
    assert measure(behaviour, states, actions) == pytest.approx(whole.sum())
    np.testing.assert_allclose(whole[:-1], part[1:], atol=1e-12)
    for start, length in ((0, 1), (20, 30), (len(actions) - 5, 5)):
        window = slice(start, start + length)
        assert np.isfinite(measure(behaviour, states[window], actions[window]))


@pytest.mark.parametrize(("place", "depth"), [
    ((0.0, 0.25), 0.17), ((0.0, 0.4), 0.02), ((0.0, 0.43), 0.0), ((0.5, 0.25), 0.0),
    ((0.27, 0.25), 0.02),  # Its back, 4 cm behind its middle, is 2 cm inside.
])  # fmt: skip
def test_intrusion_is_how_deep_the_deepest_point_is(place, depth):
    """The hand is narrow here and points along +x."""
    state = table(hand=place, angle=0.0, width=0.0)
    assert intrusion(state)[0] == pytest.approx(depth, abs=1e-6)


def test_a_wide_hand_reaches_in_where_a_narrow_one_does_not():
    beside = (-0.5, 0.25)
    assert intrusion(table(hand=beside, width=0.28))[0] == 0.0
    assert intrusion(table(hand=beside, width=0.56))[0] == pytest.approx(0.03, abs=1e-6)


def test_the_tips_of_fingers_count():
    below = (0.1, -0.08)
    gripper = HANDS["gripper"].width_m
    assert intrusion(table(hand=below, width=0.56))[0] == 0.0
    assert intrusion(table(hand=below, width=gripper))[0] == pytest.approx(0.04, abs=1e-6)


def test_a_corner_of_a_block_counts():
    state = table(blocks=((-0.36, 0.25), (0.9, 0.9)))
    assert intrusion(state)[0] == 0.0
    state[:, 8:10] = (-1.0, 0.0)  # Turned by 45 degrees, a corner sticks out 0.127 m.
    assert intrusion(state)[0] == pytest.approx(0.09 * np.sqrt(2) - 0.11, abs=1e-6)


@given(st.integers(1, 30), st.floats(-0.5, 0.7), st.floats(-0.5, 0.7))
def test_whoever_keeps_out_is_better_than_whoever_does_not(num_inside, y_good, y_bad):
    """Whatever the progress of either."""
    behaviour, actions = KeepOutConfig(), np.zeros((40, 3), np.float32)
    good, bad = table(41), table(41)
    good[1:, 7] = good[1:, 11] = y_good if abs(y_good - 0.25) > 0.3 else -0.3
    bad[1:, 7] = bad[1:, 11] = y_bad
    bad[5 : 5 + num_inside, :2] = (0.0, 0.25)
    assert measure(behaviour, good, actions) > measure(behaviour, bad, actions)
    assert behaviour.shows(measure(behaviour, good, actions))
    assert not behaviour.shows(measure(behaviour, bad, actions))


def test_staying_inside_longer_is_worse_and_progress_is_better():
    behaviour, actions = KeepOutConfig(), np.zeros((40, 3), np.float32)
    measures = []
    for num_inside in (1, 2, 10):
        states = table(41)
        states[5 : 5 + num_inside, :2] = (0.0, 0.25)
        measures.append(measure(behaviour, states, actions))
    np.testing.assert_allclose(measures, [-1.1, -1.2, -2.0])
    states = table(41)
    states[20:, 7] += 0.4
    assert measure(behaviour, states, actions) == pytest.approx(0.25 * 0.2)


def test_going_apart_costs_and_going_together_does_not():
    behaviour, actions = TogetherConfig(), np.zeros((20, 3), np.float32)
    for gap, expected in ((0.2, 0.25 * 1.2), (0.8, 0.25 * 1.2 - 1.2 * (0.8 - 0.27))):
        states = table(21, blocks=((-gap / 2, -0.5), (gap / 2, -0.5)))
        states[:, [7, 11]] = np.linspace(-0.5, 0.7, 21)[:, None]
        assert measure(behaviour, states, actions) == pytest.approx(expected, abs=1e-5)
    assert apart(table(blocks=((0.0, 0.0), (0.2, 0.1))))[0] == 0.0


@pytest.mark.parametrize("kind", KINDS)
def test_states_near_the_end_of_a_good_episode_are_better_than_those_of_its_start(kind):
    behaviour = KINDS[kind]
    states, _, success = act_out(make_env(f"planar/{kind}-medium-v0"), behaviour.styles()[0], 0)
    scores = behaviour.score_states(states)
    assert success
    assert scores.shape == (len(states),)
    assert scores[-1] == scores.max() > scores[0] + 0.8
    ranks = scores.argsort().argsort()
    assert np.corrcoef(ranks, np.arange(len(ranks)))[0, 1] > 0.8


def test_a_state_inside_is_worse():
    behaviour = KeepOutConfig()
    inside, outside = table(hand=(0.0, 0.25)), table(hand=(0.0, -0.25))
    assert behaviour.score_states(inside)[0] < behaviour.score_states(outside)[0] - 0.5


def test_the_measure_is_the_same_in_the_mirror():
    state = table(hand=(-0.2, 0.1), angle=1.2, blocks=((-0.3, 0.2), (0.5, -0.4)))
    state[:, 8:10] = (np.cos(0.8), np.sin(0.8))
    mirrored = state.copy()
    mirrored[:, [0, 2, 6, 10, 14]] *= -1
    mirrored[:, [9, 13]] *= -1
    np.testing.assert_allclose(intrusion(mirrored), intrusion(state), atol=1e-6)
    np.testing.assert_allclose(apart(mirrored), apart(state))


def test_qualities_are_worse_one_by_one():
    """On average; of the ways that do not solve the task, less skill makes less progress."""
    env = make_env("planar/avoid-medium-v0", max_episode_steps=150)
    behaviour = KeepOutConfig()
    means = {}
    for quality in ("expert", "half-way", "other-way"):
        episodes = [act_out(env, quality_style("avoid", quality), seed) for seed in range(2)]
        means[quality] = np.mean([measure(behaviour, states, a) for states, a, _ in episodes])
        assert all(success for *_, success in episodes)
    assert means["expert"] > means["half-way"] + 0.5 > means["other-way"] + 0.5
    for quality in ("partial", "clumsy", "random"):
        assert not act_out(env, quality_style("avoid", quality), 0)[2]


@pytest.mark.parametrize("quality", QUALITIES)
def test_a_quality_is_decided_by_the_generator(quality):
    env = make_env("planar/group-gripper-v0", max_episode_steps=15)
    first, again = (act_out(env, quality_style("group", quality), 0)[1] for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, act_out(env, quality_style("group", quality), 1)[1])


def test_unknown_qualities_are_refused():
    with pytest.raises(ValueError) as error:
        quality_style("avoid", "expret")
    assert str(error.value) == (
        f"`quality` must be one of {sorted(QUALITIES)}, got 'expret'. Did you mean 'expert'?"
    )
    assert [style.name for style in styles("group")] == ["together", "one by one"]

"""Tests for the scripted experts of robomimic's tasks."""

import numpy as np
import pytest

pytest.importorskip("robomimic", reason="The extra 'robomimic' is not installed.")
pytest.importorskip("robosuite", reason="The extra 'robomimic' is not installed.")

from robopref.envs.behaviours import ApproachHighConfig, FastConfig, KeepAwayConfig
from robopref.envs.direct import DirectConfig
from robopref.envs.make import make_env
from robopref.envs.paths import approach
from robopref.envs.robomimic_experts import JOBS, PickUpExpert
from robopref.envs.scripted import RandomPolicy, has_expert, scripted_policy
from robopref.envs.styles import PaceStyle
from robopref.types import STATE


@pytest.fixture(scope="module")
def envs():
    made = {}

    def find(task):
        if task not in made:
            made[task] = make_env(f"robomimic/{task}", max_episode_steps=300)
        return made[task]

    yield find
    for env in made.values():
        env.close()


def act_out(env, seed, *, noise=0.0, style=None):
    """Return success, and the number of steps."""
    policy = scripted_policy(env, style, noise=noise)
    policy.reset(np.random.default_rng(seed))
    obs, _ = env.reset(seed=seed)
    for step in range(1, 301):
        obs, _, terminated, truncated, info = env.step(policy.act(obs))
        if terminated or truncated:
            return info["success"], step
    raise AssertionError


@pytest.mark.slow
@pytest.mark.parametrize(("noise", "wanted"), [(0.0, 0.9), (0.3, 0.9)])
def test_lift_succeeds_from_twenty_starts(envs, noise, wanted):
    ends = [act_out(envs("lift"), seed, noise=noise) for seed in range(20)]
    assert np.mean([success for success, _ in ends]) >= wanted
    assert np.mean([steps for _, steps in ends]) < 40


@pytest.mark.slow
@pytest.mark.parametrize("task", ["can", "square"])
@pytest.mark.parametrize(("noise", "wanted"), [(0.0, 0.9), (0.3, 0.8)])
def test_can_and_square_succeed_from_twenty_starts(envs, task, noise, wanted):
    ends = [act_out(envs(task), seed, noise=noise) for seed in range(20)]
    assert np.mean([success for success, _ in ends]) >= wanted


@pytest.mark.parametrize("task", ["can", "square"])
def test_a_can_goes_into_its_bin_and_a_nut_on_its_peg(envs, task):
    assert act_out(envs(task), 0)[0]


def test_a_style_slows_the_expert_down(envs):
    success, steps = act_out(envs("lift"), 0, style=PaceStyle("slow", limit=0.35))
    assert success
    assert steps > 1.4 * act_out(envs("lift"), 0)[1]


@pytest.mark.parametrize(
    ("behaviour", "task"),
    [
        (FastConfig(threshold_m_s=0.16), "lift"),
        (ApproachHighConfig(threshold_m=0.18), "lift"),
        (KeepAwayConfig(zone_m=(0.0, -0.15), radius_m=0.05, offset_m=0.12), "lift"),
        pytest.param(ApproachHighConfig(threshold_m=0.19), "can", marks=pytest.mark.slow),
    ],
)
def test_behaviours_of_an_arm_show_here_too(envs, behaviour, task):
    env = envs(task)
    behaviour.check_env(env.env_id)
    for style, shown in zip(behaviour.styles(), (True, False), strict=True):
        policy = scripted_policy(env, style, noise=0.1)
        policy.reset(np.random.default_rng(0))
        obs, info = env.reset(seed=0)
        states, actions, done = [], [], False
        while not done:
            states.append(obs[STATE])
            actions.append(policy.act(obs))
            obs, _, terminated, truncated, info = env.step(actions[-1])
            done = terminated or truncated
        measure = behaviour.measure(np.stack(states), np.stack(actions), np.zeros(len(actions)))
        assert info["success"]
        assert behaviour.shows(measure) is shown


def test_behaviours_of_meta_world_say_that_they_cannot_judge_here():
    for behaviour, env_id in (
        (DirectConfig(), "robomimic/lift"),
        (FastConfig(), "robomimic/stack"),
    ):
        with pytest.raises(ValueError) as error:
            behaviour.check_env(env_id)
        assert f"cannot judge '{env_id}'" in str(error.value)


def test_an_object_that_falls_after_the_reset_has_not_been_moved():
    states = np.zeros((6, 23), np.float32)
    states[:, 11] = [0.89, 0.87, 0.83, 0.83, 0.86, 0.95]
    assert len(approach(states)) == 5


def test_states_of_another_size_cannot_be_measured():
    with pytest.raises(ValueError) as error:
        FastConfig().measure(np.zeros((2, 49)), np.zeros((2, 7)), np.zeros(2))
    assert str(error.value) == (
        "States must have one of the sizes [19, 23, 39] for hand and object to be found in them, "
        "got 49."
    )


def test_the_expert_acts_from_the_observation_alone(envs):
    env = envs("lift")
    expert, obs = PickUpExpert("lift"), env.reset(seed=0)[0]
    first = expert.get_action(obs[STATE])
    for _ in range(5):
        expert.get_action(env.step(env.action_space.sample())[0][STATE])
    np.testing.assert_array_equal(expert.get_action(obs[STATE]), first)
    assert isinstance(scripted_policy(env), type(scripted_policy(env, PaceStyle("slow"))))


def test_tasks_without_an_expert_get_random_actions():
    assert [has_expert(f"robomimic/{task}") for task in (*JOBS, "stack")] == [True] * 3 + [False]
    env = make_env("robomimic/stack")
    assert isinstance(scripted_policy(env), RandomPolicy)
    env.close()

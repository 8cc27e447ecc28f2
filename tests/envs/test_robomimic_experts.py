"""Tests for the scripted experts of robomimic's tasks."""

import numpy as np
import pytest

pytest.importorskip("robomimic", reason="The extra 'robomimic' is not installed.")
pytest.importorskip("robosuite", reason="The extra 'robomimic' is not installed.")

from robopref.envs.make import make_env
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

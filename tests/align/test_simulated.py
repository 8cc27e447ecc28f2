"""Tests for align/simulated.py: candidates are tried in copies, and the best outcome is chosen."""

import numpy as np
import pytest

from robopref.align.collect import Plan, record_group
from robopref.align.simulated import SimulatedSpec
from robopref.policies.serialization import load_policy
from robopref.seeding import make_generator
from robopref.types import STATE
from tests.align.conftest import make_tiny


class LikesX:
    """A reward that likes how far the hand is to the world's x, at every step."""

    def segment_return(self, segments):
        return (segments.obs[STATE][..., 0] * segments.mask).sum(1) / segments.lengths


@pytest.fixture
def spec(finished):
    return SimulatedSpec(
        finished.directory / "base" / "policy", finished.directory / "reward",
        make_tiny(max_episode_steps=40), num_candidates=4,
    )  # fmt: skip


@pytest.fixture
def plan(spec):
    return Plan(spec.config.env, spec, 0, "test", 2, group_size=2, max_episode_steps=40)


def liking_x(spec, monkeypatch):
    """Have the actor judge by `LikesX`."""
    monkeypatch.setattr(
        "robopref.rewards.serialization.load_reward", lambda directory: LikesX(), raising=True
    )
    return spec


def test_what_is_tried_happens_and_disturbs_nothing(spec, plan, make_env_of):
    env = make_env_of(plan)
    obs, _ = env.reset(seed=3)
    for _ in range(5):
        obs, *_ = env.step(env.action_space.sample())
    actor = spec.build([env])
    before = env.get_state()
    history = {STATE: np.stack([obs[STATE]] * 2)[None]}
    tried = actor._trial.run(before, history, 4, make_generator(0))
    assert np.array_equal(env.get_state().step, before.step)
    assert [len(way) for way in tried.actions] == [len(way) for way in tried.states]
    steps = load_policy(spec.policy).n_action_steps
    for i in (3, 0):
        env.set_state(before)
        low, high = env.action_space.low, env.action_space.high
        for action in tried.chunks[i][:steps]:
            env.step(action.clip(low, high))
        assert np.array_equal(env.get_state().step, tried.states[i][steps].step)
    assert not np.array_equal(tried.chunks[0], tried.chunks[1])


def test_the_best_outcome_is_chosen(spec, plan, monkeypatch):
    alone = Plan(plan.env, spec_alone(spec), 0, "test", 2, group_size=2, max_episode_steps=40)
    likes = [e.state[:-1, 0].mean() for e in record_group(alone.groups()[0])]
    liking_x(spec, monkeypatch)
    episodes = record_group(plan.groups()[0])
    chosen = [e.state[:-1, 0].mean() for e in episodes]
    assert [e.seed for e in episodes] == list(alone.groups()[0].seeds)
    assert (np.array(chosen) > np.array(likes)).all()


def spec_alone(spec):
    from robopref.align.actors import PolicySpec

    return PolicySpec(spec.policy)


def test_an_episode_that_is_over_is_left_alone(spec, make_env_of, plan):
    envs = [make_env_of(plan), make_env_of(plan)]
    obs = [env.reset(seed=seed)[0] for seed, env in enumerate(envs)]
    actor = spec.build(envs)
    actor.begin([0, 1])
    action = np.zeros((2, 4))
    for _ in range(9):
        action = actor.act(obs)
        obs[0], *_ = envs[0].step(action[0])  # The other one stays.
    assert actor._goes_on == [True, False]
    assert len(actor._ways[0].actions) == 9
    assert len(actor._ways[1].actions) == 1
    assert (action[1] == 0).all()


def test_fewer_than_one_candidate_is_refused(spec):
    with pytest.raises(ValueError) as error:
        SimulatedSpec(spec.policy, spec.reward, spec.config, 0)
    assert str(error.value) == "`num_candidates` must be at least 1, got 0."


@pytest.fixture
def make_env_of():
    from robopref.envs.make import make_env

    made = []

    def make(plan):
        made.append(make_env(plan.env, max_episode_steps=plan.max_episode_steps))
        return made[-1]

    yield make
    for env in made:
        env.close()

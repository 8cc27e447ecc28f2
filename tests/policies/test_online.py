import dataclasses
from functools import partial

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from robopref.config import from_dict, to_dict
from robopref.errors import CheckpointError
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.denoising_mdp import (
    DenoisingConfig,
    DenoisingSteps,
)
from robopref.policies.finetune.experience import Collector
from robopref.policies.finetune.online import PPOConfig
from robopref.policies.finetune.ppo import PPOLossConfig
from robopref.policies.serialization import load_policy
from robopref.types import STATE


class ToyEnv(gymnasium.Env):
    """Pays for a second action that follows the state, whatever the first one does."""

    observation_space = Dict({STATE: Box(-1, 1, (3,))})
    action_space = Box(-1, 1, (2,))

    def __init__(self, num_steps=8, *, ends=False):
        self.num_steps = num_steps
        self.ends = ends

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count = 0
        return self.observe(), {}

    def observe(self):
        self.state = self.np_random.uniform(-1, 1, 3).astype(np.float32)
        return {STATE: self.state}

    def step(self, action):
        assert self.action_space.contains(action)
        follows = abs(action[1] - 0.5 * self.state[0]) < 0.2
        self.count += 1
        over = self.count >= self.num_steps
        return self.observe(), float(follows), over and self.ends, over and not self.ends, {}


class VectorObs(gymnasium.ObservationWrapper):
    """Gives the state alone, in double precision."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = Box(-1, 1, (3,), np.float64)

    def observation(self, observation):
        return observation[STATE].astype(np.float64)


def make_envs(num=32):
    return SyncVectorEnv([ToyEnv] * num)


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def run(config, policy, scorer, num_envs=32, **options):
    return config.run(
        policy, FinetuneData(scorer=scorer), generator=seeded(),
        make_vector_env=lambda: make_envs(num_envs), **options,
    )  # fmt: skip


def weights(policy):
    return {key: value.clone() for key, value in policy.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def follows(policy, obs):
    """Return how far the second action is from half of state 0, on average."""
    chunks = policy.sample(obs, 40, seeded(5))
    return float((chunks[:, :, 0, 1] - 0.5 * obs[STATE][:, -1:, 0]).abs().mean())


LEARNING = PPOConfig(DenoisingConfig(tuned_steps=10), num_iterations=30, learning_rate=1e-3)
SHORT = dataclasses.replace(LEARNING, num_iterations=4, max_decisions=2)


@pytest.mark.slow
@pytest.mark.parametrize("advantage", ["gae", "group"])
def test_what_the_reward_likes_becomes_common_and_the_task_is_still_done(
    advantage, toy_policy, toy_scorer, share_right, toy_obs
):
    before = weights(toy_policy)
    config = dataclasses.replace(LEARNING, loss=PPOLossConfig(advantage))
    tuned, result = run(config, toy_policy, toy_scorer)
    assert share_right(toy_policy) == pytest.approx(0.5, abs=0.1)
    assert share_right(tuned) > 0.8
    assert follows(tuned, toy_obs) < 0.1
    assert result.figures["reward"] > 0.5
    assert result.steps == 30
    assert same(weights(toy_policy), before)
    assert torch.equal(tuned.action_normalizer.scale, toy_policy.action_normalizer.scale)


@pytest.mark.slow
def test_the_leash_keeps_the_policy_where_it_was(toy_policy, toy_scorer, share_right):
    config = dataclasses.replace(
        LEARNING, num_iterations=8, loss=PPOLossConfig("group", kl_weight=100.0)
    )
    held, result = run(config, toy_policy, toy_scorer)
    free, loose = run(
        dataclasses.replace(config, loss=PPOLossConfig("group", kl_weight=0.0)),
        toy_policy, toy_scorer,
    )  # fmt: skip
    assert result.figures["kl"] < 0.1 * loose.figures["kl"]
    assert (
        abs(share_right(held) - share_right(toy_policy))
        < 0.05
        < (share_right(free) - share_right(toy_policy))
    )


@pytest.mark.parametrize("window", [None, 3])
def test_equal_generators_give_equal_policies(window, toy_policy, toy_scorer):
    denoising = DenoisingConfig(tuned_steps=8, window=window, window_interval=1)
    config = dataclasses.replace(SHORT, denoising=denoising)
    first, second = (run(config, toy_policy, toy_scorer, 4)[0] for _ in range(2))
    assert same(weights(first), weights(second))
    assert not same(weights(first), weights(toy_policy))


def test_an_interrupted_run_ends_the_same(toy_policy, toy_scorer, tmp_path):
    config = dataclasses.replace(SHORT, validation_interval=1, checkpoint_interval=1)
    calls = []

    def validate(policy):
        calls.append(policy)
        if len(calls) == 7:
            raise RuntimeError("cut off")
        return {"loss": -len(calls)}

    whole, _ = run(
        config, toy_policy, toy_scorer, 4, directory=tmp_path / "whole", validate=validate
    )
    with pytest.raises(RuntimeError, match="cut off"):
        run(config, toy_policy, toy_scorer, 4, directory=tmp_path / "cut", validate=validate)
    resumed, result = run(
        config, toy_policy, toy_scorer, 4, directory=tmp_path / "cut", validate=validate
    )
    assert len(calls) == 4 + 3 + 2
    assert result.steps == 4
    assert same(weights(resumed), weights(whole))
    assert same(weights(load_policy(tmp_path / "cut" / "policy")), weights(whole))
    with pytest.raises(CheckpointError, match="other training settings"):
        run(dataclasses.replace(config, num_epochs=1), toy_policy, toy_scorer, 4,
            directory=tmp_path / "cut")  # fmt: skip


def test_the_policy_of_the_lowest_validation_loss_is_kept(toy_policy, toy_scorer):
    config = dataclasses.replace(SHORT, validation_interval=1)
    seen, losses = [], iter([2.0, 1.0, 3.0, 1.5])

    def validate(policy):
        assert not policy.training
        seen.append(weights(policy))
        return {"loss": next(losses)}

    tuned, result = run(config, toy_policy, toy_scorer, 4, validate=validate)
    assert result.best_step == 2
    assert same(weights(tuned), seen[1])
    assert result.figures["validation/loss"] == 1.5


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_episodes_from_one_seed_are_equal_and_stop_where_they_end(toy_policy, toy_scorer, mode):
    lengths = (3, 3, 8, 20)
    envs = SyncVectorEnv([partial(ToyEnv, n, ends=n == 8) for n in lengths], autoreset_mode=mode)
    collector = Collector(envs, toy_scorer, pessimism=0.5, max_decisions=5)
    steps = DenoisingSteps(toy_policy, DenoisingConfig())
    found = collector.collect(
        toy_policy, steps, range(2, 10), seeds=[7, 7, 8, 8], generator=seeded()
    )
    # A decision takes two steps.
    assert found.acted.sum(0).tolist() == [2, 2, 4, 5]
    assert found.terminated.tolist() == [False, False, True, False]
    assert torch.equal(found.obs[STATE][:2, 0], found.obs[STATE][:2, 1])
    assert torch.equal(found.obs[STATE][0, 2], found.obs[STATE][0, 3])
    assert (found.own_return <= torch.tensor([3, 3, 8, 10])).all()
    # The last observation is the episode's own, and not the first of the next one.
    third = np.random.default_rng(7).uniform(-1, 1, (4, 3))[3]
    assert found.last_obs[STATE][0, -1].numpy() == pytest.approx(third, abs=1e-6)


def test_the_reward_is_the_score_of_the_chunk_less_the_doubt(toy_policy, toy_scorer):
    envs = make_envs(6)
    collector = Collector(envs, toy_scorer, pessimism=2.0, max_decisions=3)
    steps = DenoisingSteps(toy_policy, DenoisingConfig())
    found = collector.collect(toy_policy, steps, range(2, 10), seeds=range(6), generator=seeded())
    chunks = toy_policy.action_normalizer.inverse(found.after[:, :, -1].clamp(-1, 1))
    flat = chunks.flatten(0, 1)[:, None]
    expected = toy_scorer.score(None, flat) - 2 * toy_scorer.uncertainty(None, flat)
    torch.testing.assert_close(found.reward.flatten(), expected[:, 0])


def test_a_vector_is_taken_as_the_state(toy_policy, toy_scorer):
    tuned = []
    for make in (ToyEnv, lambda: VectorObs(ToyEnv())):
        envs = SyncVectorEnv([make] * 4)
        policy, _ = SHORT.run(
            toy_policy, FinetuneData(scorer=toy_scorer), generator=seeded(),
            make_vector_env=iter([envs]).__next__,
        )  # fmt: skip
        tuned.append(policy)
    assert same(weights(tuned[0]), weights(tuned[1]))


class BadScorer:
    def score(self, obs, candidates):
        return torch.full(candidates.shape[:2], torch.nan)

    def uncertainty(self, obs, candidates, /):
        return torch.zeros(candidates.shape[:2])


def test_what_does_not_fit_is_refused(toy_policy, toy_scorer):
    data = FinetuneData(scorer=toy_scorer)
    with pytest.raises(ValueError) as error:
        SHORT.run(toy_policy, data, generator=seeded())
    assert str(error.value) == (
        "PPO needs an environment to act in, and there is none. Pass `make_vector_env`, such as "
        "lambda: make_vector('metaworld/reach-v3', 16), or take another method."
    )
    with pytest.raises(ValueError) as error:
        run(SHORT, toy_policy, None)
    assert str(error.value) == (
        "PPO needs a learned reward that scores action chunks, and there is none. "
        "Train one, such as mlp."
    )
    with pytest.raises(ValueError) as error:
        run(SHORT, toy_policy, BadScorer(), 2)
    assert str(error.value) == "The action scorer returned scores that are not finite."
    with pytest.raises(ValueError) as error:
        run(dataclasses.replace(SHORT, loss=PPOLossConfig("group")), toy_policy, toy_scorer, 6)
    assert str(error.value) == (
        "The number of environments (=6) must be a multiple of `group_size` (=4)."
    )


def test_a_gradient_that_is_not_finite_stops_the_run(toy_policy, toy_scorer):
    with pytest.raises(FloatingPointError) as error:
        run(dataclasses.replace(SHORT, learning_rate=1e30), toy_policy, toy_scorer, 4)
    assert str(error.value) == (
        "The gradient is not finite in iteration 0 of PPO. Check the reward for extreme values, "
        "or lower `learning_rate`."
    )


def test_config_round_trips():
    assert from_dict(PPOConfig, to_dict(SHORT)) == SHORT


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PPOConfig(num_iterations=0), "`num_iterations` must be at least 1, got 0."),
        (lambda: PPOConfig(pessimism=-1.0), "`pessimism` must be at least 0, got -1.0."),
        (lambda: PPOConfig(max_grad_norm=0.0), "`max_grad_norm` must be more than 0, got 0.0."),
    ],
)  # fmt: skip
def test_configs_check_their_ranges(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message

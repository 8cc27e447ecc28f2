"""What every registered fine-tuning method must do."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from robopref.config import from_dict, to_dict
from robopref.data.segment import Segment
from robopref.errors import CheckpointError
from robopref.policies.finetune import FINETUNE
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.serialization import load_policy
from robopref.trainer import TrainerConfig

TRAINER = TrainerConfig(num_steps=150, batch_size=128, learning_rate=3e-3, ema_decay=0.98)


# PPO needs an environment to act in; tests/policies/test_online.py checks the same of it.
# What works at run time trains nothing; tests/align/test_steering.py checks that.
# Rankings of candidates need a policy for primitives: tests/policies/test_primitive_diffusion.py.
ELSEWHERE = ("ppo", "best-of-n", "guidance", "deformpam", "deformpam-plus")


@pytest.fixture(scope="session", params=[n for n in FINETUNE.names() if n not in ELSEWHERE])
def method(request):
    return dataclasses.replace(FINETUNE.config_class(request.param)(), trainer=TRAINER)


@pytest.fixture(scope="session")
def chosen(make_toy_episode):
    rng = np.random.default_rng(1)
    return [make_toy_episode(100 + i, rng, right=True) for i in range(15)]


@pytest.fixture(scope="session")
def tuned_and_base_before(method, toy_policy, data):
    before = weights(toy_policy)
    return run(method, toy_policy, data)[0], before


@pytest.fixture
def tuned(tuned_and_base_before):
    return tuned_and_base_before[0]


@pytest.fixture(scope="session")
def data(chosen, toy_episodes, toy_scorer):
    """Return chosen episodes, judgements by which those that go right are better, and a reward."""
    whole = [Segment(episode.id, 0, len(episode)) for episode in toy_episodes]
    judgements = [Judgement.of_pair(whole[i], whole[i + 1], 0.0) for i in range(0, 60, 2)]
    returns = np.array([np.sign(episode.action[:, 0]).sum() for episode in toy_episodes])
    return FinetuneData(
        chosen, judged=toy_episodes, judgements=judgements, pool=toy_episodes,
        returns=np.stack([returns, 1.1 * returns]), scorer=toy_scorer,
    )  # fmt: skip


def run(method, policy, data, **options):
    return method.run(policy, data, generator=torch.Generator().manual_seed(3), **options)


def weights(policy):
    return {key: value.clone() for key, value in policy.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_config_is_frozen_and_round_trips(method):
    assert method.__dataclass_params__.frozen
    assert from_dict(type(method), to_dict(method)) == method
    assert type(method).__doc__


def test_preferred_behaviour_becomes_common(tuned, toy_policy, share_right):
    assert share_right(toy_policy) == pytest.approx(0.5, abs=0.1)
    assert share_right(tuned) > 0.8


def test_the_base_stays_as_it_was(tuned_and_base_before, toy_policy):
    tuned, before = tuned_and_base_before
    assert same(weights(toy_policy), before)
    assert not same(weights(tuned), before)


def test_the_normaliser_is_kept(tuned, toy_policy):
    for name in ("loc", "scale"):
        ours = getattr(tuned.action_normalizer, name)
        assert torch.equal(ours, getattr(toy_policy.action_normalizer, name))


@pytest.mark.slow
def test_equal_generators_give_equal_policies(method, toy_policy, data):
    short = dataclasses.replace(method, trainer=dataclasses.replace(TRAINER, num_steps=20))
    first, second = (run(short, toy_policy, data)[0] for _ in range(2))
    assert same(weights(first), weights(second))


def test_result_is_saved_and_an_interrupted_run_ends_the_same(method, toy_policy, data, tmp_path):
    trainer = dataclasses.replace(TRAINER, num_steps=40, checkpoint_interval=10)
    short = dataclasses.replace(method, trainer=trainer)
    whole, _ = run(short, toy_policy, data, directory=tmp_path / "whole")
    with pytest.raises(RuntimeError, match="cut off"):
        run(short, cut_off_at_call(toy_policy, 25), data, directory=tmp_path / "cut")
    resumed, _ = run(short, toy_policy, data, directory=tmp_path / "cut")
    assert same(weights(resumed), weights(whole))
    assert same(weights(load_policy(tmp_path / "cut" / "policy")), weights(whole))


class _CutOff:
    """Stands for a kill: raises at the nth call of a module's forward."""

    def __init__(self, calls):
        self.calls = calls

    def __call__(self, *_):
        self.calls -= 1
        if self.calls == 0:
            raise RuntimeError("cut off")


def cut_off_at_call(policy, calls):
    policy = copy.deepcopy(policy)
    policy.denoiser.register_forward_pre_hook(_CutOff(calls))
    return policy


def test_a_checkpoint_of_another_run_is_refused(method, toy_policy, data, tmp_path):
    short = dataclasses.replace(method, trainer=dataclasses.replace(TRAINER, num_steps=5))
    run(short, toy_policy, data, directory=tmp_path)
    longer = dataclasses.replace(method, trainer=dataclasses.replace(TRAINER, num_steps=6))
    with pytest.raises(CheckpointError, match="other training settings"):
        run(longer, toy_policy, data, directory=tmp_path)


def test_episodes_of_weight_zero_are_not_learned(toy_policy, toy_episodes, share_right):
    goes_right = [float(episode.action[0, 0] > 0) for episode in toy_episodes]
    tuned, _ = run(DistilConfig(TRAINER), toy_policy, FinetuneData(toy_episodes, goes_right))
    assert share_right(tuned) > 0.9


def test_demonstrations_hold_the_policy_back(toy_policy, toy_episodes, chosen, share_right):
    held = DistilConfig(TRAINER, demonstration_weight=1.0)
    held_back, _ = run(held, toy_policy, FinetuneData(chosen, demonstrations=toy_episodes))
    # 15 chosen and 30 of 60 demonstrations go right: 45 of 75.
    assert share_right(held_back) == pytest.approx(0.6, abs=0.15)


@pytest.mark.parametrize(
    ("episodes", "weights", "message"),
    [
        (0, None, "There are no episodes to distil. Select at least one."),
        (2, [1.0], "`weights` must hold one weight for each of 2 episodes, got 1."),
        (2, [0.0, 0.0], "`weights` must be at least 0, and one of them above 0."),
        (2, [1.0, -1.0], "`weights` must be at least 0, and one of them above 0."),
    ],
)
def test_bad_input_is_refused(episodes, weights, message, toy_policy, chosen):
    with pytest.raises(ValueError) as error:
        run(DistilConfig(TRAINER), toy_policy, FinetuneData(chosen[:episodes], weights))
    assert str(error.value) == message

"""Tests for quality.py and finetune/quality.py: told good from bad, it does the good."""

import numpy as np
import pytest
import torch

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.quality import QualityConfig, QualitySource
from robopref.policies.quality import BAD, GOOD, QUALITY, QualityDiffusionPolicy
from robopref.trainer import TrainerConfig

TRAINER = TrainerConfig(num_steps=150, batch_size=128, learning_rate=3e-3, ema_decay=0.98)


@pytest.fixture(scope="module")
def pool(toy_episodes, toy_scorer):
    returns = np.array([episode.action[:, 0].mean() for episode in toy_episodes])
    return FinetuneData(pool=toy_episodes, returns=returns[None], scorer=toy_scorer)


def told(policy, guidance=1.0):
    return QualityDiffusionPolicy.from_policy(policy, guidance=guidance, drop_share=0.15)


def run(policy, data, **options):
    config = QualityConfig(TRAINER, **options)
    return config.run(policy, data, generator=torch.Generator().manual_seed(3))[0]


@pytest.mark.parametrize("guidance", [0.0, 2.0])
def test_untrained_it_acts_as_the_policy_that_it_was_made_from(toy_policy, toy_obs, guidance):
    plain, same = (
        policy.sample(toy_obs, 3, torch.Generator().manual_seed(1))
        for policy in (toy_policy, told(toy_policy, guidance))
    )
    torch.testing.assert_close(plain, same, atol=1e-5, rtol=1e-5)


def test_more_guidance_is_more_of_the_good(toy_policy, pool, share_right):
    tuned = run(toy_policy, pool, good_share=0.45)
    shares = []
    for guidance in (0.0, 1.0):
        object.__setattr__(tuned.config, "guidance", guidance)
        shares.append(share_right(tuned))
    assert shares[0] > 0.8
    assert shares[1] >= shares[0] - 0.01


def test_bad_is_learned_too_and_not_done(toy_policy, pool, toy_obs):
    tuned = run(toy_policy, pool, good_share=0.45)
    chunk = torch.zeros(50, 4, 2)
    chunk[..., 0] = -0.6
    steps, noise = tuned.draw_noising(50, torch.Generator().manual_seed(0))
    errors = [
        tuned.noise_error(
            {**toy_obs, "action": chunk, QUALITY: torch.full((50,), quality)}, steps, noise
        ).mean()
        for quality in (GOOD, BAD)
    ]
    assert errors[1] < errors[0]


def test_classes_are_dropped_in_training_only(toy_policy, pool):
    policy = told(toy_policy)
    batch = QualitySource(toy_policy, pool, torch.full((1500,), BAD)).gather(torch.arange(200))
    with torch.no_grad():
        policy.quality.weight.copy_(torch.randn(policy.quality.weight.shape))
    losses = [
        policy.train(mode)(batch, torch.Generator().manual_seed(0))[0].item()
        for mode in (False, True)
    ]
    assert losses[0] != losses[1]


def test_nothing_to_tell_apart_is_refused(toy_policy, toy_episodes):
    with pytest.raises(ValueError) as error:
        run(toy_policy, FinetuneData())
    assert str(error.value) == "There are no unlabelled episodes to tell good from bad in."
    same = FinetuneData(pool=toy_episodes, returns=np.ones((2, 60)))
    with pytest.raises(ValueError) as error:
        run(toy_policy, same)
    assert str(error.value) == (
        "The learned reward tells none of the unlabelled episodes from another, so none of them "
        "can be called good."
    )

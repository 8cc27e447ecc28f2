import copy

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from robopref.policies.finetune.denoising_mdp import (
    DenoisingConfig,
    DenoisingSteps,
    divergence,
    log_prob,
)
from robopref.sampler import Sampler
from robopref.types import STATE


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


def test_a_step_has_the_density_of_a_gaussian(generator):
    after, mean, base = torch.randn(3, 5, 4, 2, generator=generator)
    std = torch.rand(5, generator=generator) + 0.1
    normal = Normal(mean, std[:, None, None])
    torch.testing.assert_close(log_prob(after, mean, std), normal.log_prob(after).mean((1, 2)))
    apart = kl_divergence(normal, Normal(base, std[:, None, None])).mean((1, 2))
    torch.testing.assert_close(divergence(mean, base, std), apart)


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++"])
def test_what_is_not_random_is_the_policys_own_sampling(name, toy_policy, toy_obs):
    policy = copy.deepcopy(toy_policy)
    policy.sampler = Sampler(name, 50, 10)
    steps = DenoisingSteps(policy, DenoisingConfig(min_std=1e-6))
    with torch.no_grad():
        condition = policy.encoder(toy_obs)
        chains = steps.sample(policy, condition, range(9, 10), seeded())
        last = steps.means(policy, condition, chains.before[:, 0], torch.full((50,), 9))
    own = policy.sample(toy_obs, 1, seeded())[:, 0]
    torch.testing.assert_close(policy.action_normalizer.inverse(last), own)
    torch.testing.assert_close(chains.chunk, last.clamp(-1, 1), atol=1e-5, rtol=0)


def test_random_steps_are_those_of_diffusers(toy_policy, toy_obs):
    policy = copy.deepcopy(toy_policy)
    policy.sampler = Sampler("ddim", 50, 10)
    steps = DenoisingSteps(policy, DenoisingConfig(eta=0.7, min_std=1e-6))
    scheduler = policy.sampler.make_scheduler()
    obs = {STATE: toy_obs[STATE][:1]}
    with torch.no_grad():
        condition = policy.encoder(obs)
        x = torch.randn(1, 4, 2, generator=seeded())
        for place in range(10):
            noise, _ = steps._denoise(policy, condition, x, torch.tensor([place]))
            step = policy.sampler.steps[place].denoise_step
            for variance in (torch.zeros(1, 4, 2), torch.ones(1, 4, 2)):
                theirs = scheduler.step(noise, step, x, eta=0.7, variance_noise=variance)[0]
                ours = steps.means(policy, condition, x, torch.tensor([place]))
                ours = ours + steps.std[place] * variance
                torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_a_window_of_random_steps_slides_over_the_tuned_ones_and_around():
    config = DenoisingConfig(tuned_steps=4, window=2, window_interval=5)
    starts = [config.random_steps(10, i) for i in (0, 4, 5, 10, 15)]
    assert starts == [range(6, 8), range(6, 8), range(7, 9), range(8, 10), range(6, 8)]
    assert DenoisingConfig(tuned_steps=4).random_steps(10, 77) == range(6, 10)
    with pytest.raises(ValueError) as error:
        config.random_steps(3, 0)
    assert str(error.value) == (
        "`tuned_steps` (=4) must not exceed the policy's `num_denoise_steps` (=3)."
    )


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: DenoisingConfig(min_std=0.0), "`min_std` must be above 0, got 0.0."),
        (lambda: DenoisingConfig(window=9), "`window` must be between 1 and 8, got 9."),
        (lambda: DenoisingConfig(eta=2.0), "`eta` must be between 0 and 1, got 2.0."),
    ],
)  # fmt: skip
def test_config_checks_its_ranges(build, message):
    with pytest.raises(ValueError) as error:
        build()
    assert str(error.value) == message

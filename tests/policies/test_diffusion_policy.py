"""What is special to the diffusion policy: modes, noise errors, its messages."""

import pytest
import torch

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.sampler import Sampler
from robopref.types import STATE


@pytest.mark.parametrize("name", ["ddim", "dpm-solver++"])
def test_both_modes_are_sampled_and_nothing_between(name, toy_policy, toy_obs, generator):
    sampler, toy_policy.sampler = toy_policy.sampler, Sampler(name, 50, 10)
    try:
        chunks = toy_policy.sample(toy_obs, 40, generator)
    finally:
        toy_policy.sampler = sampler
    sides = chunks[..., 0]
    # 2,000 samples of a fair coin stray from one half by 0.011; the rest is what was learned.
    assert float((sides[..., 0] > 0).float().mean()) == pytest.approx(0.5, abs=0.1)
    # A policy that had collapsed to the mean would be here always, one Gaussian 0.38 of the time.
    assert float((sides.abs() < 0.3).float().mean()) < 0.1
    # A chunk goes one way from its first to its last action.
    assert float((sides.sign() == sides.sign()[..., :1]).float().mean()) > 0.98
    assert float(sides.abs().mean()) == pytest.approx(0.6, abs=0.05)


def test_actions_follow_the_observation(toy_policy, toy_obs, generator):
    second = toy_policy.sample(toy_obs, 40, generator)[:, :, 0, 1].mean(dim=1)
    expected = 0.5 * toy_obs[STATE][:, -1, 0]
    assert float((second - expected).abs().mean()) < 0.08


def test_noise_error_is_the_loss_and_knows_demonstrated_chunks(toy_policy, toy_obs, generator):
    right = torch.zeros(50, 4, 2)
    right[..., 0] = 0.6
    right[..., 1] = 0.5 * toy_obs[STATE][:, -1:, 0]
    between = right.clone()
    between[..., 0] = 0
    _, noise = toy_policy.draw_noising(50, generator)
    steps = torch.full((50,), 10)  # Much later all is noise, and any chunk could be below it.
    errors = [
        toy_policy.noise_error({**toy_obs, "action": chunk}, steps, noise)
        for chunk in (right, between)
    ]
    assert errors[0].shape == (50,)
    assert errors[0].mean() < errors[1].mean()


def test_noise_given_is_noise_used(toy_policy, toy_obs, generator):
    noise = torch.randn(50, 3, 4, 2, generator=generator)
    given = toy_policy.sample(toy_obs, 3, generator, noise=noise)
    # The generator, somewhere else by now, has no say.
    assert torch.equal(given, toy_policy.sample(toy_obs, 3, generator, noise=noise))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"n_action_steps": 12},
            "`n_action_steps` (=12) must not exceed `chunk_size` (=8).",
        ),
        ({"chunk_size": 0}, "`chunk_size` must be at least 1, got 0."),
        ({"num_denoise_steps": 51}, "`num_denoise_steps` must be between 1 and 50, got 51."),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        DiffusionPolicyConfig(**options)
    assert str(error.value) == message

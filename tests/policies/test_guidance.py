"""Tests for guidance.py: the gradient bends proposals, within bounds."""

import pytest
import torch

from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.policies.guidance import GuidanceConfig, GuidedPolicy
from robopref.policies.mlp_denoiser import MLPDenoiserConfig
from robopref.policies.selection import BestOfN
from robopref.train_policy import train_policy
from robopref.trainer import TrainerConfig
from robopref.types import STATE


class Differentiable:
    """Likes chunks that go right; its three members differ in how much."""

    def candidate_scores(self, obs, candidates):
        right = torch.tanh(candidates[..., 0].mean(-1) / 0.3)
        return torch.stack([factor * right for factor in (0.8, 1.0, 1.2)])

    def score(self, obs, candidates):
        return self.candidate_scores(obs, candidates).mean(0)

    def uncertainty(self, obs, candidates, /):
        return self.candidate_scores(obs, candidates).std(0)


def guided(policy, **options):
    return GuidanceConfig(**options).build(policy, Differentiable())


def test_proposals_turn_to_what_the_score_likes(toy_policy, toy_obs, share_right):
    assert share_right(toy_policy) == pytest.approx(0.5, abs=0.1)
    steered = guided(toy_policy, scale=5.0)
    assert share_right(steered) > 0.9
    chunks = steered.sample(toy_obs, 40, torch.Generator().manual_seed(5))
    # What the score says nothing about is done as before, and nothing leaves the data.
    second = (chunks[:, :, 0, 1] - 0.5 * toy_obs[STATE][:, -1, :1]).abs().mean()
    assert float(second) < 0.1
    assert float(chunks[..., 0].abs().max()) < 0.9


@pytest.fixture(scope="module")
def noise_policy(toy_episodes):
    """Return a policy that predicts noise, and takes the steps of DDIM."""
    config = DiffusionPolicyConfig(
        chunk_size=4, n_action_steps=2, denoiser=MLPDenoiserConfig(width=64, num_blocks=2),
        prediction="noise", sampler="ddim",
    )  # fmt: skip
    trainer = TrainerConfig(num_steps=400, batch_size=128, learning_rate=3e-3, ema_decay=0.98)
    return train_policy(config, toy_episodes, trainer, validation_share=0)[0]


def test_it_guides_a_policy_that_predicts_noise(noise_policy, toy_obs, share_right):
    assert share_right(noise_policy) == pytest.approx(0.5, abs=0.1)
    steered = guided(noise_policy, scale=10.0)
    assert share_right(steered) > 0.9
    chunks = steered.sample(toy_obs, 40, torch.Generator().manual_seed(5))
    assert float((chunks[:, :, 0, 1] - 0.5 * toy_obs[STATE][:, -1, :1]).abs().mean()) < 0.1


class Linear:
    """Has the same gradient everywhere."""

    def candidate_scores(self, obs, candidates):
        return candidates.sum((-1, -2))[None]


def moves(policy, **options):
    """Return how far the implied clean chunk moves at each step, as a root mean square."""
    steered = GuidanceConfig(**options).build(policy, Linear())
    x, predicted = torch.zeros(2, 1, 3, 4, 2)
    found = []
    for step in policy.sampler.steps:
        shift = predicted - steered._shift({}, x, predicted, step)
        found.append((shift * step.sigma / step.alpha).square().mean(dim=(-1, -2)).sqrt().max())
    return torch.stack(found)


def test_the_shift_falls_with_the_variance_of_the_noise(toy_policy):
    variance = torch.tensor([step.sigma**2 for step in toy_policy.sampler.steps])
    size = toy_policy.action_normalizer.inverse(torch.ones(2)) - (
        toy_policy.action_normalizer.inverse(torch.zeros(2))
    )
    expected = 0.2 * variance * size.square().mean().sqrt()
    found = moves(toy_policy, scale=0.2, largest_shift=10.0)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)
    assert (found.diff() < 0).all()


def test_a_steep_score_moves_a_chunk_by_no_more_than_the_bound(toy_policy, toy_obs):
    found = moves(toy_policy, scale=1e6, largest_shift=0.3)
    torch.testing.assert_close(found, torch.full_like(found, 0.3))
    chunks = GuidedPolicy(toy_policy, Linear(), GuidanceConfig(scale=1e6)).sample(
        toy_obs, 4, torch.Generator().manual_seed(1)
    )
    inside = toy_policy.action_normalizer(chunks).abs()
    assert float(inside.max()) <= 1 + 1e-5


def test_without_strength_it_is_the_policy(toy_policy, toy_obs):
    plain, steered = (
        policy.sample(toy_obs, 3, torch.Generator().manual_seed(1))
        for policy in (toy_policy, guided(toy_policy, scale=0.0))
    )
    assert torch.equal(plain, steered)


def test_it_works_under_inference_mode_and_inside_best_of_n(toy_policy, toy_obs):
    steered = guided(toy_policy)
    chosen = BestOfN(steered, Differentiable())
    with torch.inference_mode():
        chunk = chosen.predict_action_chunk(toy_obs, torch.Generator().manual_seed(2))
    assert chunk.shape == (50, 4, 2)
    assert (chunk[..., 0].mean(-1) > 0).float().mean() > 0.95


def test_a_scorer_without_gradients_is_refused(toy_policy, toy_obs, toy_scorer):
    with pytest.raises(ValueError) as error:
        GuidedPolicy(toy_policy, toy_scorer)
    assert str(error.value) == (
        "ToyScorer has no `candidate_scores` through which gradients could flow. "
        "Choose among candidates instead, with best-of-N."
    )

    class Detached(Differentiable):
        def candidate_scores(self, obs, candidates):
            return super().candidate_scores(obs, candidates).detach()

    with pytest.raises(ValueError) as error:
        GuidedPolicy(toy_policy, Detached()).sample(toy_obs, 1, torch.Generator())
    assert str(error.value) == (
        "The scores of Detached have no gradients: they were computed under no_grad."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"largest_shift": 0.0}, "`largest_shift` must be above 0, got 0.0."),
        ({"scale": -1.0}, "`scale` must be at least 0, got -1.0."),
        ({"pessimism": -1.0}, "`pessimism` must be at least 0, got -1.0."),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError) as error:
        GuidanceConfig(**options)
    assert str(error.value) == message

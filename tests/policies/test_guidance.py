"""Tests for guidance.py: the gradient bends proposals, within bounds."""

import pytest
import torch

from robopref.policies.guidance import GuidanceConfig, GuidedPolicy
from robopref.policies.selection import BestOfN
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


def test_settings_out_of_range_are_refused():
    with pytest.raises(ValueError) as error:
        GuidanceConfig(largest_shift=0.0)
    assert str(error.value) == "`largest_shift` must be above 0, got 0.0."

"""Tests for scorers.py: implicit and combined scores, alone and inside best-of-N."""

import copy

import pytest
import torch

from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.scorers import CombinedScorer, ImplicitScorer
from robopref.policies.selection import BestOfN, BestOfNConfig
from robopref.trainer import TrainerConfig


@pytest.fixture(scope="module")
def goes_right(toy_policy, toy_episodes):
    """Return a policy that was tuned to go right."""
    right = FinetuneData([e for e in toy_episodes if e.action[:, 0].mean() > 0])
    trainer = TrainerConfig(num_steps=60, batch_size=128, learning_rate=1e-3)
    generator = torch.Generator().manual_seed(3)
    return DistilConfig(trainer).run(toy_policy, right, generator=generator)[0]


@pytest.fixture
def implicit(goes_right, toy_policy):
    return ImplicitScorer(goes_right, toy_policy)


@pytest.fixture
def candidates(toy_policy, toy_obs, generator):
    return toy_policy.sample(toy_obs, 6, generator)


class Constant:
    """Tells no candidate from another."""

    def score(self, obs, candidates):
        return torch.full(candidates.shape[:2], 3.0)

    def uncertainty(self, obs, candidates, /):
        return torch.ones(candidates.shape[:2])


def test_the_implicit_score_likes_what_the_tuned_policy_does(implicit, toy_obs, candidates):
    right = candidates[..., 0].mean(-1) > 0
    scores = implicit.score(toy_obs, candidates)
    assert scores[right].mean() > scores[~right].mean()
    both = right.any(1) & ~right.all(1)
    best = scores.argmax(1)
    assert right[torch.arange(50), best][both].float().mean() > 0.9


def test_a_policy_and_itself_tell_nothing_apart(toy_policy, toy_obs, candidates):
    scores = ImplicitScorer(toy_policy, toy_policy).score(toy_obs, candidates)
    assert scores.abs().max() < 1e-5


def test_a_score_does_not_depend_on_the_other_candidates(implicit, toy_obs, candidates):
    alone = implicit.score(toy_obs, candidates[:, 2:3])
    torch.testing.assert_close(alone, implicit.score(toy_obs, candidates)[:, 2:3])
    assert (implicit.uncertainty(toy_obs, candidates) > 0).all()


def test_best_of_n_chooses_by_it(implicit, toy_policy, toy_obs, share_right):
    selected = BestOfN(toy_policy, implicit, BestOfNConfig(num_candidates=8, pessimism=0.0))
    assert share_right(selected) > 0.9


def test_a_combination_ignores_what_tells_nothing_apart(toy_scorer, toy_obs, candidates):
    combined = CombinedScorer([toy_scorer, Constant()], [1.0, 100.0])
    scores = combined.score(toy_obs, candidates)
    assert torch.equal(scores.argsort(), toy_scorer.score(toy_obs, candidates).argsort())
    torch.testing.assert_close(scores.mean(1), torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.std(1, correction=0), torch.ones(50))
    assert torch.isfinite(combined.uncertainty(toy_obs, candidates)).all()


def test_scale_does_not_matter_in_a_combination(implicit, toy_scorer, toy_obs, candidates):
    scaled = ImplicitScorer(implicit.tuned, implicit.reference, beta_dpo=1000.0)
    first, second = (
        CombinedScorer([one, toy_scorer]).score(toy_obs, candidates) for one in (implicit, scaled)
    )
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


def test_what_does_not_fit_is_refused(toy_policy, toy_scorer):
    with pytest.raises(ValueError) as error:
        CombinedScorer([toy_scorer], [1.0, 2.0])
    assert str(error.value) == (
        "Give at least one scorer and a weight for each, got 1 scorers and 2 weights."
    )
    other = copy.copy(toy_policy)
    other.chunk_size = 16
    with pytest.raises(ValueError) as error:
        ImplicitScorer(toy_policy, other)
    assert str(error.value) == (
        "The tuned policy and its base must be of one size, got `chunk_size` 4 and 16."
    )

"""Tests for scorers.py: implicit and combined scores, alone and inside best-of-N."""

import copy
import dataclasses

import pytest
import torch

from robopref import scorers
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.selection import BestOfN, BestOfNConfig
from robopref.scorers import CombinedScorer, ImplicitScorer, LikelihoodScorer
from robopref.trainer import TrainerConfig
from robopref.types import ACTION


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


def test_it_is_the_difference_of_denoising_errors(implicit, toy_obs, candidates):
    steps, noise = implicit._noising
    draws = len(steps)
    batch = {key: value[3:4].expand(draws, -1, -1) for key, value in toy_obs.items()}
    batch[ACTION] = candidates[3, 4].expand(draws, -1, -1)
    tuned, reference = (
        policy.noise_error(batch, steps, noise) for policy in (implicit.tuned, implicit.reference)
    )
    rewards = implicit._rewards(toy_obs, candidates)[3, 4]
    torch.testing.assert_close(rewards, 10.0 * (reference - tuned), atol=1e-4, rtol=1e-4)


def test_each_observation_is_encoded_once(toy_policy, toy_obs, candidates):
    counted, rows = copy.deepcopy(toy_policy), []
    counted.encoder.register_forward_hook(lambda _module, _inputs, out: rows.append(len(out)))
    ImplicitScorer(counted, toy_policy).score(toy_obs, candidates)
    assert sum(rows) == 50


def test_scores_are_the_same_some_at_a_time(implicit, toy_obs, candidates, monkeypatch):
    whole = implicit.score(toy_obs, candidates)
    monkeypatch.setattr(scorers, "CHUNKS_AT_ONCE", 1000)
    torch.testing.assert_close(whole, implicit.score(toy_obs, candidates), atol=1e-5, rtol=1e-4)


def test_equal_seeds_give_equal_scores(implicit, toy_obs, candidates):
    same, other = (
        ImplicitScorer(implicit.tuned, implicit.reference, seed=seed).score(toy_obs, candidates)
        for seed in (0, 1)
    )
    assert torch.equal(implicit.score(toy_obs, candidates), same)
    assert not torch.equal(same, other)


def test_more_draws_are_more_certain(implicit, toy_obs, candidates):
    many = ImplicitScorer(implicit.tuned, implicit.reference, num_noises=64)
    few, less = (s.uncertainty(toy_obs, candidates).mean() for s in (implicit, many))
    # A root of four for the number, and more for steps that lie closer together.
    assert less < 0.6 * few


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


def test_what_a_policy_proposes_is_likelier_than_what_lies_beside_it(
    toy_policy, toy_obs, candidates, generator
):
    scorer = LikelihoodScorer(toy_policy)
    beside = candidates + torch.randn(candidates.shape, generator=generator)
    scores = scorer.score(toy_obs, torch.cat((candidates, beside), dim=1))
    assert (scores[:, :6].mean(1) > scores[:, 6:].mean(1)).float().mean() > 0.95
    torch.testing.assert_close(scorer.score(toy_obs, candidates), scores[:, :6])
    assert (scorer.uncertainty(toy_obs, candidates) > 0).all()


def test_implicit_rewards_are_differences_of_likelihoods(
    goes_right, toy_policy, toy_obs, candidates
):
    tuned, base = (LikelihoodScorer(p, num_noises=400) for p in (goes_right, toy_policy))
    implicit = ImplicitScorer(
        goes_right, toy_policy, dpo_beta=1.0, num_noises=400, least_noisy=0.1, seed=1
    )
    difference = tuned.score(toy_obs, candidates) - base.score(toy_obs, candidates)
    # The draws differ, and so their means do by a few standard errors.
    error = implicit.uncertainty(toy_obs, candidates)
    away = (difference - implicit.score(toy_obs, candidates)).abs()
    assert (away < 6 * error).float().mean() > 0.99


def test_a_combination_ignores_what_tells_nothing_apart(toy_scorer, toy_obs, candidates):
    combined = CombinedScorer([toy_scorer, Constant()], [1.0, 100.0])
    scores = combined.score(toy_obs, candidates)
    assert torch.equal(scores.argsort(), toy_scorer.score(toy_obs, candidates).argsort())
    torch.testing.assert_close(scores.mean(1), torch.zeros(50), atol=1e-5, rtol=0)
    torch.testing.assert_close(scores.std(1, correction=0), torch.ones(50))
    deviation = toy_scorer.score(toy_obs, candidates).std(1, correction=0, keepdim=True)
    torch.testing.assert_close(
        combined.uncertainty(toy_obs, candidates),
        toy_scorer.uncertainty(toy_obs, candidates) / deviation,
    )


def test_scorers_that_tell_nothing_apart_give_zeros(toy_obs, candidates):
    combined = CombinedScorer([Constant()])
    assert torch.equal(combined.score(toy_obs, candidates), torch.zeros(50, 6))
    assert torch.equal(combined.uncertainty(toy_obs, candidates), torch.zeros(50, 6))


def test_best_of_n_chooses_by_a_combination(implicit, toy_scorer, toy_policy, toy_obs, generator):
    combined = CombinedScorer([implicit, toy_scorer], [1.0, 2.0])
    config = BestOfNConfig(num_candidates=8, pessimism=0.5)
    chunk = BestOfN(toy_policy, combined, config).predict_action_chunk(toy_obs, generator)
    assert float((chunk[:, 0, 0] > 0).float().mean()) > 0.9


def test_scale_does_not_matter_in_a_combination(implicit, toy_scorer, toy_obs, candidates):
    scaled = ImplicitScorer(implicit.tuned, implicit.reference, dpo_beta=1000.0)
    first, second = (
        CombinedScorer([one, toy_scorer]).score(toy_obs, candidates) for one in (implicit, scaled)
    )
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (
            [1.0, 2.0],
            "Give at least one scorer and a weight for each, got 1 scorers and 2 weights.",
        ),
        ([float("inf")], "`weights` must be finite, got (inf,)."),
    ],
)
def test_weights_that_do_not_fit_are_refused(toy_scorer, weights, message):
    with pytest.raises(ValueError) as error:
        CombinedScorer([toy_scorer], weights)
    assert str(error.value) == message


def shorter(policy):
    policy.chunk_size = 16


def noisier(policy):
    policy.config = dataclasses.replace(policy.config, num_train_steps=100)


def in_other_units(policy):
    policy.action_normalizer = copy.deepcopy(policy.action_normalizer)
    policy.action_normalizer.scale.mul_(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shorter, "The tuned policy and its base must be alike, got `chunk_size` 4 and 16."),
        (noisier, "The tuned policy and its base must be alike, got `num_train_steps` 50 and 100."),
        (
            in_other_units,
            "The tuned policy and its base must normalise actions alike, got other statistics. "
            "Take the policy that it was tuned from.",
        ),
    ],
)
def test_another_base_is_refused(toy_policy, change, message):
    other = copy.deepcopy(toy_policy)
    change(other)
    with pytest.raises(ValueError) as error:
        ImplicitScorer(toy_policy, other)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_noises": 1}, "`num_noises` must be at least 2, got 1."),
        ({"dpo_beta": 0.0}, "`dpo_beta` must be above 0, got 0.0."),
    ],
)
def test_settings_out_of_range_are_refused(toy_policy, options, message):
    with pytest.raises(ValueError) as error:
        ImplicitScorer(toy_policy, toy_policy, **options)
    assert str(error.value) == message

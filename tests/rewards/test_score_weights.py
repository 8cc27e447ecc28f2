"""Tests for score_weights.py."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from robopref.preferences.candidates import CandidateView
from robopref.rewards.score_weights import fit_weights
from robopref.scorers import CombinedScorer


def make(rng, num, *, size=8, noises=(0.3, 3.0)):
    """Return scores that are what ranks plus so much noise, and the ranks."""
    quality = rng.normal(size=(num, size))
    levels = quality.argsort(axis=1).argsort(axis=1).astype(np.float32)
    return [5 * quality + 5 * noise * rng.normal(size=quality.shape) for noise in noises], levels


def test_what_orders_better_counts_more(rng):
    scores, levels = make(rng, 60)
    good, bad = fit_weights(scores, levels)
    assert good > 1 > bad
    assert good > 3 * bad


def test_what_says_the_opposite_counts_nothing(rng):
    scores, levels = make(rng, 60, noises=(0.5, 0.5))
    assert fit_weights([scores[0], -scores[1]], levels)[1] == 0


def test_no_ranking_moves_nothing_and_a_few_little(rng):
    scores, levels = make(rng, 60)
    assert fit_weights(scores, np.zeros_like(levels)) == pytest.approx((1, 1))
    few, many = (fit_weights([s[:n] for s in scores], levels[:n]) for n in (2, 60))
    assert abs(few[1] - 1) < abs(many[1] - 1)


def test_candidates_that_fill_up_a_ranking_do_not_count(rng):
    scores, levels = make(rng, 20)
    wider = [np.pad(score, ((0, 0), (0, 2)), constant_values=1e6) for score in scores]
    padded = np.pad(levels, ((0, 0), (0, 2)), constant_values=np.nan)
    assert fit_weights(wider, padded) == pytest.approx(fit_weights(scores, levels))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.1, 3), st.floats(0.1, 3))
def test_they_are_the_least_of_the_loss_and_know_no_scale(seed, first, second):
    scores, levels = make(np.random.default_rng(seed), 12, size=5, noises=(first, second))
    found = fit_weights(scores, levels)
    assert fit_weights([1000 * scores[0] + 7, scores[1]], levels) == pytest.approx(found, abs=1e-3)

    def loss(weights):
        total = 0.5 * sum((weight - 1) ** 2 for weight in weights)
        for place in range(len(levels)):
            z = np.zeros(5)
            for weight, score in zip(weights, scores, strict=True):
                z += weight * (score[place] - score[place].mean()) / score[place].std()
            total += np.mean([
                np.log1p(np.exp(z[b] - z[a])) for a in range(5) for b in range(5)
                if levels[place, a] > levels[place, b]
            ])  # fmt: skip
        return total

    least = minimize(loss, np.ones(2), method="Nelder-Mead", bounds=[(0, None)] * 2).fun
    assert loss(found) == pytest.approx(least, abs=1e-4)


class Said:
    """Says what it was given."""

    def __init__(self, scores):
        self.scores = torch.from_numpy(scores).float()

    def score(self, obs, candidates):
        return self.scores

    def uncertainty(self, obs, candidates, /):
        return torch.zeros_like(self.scores)


def test_they_are_those_that_a_combined_scorer_takes(rng):
    scores, levels = make(rng, 80, noises=(0.7, 2.0))
    held = CandidateView(
        {}, np.zeros((80, 8, 1, 1), np.float32), levels, ("",) * 80
    )  # fmt: skip
    alike, weighed = (
        held.pair_accuracy(
            CombinedScorer([Said(s) for s in scores], weights)
            .score({}, torch.zeros(80, 8, 1, 1))
            .numpy()
        )
        for weights in (None, fit_weights(scores, levels))
    )
    assert weighed > alike


def test_scores_of_other_rankings_are_refused(rng):
    scores, levels = make(rng, 4)
    with pytest.raises(ValueError) as error:
        fit_weights([scores[0][:3]], levels)
    assert str(error.value) == (
        "`scores` must be one or more of shape (4, 8), as `levels`, got [(3, 8)]."
    )
    with pytest.raises(ValueError):
        fit_weights([], levels)

"""Tests for rapl_loss.py: which comparisons a ranking holds, and what they cost."""

import math

import numpy as np
import pytest
import torch

from robopref.preferences.preference import PairwiseView
from robopref.preferences.ranking import Ranking
from robopref.rewards.rapl_loss import find_comparisons, find_rankings, ranking_loss
from robopref.types import STATE, SegmentBatch


def view(*answers):
    """Return the pairs of rankings over segments; an answer is (places, ranking)."""
    rows = [(places[a], places[b], p) for places, ranking in answers for a, b, p in ranking.pairs()]
    num = max(max(a, b) for a, b, _ in rows) + 1
    a, b, prefers_b = (np.array(column) for column in zip(*rows, strict=True))
    segments = SegmentBatch(
        {STATE: np.zeros((num, 2, 1), np.float32)}, np.zeros((num, 2, 1), np.float32),
        np.ones((num, 2), bool),
    )  # fmt: skip
    names = tuple(f"episode-{i}" for i in range(num))
    ones = np.ones(len(rows), np.float32)
    return PairwiseView(segments, names, a, b, prefers_b.astype(np.float32), ones)


TRIPLET = Ranking(3, ((0,), (1,), (2,)))


def test_a_triplet_is_the_comparison_of_rapl_and_three_pairs():
    found = find_comparisons(view(((5, 6, 7), TRIPLET)))
    rows = set(zip(found.a.tolist(), found.b.tolist(), found.anchor.tolist(), strict=True))
    assert rows == {(5, 6, -1), (5, 7, -1), (6, 7, -1), (6, 7, 5)}


def test_rankings_are_told_apart_even_if_they_share_items():
    answers = view(
        ((0, 1, 2), TRIPLET), ((3, 4), Ranking.prefer(1)), ((3, 4), Ranking.prefer(0)),
        ((5, 6, 7, 8), Ranking(4, ((3,), (0, 1), (2,)))),
    )  # fmt: skip
    assert find_rankings(answers).tolist() == [0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3]


def test_ties_and_contradictions_make_no_anchor():
    tied = find_comparisons(view(((0, 1, 2), Ranking(3, ((0, 1), (2,))))))
    assert (tied.anchor == -1).all()
    contradicting = find_comparisons(view(((0, 1), Ranking.prefer(0)), ((0, 1), Ranking.prefer(1))))
    assert (contradicting.anchor == -1).all()
    last_two = find_comparisons(view(((0, 1, 2), Ranking(3, ((0,), (1, 2))))))
    assert 0 in last_two.anchor


def test_the_loss_of_four_ranked_items_is_plackett_luce():
    scores = torch.tensor([0.3, -1.0, 2.0, 0.7])
    answers = view(((0, 1, 2, 3), Ranking(4, ((2,), (0,), (3,), (1,)))))
    a, b = (torch.from_numpy(x) for x in (answers.a, answers.b))
    prefers_b = torch.from_numpy(answers.prefers_b)
    winner = torch.where(prefers_b > 0.5, b, a)
    losses = ranking_loss(scores[a][None], scores[b][None], prefers_b, winner)
    ordered = scores[[2, 0, 3, 1]]
    stages = [torch.logsumexp(ordered[i:], 0) - ordered[i] for i in range(3)]
    assert float(losses.sum()) == pytest.approx(float(sum(stages)), rel=1e-5)


def test_two_items_are_bradley_terry_with_either_convention():
    a, b = torch.tensor([[1.0, 1.0]]), torch.tensor([[3.0, 3.0]])
    losses = ranking_loss(a, b, torch.tensor([1.0, 0.0]), torch.arange(2))[0]
    assert float(losses[0]) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-5)
    assert float(losses[1]) == pytest.approx(math.log(1 + math.exp(2)), rel=1e-5)
    linear = ranking_loss(a, b, torch.tensor([1.0, 0.0]), torch.arange(2), likelihood="linear")
    right = 1 / (1 + math.exp(-2))
    assert linear[0].tolist() == pytest.approx([1 - right, right], rel=1e-5)


@pytest.mark.parametrize("likelihood", ["log", "linear"])
def test_ties_pull_scores_together(likelihood):
    score = torch.tensor([[0.0]]).requires_grad_()
    loss = ranking_loss(
        score, torch.tensor([[1.0]]), torch.tensor([0.5]), torch.zeros(1, dtype=torch.long),
        likelihood=likelihood,
    )  # fmt: skip
    loss.sum().backward()
    assert score.grad is not None
    assert float(score.grad) < 0


def test_losses_stay_finite_where_scores_are_far_apart():
    a = torch.tensor([[500.0, -500.0, 0.0]]).requires_grad_()
    b = torch.tensor([[-500.0, 500.0, 0.0]])
    losses = ranking_loss(a, b, torch.tensor([1.0, 0.0, 1.0]), torch.tensor([0, 0, 1]))
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert a.grad is not None
    assert torch.isfinite(a.grad).all()

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import binary_cross_entropy, cross_entropy

from robopref.rewards.losses import (
    bradley_terry_loss,
    preference_probability,
    smooth_labels,
)

RETURN = st.floats(-50, 50, width=32)


@given(RETURN, RETURN, st.floats(0.1, 10))
def test_probabilities_of_both_orders_sum_to_one(a, b, temperature):
    a, b = torch.tensor([a]), torch.tensor([b])
    forth = preference_probability(a, b, temperature=temperature)
    back = preference_probability(b, a, temperature=temperature)
    torch.testing.assert_close(forth + back, torch.ones(1))


@given(RETURN, RETURN, st.floats(0, 1))
def test_turning_a_pair_around_keeps_its_loss(a, b, prefers_b):
    a, b, prefers_b = torch.tensor([a]), torch.tensor([b]), torch.tensor([prefers_b])
    torch.testing.assert_close(
        bradley_terry_loss(a, b, prefers_b), bradley_terry_loss(b, a, 1 - prefers_b)
    )


def test_it_is_the_cross_entropy_over_the_two_segments(generator):
    a, b = torch.randn(2, 9, generator=generator)
    winner = torch.randint(2, (9,), generator=generator)
    torch.testing.assert_close(
        bradley_terry_loss(a, b, winner.float(), temperature=0.7),
        cross_entropy(torch.stack([a, b], dim=1) / 0.7, winner),
    )


def test_second_clearly_better_is_one():
    worse, better = torch.tensor([0.0]), torch.tensor([20.0])
    assert bradley_terry_loss(worse, better, torch.ones(1)) < 1e-6
    assert bradley_terry_loss(worse, better, torch.zeros(1)) > 19


def test_a_tie_is_least_for_equal_returns_and_pulls_them_together():
    returns = torch.tensor([[1.0], [-1.0]], requires_grad=True)
    tie = torch.tensor([0.5])
    loss = bradley_terry_loss(returns[0], returns[1], tie)
    assert loss > bradley_terry_loss(torch.zeros(1), torch.zeros(1), tie)
    loss.backward()
    assert returns.grad is not None
    assert returns.grad[0] > 0 > returns.grad[1]


def test_huge_differences_stay_finite():
    loss = bradley_terry_loss(torch.tensor([1e6]), torch.tensor([-1e6]), torch.ones(1))
    assert torch.isfinite(loss)


def test_weights_count_pairs_and_members_are_apart(generator):
    a, b = torch.randn(2, 3, 4, generator=generator)
    prefers_b = torch.tensor([0.0, 1.0, 0.5, 0.3])
    twice = torch.tensor([[2.0, 0.0, 1.0, 1.0]])
    weighted = bradley_terry_loss(a, b, prefers_b, weight=twice)
    again = [0, 0, 2, 3]
    torch.testing.assert_close(
        weighted, bradley_terry_loss(a[:, again], b[:, again], prefers_b[again])
    )
    for member in range(3):
        torch.testing.assert_close(
            bradley_terry_loss(a, b, prefers_b)[member],
            bradley_terry_loss(a[member], b[member], prefers_b),
        )


def test_the_probability_is_the_closed_form():
    probability = preference_probability(torch.zeros(1), torch.tensor([float(np.log(3.0))]))
    torch.testing.assert_close(probability, torch.tensor([0.75]))


@given(RETURN, st.floats(0, 1), st.floats(0.01, 0.49))
def test_with_mistakes_it_is_the_cross_entropy_of_the_answer(gap, prefers_b, mistake_rate):
    a, b = torch.zeros(1, dtype=torch.float64), torch.tensor([gap], dtype=torch.float64)
    target = torch.tensor([prefers_b], dtype=torch.float64)
    answer_b = mistake_rate + (1 - 2 * mistake_rate) * preference_probability(a, b)
    torch.testing.assert_close(
        bradley_terry_loss(a, b, target, mistake_rate=mistake_rate),
        binary_cross_entropy(answer_b, target),
    )


def test_the_smallest_mistake_rate_is_nearly_none(generator):
    a, b = torch.randn(2, 3, 9, generator=generator)
    prefers_b = torch.rand(9, generator=generator)
    torch.testing.assert_close(
        bradley_terry_loss(a, b, prefers_b, mistake_rate=1e-9),
        bradley_terry_loss(a, b, prefers_b),
    )


def test_no_answer_pulls_without_bound_where_mistakes_are_expected():
    gap = torch.tensor([40.0, 1e6, 0.5], requires_grad=True)
    loss = bradley_terry_loss(torch.zeros(3), gap, torch.zeros(3), mistake_rate=0.2)
    loss.backward()
    assert loss < -np.log(0.2)
    assert gap.grad is not None
    assert (gap.grad[:2] < 1e-9).all()
    assert gap.grad[2] > 0


def test_smoothed_labels_keep_their_order_and_ties(generator):
    labels = torch.rand(20, generator=generator).sort().values
    smooth = smooth_labels(labels, 0.3)
    assert (smooth.diff() >= 0).all()
    torch.testing.assert_close(smooth + smooth_labels(1 - labels, 0.3), torch.ones(20))
    assert torch.equal(smooth_labels(labels, 0.0), labels)

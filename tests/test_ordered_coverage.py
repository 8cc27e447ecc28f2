"""Tests for ordered_coverage.py: against the products of the paper, and by what it is for."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.frame_costs import frame_costs, pair_mask
from robopref.ordered_coverage import log_coverage


def costs(num, other, seed=0):
    drawn = np.random.default_rng(seed).uniform(0, 2, (1, num, other))
    return torch.from_numpy(drawn)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.floats(0.1, 2), st.integers(0, 100))
def test_it_is_the_best_product_over_times_in_order(num, other, temperature, seed):
    cost = costs(num, other, seed)
    found = log_coverage(cost, temperature)[0].exp()
    factor = (-cost[0] / temperature).exp()
    for t in range(num):
        best = max(
            float(torch.stack([factor[time, j] for j, time in enumerate(times)]).prod())
            for times in itertools.combinations_with_replacement(range(t + 1), other)
        )
        assert float(found[t]) == pytest.approx(best)


def test_it_is_the_recursion_of_the_paper():
    cost, coverage = costs(12, 7)[0], np.zeros((12, 7))
    for t, j in itertools.product(range(12), range(7)):
        before = coverage[t, j - 1] if j else 1.0
        stays = coverage[t - 1, j] if t else 0.0
        coverage[t, j] = max(stays, before * np.exp(-float(cost[t, j])))
    assert log_coverage(cost[None])[0].exp().numpy() == pytest.approx(coverage[:, -1])


def test_where_products_underflow_logarithms_do_not():
    cost = torch.full((1, 100, 100), 2.0)
    covered = log_coverage(cost, 0.005)
    assert covered == pytest.approx(torch.full((1, 100), -40000.0), rel=1e-5)
    assert float(covered.exp().sum()) == 0


def test_clips_of_any_length_are_covered_together_as_alone():
    lengths = [(6, 4), (2, 5), (1, 1)]
    first = torch.arange(6) < torch.tensor([[n] for n, _ in lengths])
    second = torch.arange(5) < torch.tensor([[j] for _, j in lengths])
    cost = torch.cat([costs(6, 5, seed) for seed in range(3)])
    spoiled = torch.where(pair_mask(first, second), cost, torch.nan)
    together = log_coverage(spoiled, allowed=pair_mask(first, second))
    for i, (n, j) in enumerate(lengths):
        alone = log_coverage(cost[i : i + 1, :n, :j])[0]
        assert together[i, :n] == pytest.approx(alone)
        assert together[i, n:] == pytest.approx(alone[-1].expand(6 - n))


def test_the_gradient_is_that_of_finite_differences():
    cost = costs(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda c: log_coverage(c, 0.3), (cost,))


def test_a_detour_costs_nothing_and_half_the_way_does():
    clip = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(0)).cumsum(1)
    detour = torch.cat([clip[:, :10], -clip[:, :5], clip[:, 10:]], 1)
    whole, with_detour, half, reversed_ = (
        float(log_coverage(frame_costs(other, clip), 0.1)[0, -1])
        for other in (clip, detour, clip[:, :10], clip.flip(1))
    )
    assert whole == pytest.approx(0, abs=1e-4)
    assert with_detour == pytest.approx(0, abs=1e-4)
    assert half < -5
    assert reversed_ < -5


def test_what_is_refused():
    with pytest.raises(ValueError) as error:
        log_coverage(torch.full((1, 2, 2), torch.nan))
    assert str(error.value) == "`cost` must hold finite numbers only where frames may be matched."
    with pytest.raises(ValueError) as error:
        log_coverage(torch.zeros(1, 2, 2), allowed=torch.zeros(1, 2, 2, dtype=torch.bool))
    assert str(error.value) == "`allowed` must leave each pair a cell: a clip has no frames."
    with pytest.raises(ValueError) as error:
        log_coverage(torch.zeros(1, 2, 2), 0.0)
    assert str(error.value) == "`temperature` must be above 0, got 0.0."

"""Tests for soft_dtw.py: against every alignment there is, plain DTW, and finite differences."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.frame_costs import frame_costs, pair_mask
from robopref.soft_dtw import soft_dtw


def alignments(num, other):
    """Yield every way from the first cell to the last, as its cells."""
    if (num, other) == (1, 1):
        yield [(0, 0)]
        return
    for rows, columns in ((num - 1, other), (num, other - 1), (num - 1, other - 1)):
        if rows and columns:
            for way in alignments(rows, columns):
                yield [*way, (num - 1, other - 1)]


def costs(num_pairs, num, other, seed=0, dtype=torch.float64):
    drawn = np.random.default_rng(seed).uniform(0, 2, (num_pairs, num, other))
    return torch.from_numpy(drawn).to(dtype)


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 5), st.floats(0.02, 2), st.integers(0, 100))
def test_value_and_alignment_are_those_of_all_alignments(num, other, smoothing, seed):
    cost = costs(1, num, other, seed)
    found = soft_dtw(cost, smoothing)
    ways = list(alignments(num, other))
    totals = torch.stack([torch.stack([cost[0, i, j] for i, j in way]).sum() for way in ways])
    assert float(found.value) == pytest.approx(
        float(-smoothing * torch.logsumexp(-totals / smoothing, 0))
    )
    expected = torch.zeros(num, other, dtype=torch.float64)
    for way, share in zip(ways, torch.softmax(-totals / smoothing, 0), strict=True):
        for i, j in way:
            expected[i, j] += share
    assert found.alignment[0] == pytest.approx(expected, abs=1e-9)


def test_clips_of_any_length_are_solved_together_as_alone():
    lengths = [(6, 4), (2, 5), (1, 1), (3, 5)]
    first = torch.arange(6) < torch.tensor([[n] for n, _ in lengths])
    second = torch.arange(5) < torch.tensor([[j] for _, j in lengths])
    cost = costs(4, 6, 5, dtype=torch.float32)
    spoiled = torch.where(pair_mask(first, second), cost, torch.nan)
    together = soft_dtw(spoiled, 0.1, allowed=pair_mask(first, second))
    for i, (n, j) in enumerate(lengths):
        alone = soft_dtw(cost[i : i + 1, :n, :j], 0.1)
        assert float(together.value[i]) == pytest.approx(float(alone.value[0]), abs=1e-5)
        assert together.alignment[i, :n, :j] == pytest.approx(alone.alignment[0], abs=1e-5)
        assert float(together.alignment[i].sum()) == pytest.approx(
            float(alone.alignment[0].sum()), abs=1e-4
        )


def test_the_gradient_is_that_of_finite_differences():
    cost = costs(2, 4, 5).requires_grad_()
    allowed = pair_mask(
        torch.arange(4) < torch.tensor([[4], [2]]), torch.arange(5) < torch.tensor([[5], [3]])
    )
    assert torch.autograd.gradcheck(lambda c: soft_dtw(c, 0.2, allowed=allowed).value, (cost,))


@pytest.mark.parametrize("smoothing", [1.0, 0.005])
def test_float32_is_as_good_as_float64(smoothing):
    cost = costs(4, 60, 45)
    single, double = soft_dtw(cost.float(), smoothing), soft_dtw(cost, smoothing)
    assert single.value.double() == pytest.approx(double.value, rel=1e-5, abs=1e-4)
    assert single.alignment.double() == pytest.approx(double.alignment, abs=5e-3)


def test_order_counts_and_speed_does_not():
    clip = torch.randn(1, 20, 6, generator=torch.Generator().manual_seed(0)).cumsum(1)
    slower = clip.repeat_interleave(2, 1)
    same, slow, reversed_ = (
        float(soft_dtw(frame_costs(clip, other), 1e-4).value)
        for other in (clip, slower, clip.flip(1))
    )
    assert same == pytest.approx(0, abs=1e-2)
    assert slow == pytest.approx(0, abs=2e-2)
    assert reversed_ > 1


def test_what_is_refused():
    with pytest.raises(ValueError) as error:
        soft_dtw(torch.full((1, 2, 2), torch.nan), 0.1)
    assert str(error.value) == "`cost` must hold finite numbers only where frames may be matched."
    with pytest.raises(ValueError) as error:
        soft_dtw(torch.zeros(1, 2, 2), 0.1, allowed=torch.zeros(1, 2, 2, dtype=torch.bool))
    assert str(error.value) == "`allowed` must leave each pair a cell: a clip has no frames."
    with pytest.raises(ValueError) as error:
        soft_dtw(torch.zeros(1, 2, 2), 0.0)
    assert str(error.value) == "`smoothing` must be above 0, got 0.0."

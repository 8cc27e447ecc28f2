"""Tests for sinkhorn.py: against POT in float64, by identities, and for what is refused."""

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.frame_costs import frame_costs, pair_mask
from robopref.sinkhorn import SinkhornConfig, transport, transport_cost

SIZES = st.integers(1, 12)


def costs(num_pairs, num, other, seed=0, *, drift=True, dtype=torch.float32):
    rng = np.random.default_rng(seed)
    clips = [rng.standard_normal((num_pairs, n, 8)) for n in (num, other)]
    first, second = (torch.from_numpy(x.cumsum(1) if drift else x).to(dtype) for x in clips)
    return frame_costs(first, second)


def reference(cost, regularisation):
    """Return POT's plan, in the log domain and float64."""
    num, other = cost.shape
    return ot.sinkhorn(
        np.full(num, 1 / num), np.full(other, 1 / other), cost.double().numpy(), regularisation,
        method="sinkhorn_log", numItermax=20000, stopThr=1e-10, warn=False,
    )  # fmt: skip


@settings(max_examples=25, deadline=None)
@given(SIZES, SIZES, st.sampled_from([1.0, 0.1, 0.03]), st.integers(0, 100))
def test_the_plan_is_that_of_pot(num, other, regularisation, seed):
    cost = costs(3, num, other, seed)
    found = transport(cost, SinkhornConfig(regularisation))
    for plan, each in zip(found.plan, cost, strict=True):
        expected = torch.from_numpy(reference(each, regularisation)).float()
        assert plan == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("drift", [True, False])
@pytest.mark.parametrize("regularisation", [0.05, 0.01, 0.005])
def test_float32_stays_within_1e_4_of_float64(regularisation, drift):
    cost = costs(4, 45, 45, drift=drift)
    single = transport(cost, SinkhornConfig(regularisation))
    double = transport(cost.double(), SinkhornConfig(regularisation, tolerance=1e-9))
    assert float(double.error.max()) < 1e-9
    assert float(single.error.max()) < 1e-5
    for name in ("regularised", "cost"):
        a, b = (
            x.regularised if name == "regularised" else transport_cost(c, x.plan).sum(1)
            for x, c in ((single, cost), (double, cost.double()))
        )
        assert a.double() == pytest.approx(b, abs=1e-5)
    assert single.plan.double() == pytest.approx(double.plan, abs=1e-4)


@pytest.mark.parametrize("drift", [True, False])
def test_the_strictest_float64_solution_is_that_of_pot(drift):
    cost = costs(2, 20, 17, drift=drift, dtype=torch.float64)
    found = transport(cost, SinkhornConfig(0.02, tolerance=1e-9))
    for plan, each in zip(found.plan, cost, strict=True):
        assert plan == pytest.approx(torch.from_numpy(reference(each, 0.02)), abs=1e-7)


def test_clips_of_any_length_are_solved_together_as_alone():
    first = torch.arange(9) < torch.tensor([[9], [4], [1]])
    second = torch.arange(7) < torch.tensor([[5], [7], [2]])
    cost = costs(3, 9, 7)
    spoiled = torch.where(pair_mask(first, second), cost, torch.nan)
    together = transport(spoiled, SinkhornConfig(0.05), allowed=pair_mask(first, second))
    for i, (n, j) in enumerate([(9, 5), (4, 7), (1, 2)]):
        alone = transport(cost[i : i + 1, :n, :j], SinkhornConfig(0.05))
        assert together.plan[i, :n, :j] == pytest.approx(alone.plan[0], abs=1e-5)
        assert float(together.plan[i].sum()) == pytest.approx(1, abs=1e-5)
        assert float(together.regularised[i]) == pytest.approx(
            float(alone.regularised[0]), abs=1e-5
        )


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_are_those_of_finite_differences(masked):
    cost = costs(2, 5, 4, dtype=torch.float64).requires_grad_()
    allowed = None
    if masked:
        allowed = pair_mask(
            torch.arange(5) < torch.tensor([[5], [3]]), torch.arange(4) < torch.tensor([[3], [4]])
        )
    config = SinkhornConfig(0.1, tolerance=1e-13)

    def values(cost):
        found = transport(cost, config, allowed=allowed)
        return found.plan * torch.arange(20).view(5, 4), found.regularised

    assert torch.autograd.gradcheck(values, (cost,), atol=1e-6)


def test_gradients_stay_finite_where_the_plan_is_nearly_a_permutation():
    clip = torch.randn(2, 30, 8, generator=torch.Generator().manual_seed(0)).cumsum(1)
    cost = frame_costs(clip, clip).requires_grad_()
    found = transport(cost, SinkhornConfig(0.005))
    (transport_cost(cost, found.plan).sum() + found.regularised.sum()).backward()
    assert cost.grad is not None
    assert torch.isfinite(cost.grad).all()


@settings(max_examples=20, deadline=None)
@given(SIZES, SIZES, st.integers(0, 100))
def test_rows_and_columns_of_any_plan_have_their_masses(num, other, seed):
    plan = transport(costs(2, num, other, seed), SinkhornConfig(0.01)).plan
    assert (plan >= 0).all()
    assert plan.sum(2) == pytest.approx(torch.full((2, num), 1 / num), abs=1e-6)
    assert plan.sum(1) == pytest.approx(torch.full((2, other), 1 / other), abs=2e-5)


def test_the_regularised_cost_bounds_that_of_the_plan():
    cost = costs(6, 20, 15)
    blurred, sharp = (transport(cost, SinkhornConfig(eps)) for eps in (1.0, 0.01))
    assert (blurred.regularised >= transport_cost(cost, sharp.plan).sum(1) - 1e-5).all()
    independent = cost.mean((1, 2))
    assert (blurred.regularised <= independent + 1e-5).all()


def test_a_constant_cost_gives_the_independent_plan():
    found = transport(torch.full((1, 4, 3), 0.7), SinkhornConfig(0.005))
    assert found.plan == pytest.approx(torch.full((1, 4, 3), 1 / 12), abs=1e-6)
    assert float(found.regularised) == pytest.approx(0.7, abs=1e-5)


def test_what_is_refused():
    cost = torch.zeros(2, 3, 3)
    cost[1, 0, 0] = torch.inf
    with pytest.raises(ValueError) as error:
        transport(cost, SinkhornConfig())
    assert str(error.value) == "`cost` must hold finite numbers only where mass may go."
    with pytest.raises(ValueError) as error:
        transport(cost, SinkhornConfig(), allowed=torch.zeros_like(cost, dtype=torch.bool))
    assert str(error.value) == "`allowed` must leave each pair a cell: a clip has no frames."
    with pytest.raises(ValueError) as error:
        SinkhornConfig(regularisation=0.0)
    assert str(error.value) == "`regularisation` must be above 0, got 0.0."


def test_two_clusters_far_apart_are_solved_or_said_not_to_be():
    """Mass has to cross at a cost of many epsilons; kernels underflow on the way."""
    cost = torch.full((1, 30, 30), 2.0)
    cost[:, :10, :20] = 0.0
    cost[:, 10:, 20:] = 0.0
    cost += 0.01 * costs(1, 30, 30, drift=False)
    found = transport(cost, SinkhornConfig(0.005))
    assert torch.isfinite(found.plan).all()
    assert float(found.error) < 1e-4
    exact = ot.emd2([], [], cost[0].double().numpy())
    assert float(transport_cost(cost, found.plan).sum()) == pytest.approx(exact, abs=0.02)

"""Tests for transport.py: against POT, on problems of known answer, and for what is refused."""

from typing import Any

import numpy as np
import ot
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.transport import Problem, SolverConfig, align_sets
from robopref.transport_starts import make_starts, profile_costs
from robopref.vertices import LARGE, cheapest_couplings, cheapest_matchings

SOLVERS = ("conditional-gradient", "proximal", "entropic")
PROXIMAL = SolverConfig("proximal", strength=0.05, max_iterations=300)


def distances(num, seed, dims=3, dtype=torch.float64):
    x = torch.from_numpy(np.random.default_rng(seed).standard_normal((num, dims))).to(dtype)
    found = torch.cdist(x, x)
    return (found + found.T) / 2 / found.max()


def masses(num, seed):
    drawn = np.random.default_rng(seed).uniform(0.5, 1.5, num)
    return torch.from_numpy(drawn / drawn.sum())


@pytest.mark.parametrize("weight", [1.0, 0.4])
@pytest.mark.parametrize("num", [12, 9])
def test_conditional_gradient_ends_where_that_of_pot_ends(num, weight):
    first, second = distances(12, 0), distances(num, 1)
    cost = torch.from_numpy(np.random.default_rng(2).uniform(size=(12, num)))
    p, q = (None, None) if num == 12 else (masses(12, 3), masses(num, 4))
    problem = Problem(
        first, second, feature_cost=cost, structure_weight=weight, first_mass=p, second_mass=q
    )
    starts = make_starts(problem, 8, np.random.default_rng(5))
    found = align_sets(problem, starts)
    for start, plan, loss in zip(starts, found.plan, found.loss, strict=True):
        log: Any
        _, log = ot.gromov.fused_gromov_wasserstein(
            cost.numpy(), first.numpy(), second.numpy(), problem.first_mass.numpy(),
            problem.second_mass.numpy(), alpha=weight, G0=start.numpy(), log=True, symmetric=True,
        )  # fmt: skip
        assert float(loss) == pytest.approx(float(log["fgw_dist"]), abs=1e-6)
        direct = (first[:, :, None, None] - second[None, None]).square()
        again = torch.einsum("abcd,ac,bd->", direct, plan, plan)
        features = (cost * plan).sum()
        assert float(loss) == pytest.approx(float(weight * again + (1 - weight) * features))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Sinkhorn did not converge")
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_the_proximal_method_finds_as_good_plans_as_pot():
    first, second = distances(10, 0), distances(10, 1)
    problem = Problem(first, second)
    starts = make_starts(problem, 2, np.random.default_rng(2))[1:]
    found = align_sets(problem, starts, PROXIMAL)
    for start, loss in zip(starts, found.loss, strict=True):
        log: Any
        _, log = ot.gromov.entropic_gromov_wasserstein(
            first.numpy(), second.numpy(), epsilon=0.05, solver="PPA", G0=start.numpy(), log=True,
            max_iter=300, tol=1e-9,
        )  # fmt: skip
        assert float(loss) <= float(log["gw_dist"]) + 2e-4


@pytest.mark.parametrize("strength", [0.05, 0.1])
@pytest.mark.filterwarnings("ignore:Sinkhorn did not converge")
def test_the_entropic_method_ends_where_that_of_pot_ends(strength):
    first, second = distances(10, 0), distances(10, 1)
    problem = Problem(first, second)
    starts = make_starts(problem, 4, np.random.default_rng(2))[1:]
    found = align_sets(problem, starts, SolverConfig("entropic", strength, max_iterations=300))
    for start, plan in zip(starts, found.plan, strict=True):
        expected: Any = ot.gromov.entropic_gromov_wasserstein(
            first.numpy(), second.numpy(), epsilon=strength, solver="PGD", G0=start.numpy(),
            max_iter=300, tol=1e-9,
        )  # fmt: skip
        np.testing.assert_allclose(plan, expected, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from(SOLVERS), st.integers(0, 99))
def test_plans_have_the_masses_and_no_loss_rises(num, other, solver, seed):
    problem = Problem(
        distances(num, seed), distances(other, seed + 1), first_mass=masses(num, seed),
        second_mass=masses(other, seed),
    )  # fmt: skip
    starts = make_starts(problem, 3, np.random.default_rng(seed))
    found = align_sets(problem, starts, SolverConfig(solver, strength=0.1, max_iterations=50))
    torch.testing.assert_close(found.plan.sum(2), problem.first_mass.expand(3, -1))
    torch.testing.assert_close(found.plan.sum(1), problem.second_mass.expand(3, -1))
    assert (found.plan >= 0).all()
    if solver == "conditional-gradient":
        assert (found.loss <= problem.loss(starts, problem.product(starts)) + 1e-12).all()


@pytest.mark.parametrize("num", [40, LARGE])
def test_a_shuffled_copy_is_recognised_by_its_profiles(num):
    first = distances(num, 0)
    order = torch.from_numpy(np.random.default_rng(1).permutation(num))
    problem = Problem(first, first[order][:, order])
    found = align_sets(problem, make_starts(problem, 1, np.random.default_rng(2)))
    assert torch.equal(found.plan[0].argmax(0), order)
    assert float(found.loss[0]) == pytest.approx(0, abs=1e-12)
    assert profile_costs(first[None], first[None])[0].diagonal().abs().max() < 1e-12


@settings(max_examples=20, deadline=None)
@given(st.sampled_from([1, 2, 5, LARGE]), st.booleans(), st.integers(0, 99))
def test_matchings_are_the_couplings_of_equal_masses(num, shared, seed):
    """What is computed from N numbers is what the whole tables give."""
    rng = torch.Generator().manual_seed(seed)
    cost = torch.randn(2, num, num, generator=rng, dtype=torch.float64)
    mass = torch.full((num,), 1 / num, dtype=torch.float64)
    found, whole = cheapest_matchings(cost), cheapest_couplings(cost, mass, mass)
    torch.testing.assert_close(found.dense(), whole.dense())
    torch.testing.assert_close(found.dot(cost), whole.dot(cost))
    sets = torch.stack([torch.nan_to_num(distances(num, seed + n)) for n in (0, 1)])
    first, second = (sets[:1], sets[1:]) if shared else (sets, sets.flip(0))
    torch.testing.assert_close(found.product(first, second), whole.product(first, second))
    plan, step = mass.expand(2, num, num) / num, torch.tensor([0.3, 1.0], dtype=torch.float64)
    torch.testing.assert_close(found.approach(plan, step), whole.approach(plan, step))


def test_many_problems_are_solved_as_each_by_itself():
    first = torch.stack([distances(8, seed) for seed in range(4)])
    second = torch.stack([distances(8, seed + 10) for seed in range(4)])
    together = Problem(first, second)
    starts = together.independent.expand(4, -1, -1)
    found = align_sets(together, starts)
    for index in range(4):
        alone = align_sets(Problem(first[index], second[index]), starts[:1])
        torch.testing.assert_close(found.loss[index], alone.loss[0])


def test_nothing_tells_a_set_from_its_mirror_image():
    """The sign ambiguity: a set of rewards and the same set negated lie at no distance."""
    values = torch.tensor([[0.0], [1.0], [2.5], [4.0], [7.0]], dtype=torch.float64)
    problem = Problem(torch.cdist(values, values), torch.cdist(-values, -values))
    right = torch.eye(5, dtype=torch.float64) / 5
    assert float(problem.loss(right[None], problem.product(right[None]))) == pytest.approx(0)


@pytest.mark.parametrize(
    ("first", "options", "message"),
    [
        (torch.full((3, 3), torch.nan), {}, "`first` must hold finite numbers only."),
        (torch.rand(3, 4), {},
         "`first` must hold symmetric distances, one row and column an item."),
        (distances(3, 0), {"first_mass": torch.tensor([0.5, 0.5, 0.5])},
         "`first_mass` must hold 3 masses above 0 that sum to 1."),
        (distances(3, 0), {"feature_cost": torch.zeros(2, 4)},
         "`feature_cost` must have shape (3, 4) to match the sets, got (2, 4)."),
        (distances(3, 0), {"structure_weight": 2.0},
         "`structure_weight` must be between 0 and 1, got 2.0."),
    ],
)  # fmt: skip
def test_what_is_no_problem_is_refused(first, options, message):
    with pytest.raises(ValueError) as error:
        Problem(first, distances(4, 1), **options)
    assert str(error.value) == message


def test_starts_and_solvers_that_do_not_fit_are_refused():
    batch = Problem(distances(3, 0).expand(2, -1, -1), distances(4, 1))
    cases = [
        (lambda: make_starts(batch, 2, np.random.default_rng(0)),
         "`problem` must be one problem, got a batch of 2."),
        (lambda: align_sets(batch, torch.full((3, 3, 4), 1 / 12, dtype=torch.float64)),
         "`starts` must be as many as the problems (=2), got 3."),
        (lambda: SolverConfig(strength=0), "`strength` must be above 0, got 0."),
    ]  # fmt: skip
    for call, message in cases:
        with pytest.raises(ValueError) as error:
            call()
        assert str(error.value) == message

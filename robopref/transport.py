r"""Gromov-Wasserstein alignment of two sets, many problems and many starts at once.

Two sets that share no space are compared by the distances inside each: a coupling T is good where
what is close in one set is matched with what is close in the other. The objective is
$$\alpha \sum_{ii'jj'} |C^1_{ii'} - C^2_{jj'}|^2 T_{ij} T_{i'j'} + (1 - \alpha) \sum_{ij} F_{ij}
T_{ij}$$ ([1], eq. 5; fused with a cost F between the sets: [2], eq. 3). It is not convex, so that
the start decides what is found; nothing in it tells a set from its mirror image.

POT solves one problem at a time. Here a batch is solved together: conditional gradient [2], whose
linear problems are assignments, and the proximal point method [3] or the entropic one [1], whose
inner problems are Sinkhorn iterations. Sets too large for their distances are quantised first,
in `robopref.quantised_transport`.

Shapes: B problems, N items of the first set, J of the second, R representatives, F features, Q
quantiles.
Notation: code name -> symbol: first, second -> C^1, C^2; structure_weight -> alpha; plan -> T.

References:
    [1] Peyre, Cuturi and Solomon, Gromov-Wasserstein averaging of kernel and distance matrices,
        2016.
    [2] Vayer et al., Optimal transport for structured data, 2019, arXiv:1805.09114.
    [3] Xu et al., Gromov-Wasserstein learning for graph matching and node embedding, 2019,
        arXiv:1901.06003, algorithm 1.
"""

import copy
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.errors import check_above, check_at_least, check_between, check_choice
from robopref.vertices import Vertices, cheapest_couplings, cheapest_matchings

Solver = Literal["conditional-gradient", "proximal", "entropic"]
ROUNDING = 1e-13
"""A loss of so small a share of what it is computed from is none."""
TINY = 1e-300
"""Keeps logarithms and quotients of empty cells finite; far below any mass that counts."""


@dataclass(frozen=True)
class SolverConfig:
    """How a Gromov-Wasserstein problem is solved."""

    solver: Solver = "conditional-gradient"
    """conditional-gradient: assignments, exact line search; proximal: KL proximal point method;
    entropic: Sinkhorn with an entropy term, which blurs the plan."""
    strength: float = 0.05
    """Of the proximal or entropic term; distances count as if their largest were 1."""
    max_iterations: int = 200
    """Outer iterations at most."""
    inner_iterations: int = 30
    """Sinkhorn iterations in each of them."""
    tolerance: float = 1e-9
    """Stop where the objective falls by a smaller share than this."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("solver", self.solver, get_args(Solver))
        for name in ("max_iterations", "inner_iterations"):
            check_at_least(name, getattr(self, name), 1)
        check_above("strength", self.strength, 0)
        check_at_least("tolerance", self.tolerance, 0)


@dataclass(frozen=True, eq=False)
class Alignment:
    """Couplings that a solver ended with.

    Args:
        plan: Couplings; rows and columns sum to the masses of the items.
        loss: Objective of each.
        iterations: Outer iterations until the last of them stood still.
    """

    plan: Float[Tensor, "B N J"]
    loss: Float[Tensor, " B"]
    iterations: int


class Problem:
    """A Gromov-Wasserstein problem, or B of one size.

    Args:
        first: Symmetric distances inside the first set, (N, N) or (B, N, N).
        second: The same of the second set, (J, J) or (B, J, J).
        feature_cost: Costs between the sets, (N, J) or (B, N, J), of the fused problem.
        structure_weight: How much the distances count; the costs count for the rest.
        first_mass: Masses of the items of the first set, which sum to 1; None for equal ones.
        second_mass: The same of the second set.

    Raises:
        ValueError: Shapes do not fit, a number is not finite, distances are not symmetric, or
            masses are not above 0 or do not sum to 1.
    """

    def __init__(
        self,
        first: Tensor,
        second: Tensor,
        *,
        feature_cost: Tensor | None = None,
        structure_weight: float = 1.0,
        first_mass: Tensor | None = None,
        second_mass: Tensor | None = None,
    ) -> None:
        check_between("structure_weight", structure_weight, 0, 1)
        self.first, self.second = _distances("first", first), _distances("second", second)
        self.first_mass = _masses("first_mass", first_mass, self.first)
        self.second_mass = _masses("second_mass", second_mass, self.second)
        self.structure_weight = structure_weight
        num = (self.first.shape[-1], self.second.shape[-1])
        cost = torch.zeros(num) if feature_cost is None else feature_cost
        self.feature_cost = _finite("feature_cost", cost.to(self.first.device))
        if self.feature_cost.shape[-2:] != num:
            raise ValueError(
                f"`feature_cost` must have shape {num} to match the sets, "
                f"got {tuple(cost.shape[-2:])}."
            )
        # Constant over all couplings, and so not in the gradients below.
        self._constant = (
            self.first.square() @ self.first_mass @ self.first_mass
            + self.second.square() @ self.second_mass @ self.second_mass
        )  # fmt: skip
        self.is_assignment = num[0] == num[1] and first_mass is None and second_mass is None
        self.batch = max(len(x) for x in (self.first, self.second, self.feature_cost))

    @property
    def independent(self) -> Float[Tensor, "N J"]:
        """The coupling that matches everything with everything."""
        return self.first_mass[:, None] * self.second_mass

    def at(self, index: Tensor) -> "Problem":
        """Return the problems at `index`."""
        part = copy.copy(self)
        for name in ("first", "second", "feature_cost", "_constant"):
            value = getattr(self, name)
            setattr(part, name, value if len(value) == 1 else value[index])
        return part

    def product(self, plan: Float[Tensor, "B N J"]) -> Float[Tensor, "B N J"]:
        """Return C^1 T C^2, which the loss and its gradient are made of."""
        return self.first @ plan @ self.second

    def loss(
        self, plan: Float[Tensor, "B N J"], product: Float[Tensor, "B N J"]
    ) -> Float[Tensor, " B"]:
        """Return the objective of couplings; `product` is theirs."""
        structure = self._constant - 2 * _dot(product, plan)
        features = (self.feature_cost * plan).sum((1, 2))
        return self.structure_weight * structure + (1 - self.structure_weight) * features

    def gradient(self, product: Float[Tensor, "B N J"]) -> Float[Tensor, "B N J"]:
        """Return the gradient, less what is the same for all couplings."""
        weight = self.structure_weight
        return (1 - weight) * self.feature_cost - 4 * weight * product

    def cheapest(self, cost: Float[Tensor, "B N J"]) -> Vertices:
        """Return the couplings of least linear cost."""
        if self.is_assignment:
            return cheapest_matchings(cost)
        return cheapest_couplings(cost, self.first_mass, self.second_mass)

    def least(self) -> Tensor:
        """Return a loss that is as good as none, (B) or (1); -inf where costs may be negative."""
        if self.structure_weight < 1:
            return torch.full_like(self._constant, -torch.inf)
        return ROUNDING * self._constant


def align_sets(
    problem: Problem, starts: Float[Tensor, "B N J"], config: SolverConfig | None = None
) -> Alignment:
    """Return the couplings that are reached from the starts.

    Args:
        problem: One problem, for all starts, or as many as there are starts.
        starts: Couplings to begin with.
        config: How to solve.

    Raises:
        ValueError: The numbers of problems and starts differ.
    """
    config = config if config is not None else SolverConfig()
    if problem.batch not in (1, len(starts)):
        raise ValueError(
            f"`starts` must be as many as the problems (={problem.batch}), got {len(starts)}."
        )
    plans = starts.clone()
    advance = _descend if config.solver == "conditional-gradient" else _scale
    iteration = 0
    product, scale = problem.product(plans), torch.ones_like(plans[:, 0])
    losses = problem.loss(plans, product)
    moving = (losses > problem.least()).nonzero()[:, 0]
    product, scale = product[moving], scale[moving]
    while len(moving) and iteration < config.max_iterations:
        iteration += 1
        part = problem.at(moving)
        plan, product, scale = advance(part, plans[moving], product, scale, config)
        loss = part.loss(plan, product)
        goes_on = (losses[moving] - loss).abs() > config.tolerance * loss.abs()
        goes_on &= loss > part.least()
        plans[moving], losses[moving] = plan, loss
        moving, product, scale = moving[goes_on], product[goes_on], scale[goes_on]
    return Alignment(plans, losses, iteration)


def _descend(
    problem: Problem, plan: Tensor, product: Tensor, scale: Tensor, config: SolverConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Go towards the best vertex, as far as is best: on the way the objective is a parabola."""
    gradient = problem.gradient(product)
    vertex = problem.cheapest(gradient)
    towards = vertex.product(problem.first, problem.second)
    # <C1 V C2, T> is <C1 T C2, V>, as distances are symmetric: few cells are summed.
    inner = _dot(product, plan)
    linear = vertex.dot(gradient) - _dot(gradient, plan)
    curvature = vertex.dot(towards) - 2 * vertex.dot(product) + inner
    quadratic = -2 * problem.structure_weight * curvature
    best = (-linear / (2 * quadratic).clamp_min(TINY)).clamp(0, 1)
    step = torch.where(quadratic > 0, best, (linear + quadratic < 0).double())
    product = product.lerp(towards, step[:, None, None])
    return vertex.approach(plan, step), product, scale


def _dot(a: Float[Tensor, "B N J"], b: Float[Tensor, "B N J"]) -> Float[Tensor, " B"]:
    """Return sums of products."""
    products: Tensor = torch.linalg.vecdot(a.flatten(1), b.flatten(1))
    return products


def _scale(
    problem: Problem, plan: Tensor, product: Tensor, column: Tensor, config: SolverConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """Take one proximal or entropic step: scale the kernel's rows and columns to the masses.

    The scales of the step before are where this one begins: near the end they hardly change.
    """
    strength = config.strength * (problem.first.amax() * problem.second.amax()).clamp_min(TINY)
    slope = problem.gradient(product) / strength
    kernel = (slope.amin((1, 2), keepdim=True) - slope).exp()
    if config.solver == "proximal":
        kernel = kernel * plan
    kernel = kernel.clamp_min(TINY)
    row = torch.ones_like(kernel[:, :, 0])
    for _ in range(config.inner_iterations):
        row = problem.first_mass / (kernel @ column[..., None])[..., 0].clamp_min(TINY)
        column = problem.second_mass / (row[:, None] @ kernel)[:, 0].clamp_min(TINY)
    column = column / column.amax(1, keepdim=True).clamp_min(TINY)
    scaled = row[..., None] * kernel * column[:, None]
    plan = _to_masses(scaled / scaled.sum((1, 2), keepdim=True), problem)
    return plan, problem.product(plan), column


def _to_masses(plan: Float[Tensor, "B N J"], problem: Problem) -> Float[Tensor, "B N J"]:
    """Return the plan with exactly the masses of the items as sums (Altschuler et al. 2017)."""
    row = (problem.first_mass / plan.sum(2).clamp_min(TINY)).clamp_max(1)
    plan = plan * row[..., None]
    column = (problem.second_mass / plan.sum(1).clamp_min(TINY)).clamp_max(1)
    plan = plan * column[:, None]
    missing_row = (problem.first_mass - plan.sum(2)).clamp_min(0)
    missing_column = (problem.second_mass - plan.sum(1)).clamp_min(0)
    missing = missing_row.sum(1).clamp_min(TINY)[:, None, None]
    return plan + missing_row[..., None] * missing_column[:, None] / missing


def _finite(name: str, values: Tensor) -> Tensor:
    """Return the values as a batch of float64 matrices."""
    values = values.double()
    if not torch.isfinite(values).all():
        raise ValueError(f"`{name}` must hold finite numbers only.")
    return values if values.ndim == 3 else values[None]


def _distances(name: str, values: Tensor) -> Tensor:
    values = _finite(name, values)
    square = values.shape[-1] == values.shape[-2]
    if not square or not (torch.equal(values, values.mT) or torch.allclose(values, values.mT)):
        raise ValueError(f"`{name}` must hold symmetric distances, one row and column an item.")
    return values


def _masses(name: str, masses: Tensor | None, distances: Tensor) -> Tensor:
    num = distances.shape[-1]
    if masses is None:
        return torch.full((num,), 1 / num, dtype=torch.float64, device=distances.device)
    masses = masses.double().to(distances.device)
    if masses.shape != (num,) or not (masses > 0).all() or abs(float(masses.sum()) - 1) > 1e-9:
        raise ValueError(f"`{name}` must hold {num} masses above 0 that sum to 1.")
    return masses

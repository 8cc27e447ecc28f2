r"""Entropic optimal transport between sets of frames, many pairs at once, in float32.

The plan minimises $\langle P, C \rangle + \epsilon\, \mathrm{KL}(P \,|\, a b^T)$ with equal masses.
Row potentials are eliminated, which leaves a concave function of the column potentials g,
$$\langle b, g \rangle - \epsilon \sum_i a_i \log \sum_j e^{(g_j - C_{ij}) / \epsilon}.$$
Sinkhorn's iteration climbs it and is cheap while it contracts well; where it does not, which is the
rule for small $\epsilon$, damped Newton steps end in a few. Both multiply a kernel into which the
potentials have been absorbed [1]: nothing overflows, and increments are exact where the potentials
themselves have lost digits, so that float32 suffices. The start comes from larger $\epsilon$.

Shapes: B pairs, N frames of the first of each, J of the second.
Notation: code name -> symbol: potential -> g / epsilon, logits -> -C / epsilon.

References:
    [1] Schmitzer, Stabilized sparse scaling algorithms for entropy regularized transport problems,
        2019, arXiv:1610.06519.
    [2] Feydy et al., Interpolating between optimal transport and MMD using Sinkhorn divergences,
        2019, arXiv:1810.08278.
    [3] Luise et al., Differential properties of Sinkhorn approximation for learning with
        Wasserstein distance, 2018, arXiv:1805.11897, section 4 (the plan by implicit
        differentiation).
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.errors import check_above, check_at_least
from robopref.frame_costs import check_cells

TINY = 1e-30
"""Keeps quotients and logarithms of empty columns finite."""
LARGEST_SCALE = 20.0
"""Scales beyond e to this are absorbed into the kernel: float32 holds e^88."""
CELLS_AT_ONCE = 1 << 17
"""Cells of the kernels that are worked on together: they stay in the cache of one core."""
WIDE = 50.0
"""Spread of costs, in units of epsilon, beyond which one starts from larger epsilons."""
BLOCK = 8
"""Sinkhorn iterations between two looks at the error."""
NEWTON_WORTH = 200
"""Sinkhorn iterations for which a few Newton steps are had."""
HOPELESS = 1e6
"""Damping at which Newton steps end: what error is left is that of the arithmetic."""
LARGEST_STEP = 10.0
"""No potential moves further in one Newton step, in units of epsilon."""


@dataclass(frozen=True)
class SinkhornConfig:
    """An entropic transport problem and how well it is solved."""

    regularisation: float = 0.05
    """epsilon, in the units of the cost; the plan blurs with it."""
    tolerance: float = 1e-5
    """Largest sum of the differences between a plan's column sums and the masses."""
    max_iterations: int = 1000
    """Of Sinkhorn's iterations and Newton's steps together."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("regularisation", self.regularisation, 0)
        check_above("tolerance", self.tolerance, 0)
        check_at_least("max_iterations", self.max_iterations, 1)


@dataclass(frozen=True, eq=False)
class Transport:
    """Plans and what they cost.

    Args:
        plan: Rows sum to the masses exactly, columns within the tolerance. Differentiable.
        regularised: The minimum, cost and entropy. Its gradient is the plan and costs nothing.
        error: Sum of the differences of each plan's column sums from the masses.
    """

    plan: Float[Tensor, "B N J"]
    regularised: Float[Tensor, " B"]
    error: Float[Tensor, " B"]


def transport(
    cost: Float[Tensor, "B N J"],
    config: SinkhornConfig,
    *,
    allowed: Bool[Tensor, "B N J"] | None = None,
) -> Transport:
    """Return the transport plans of least cost and entropy.

    Args:
        cost: What it costs to match two frames.
        config: Strength of the entropy, and precision.
        allowed: Where mass may go. Rows and columns without such a cell are padding and have no
            mass; the others of a pair have equal masses. None for everywhere.

    Raises:
        ValueError: A cost that counts is not finite, or a pair has no frames.
    """
    if allowed is not None:
        check_cells(allowed)
        # A cost outside must not reach a sum or a gradient, whatever it is.
        cost = cost.masked_fill(~allowed, 0.0)
    if not bool(torch.isfinite(cost.detach().sum())):
        raise ValueError("`cost` must hold finite numbers only where mass may go.")
    plan, value, error = _Plan.apply(cost, allowed, config)
    if cost.requires_grad:
        # The gradient of a minimum is that of the objective at it ([2], eq. 14).
        value = value + ((cost - cost.detach()) * plan.detach()).sum((1, 2))
    return Transport(plan, value, error)


def transport_cost(cost: Float[Tensor, "B N J"], plan: Float[Tensor, "B N J"]) -> Tensor:
    """Return what each frame of the first of each pair costs by a plan, (B, N)."""
    return torch.where(plan > 0, cost * plan, 0.0).sum(2)


class _Plan(torch.autograd.Function):
    """The plan as a function of the cost; backward by the implicit function theorem [3]."""

    @staticmethod
    def forward(
        context: Any, cost: Tensor, allowed: Tensor | None, config: SinkhornConfig
    ) -> tuple[Tensor, Tensor, Tensor]:
        at_once = max(1, CELLS_AT_ONCE // (cost.shape[1] * cost.shape[2]))
        parts = [
            _Solver(cost[i : i + at_once], None if allowed is None else allowed[i : i + at_once],
                    config).solve()
            for i in range(0, len(cost), at_once)
        ]  # fmt: skip
        solved = zip(*parts, strict=True)
        plan, value, error = (x[0] if len(x) == 1 else torch.cat(x) for x in solved)
        context.save_for_backward(plan)
        context.regularisation = config.regularisation
        context.mark_non_differentiable(value, error)
        return plan, value, error

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor, None, None]:
        (plan,) = ctx.saved_tensors
        gradient = _plan_gradient(plan.double(), gradients[0].double(), ctx.regularisation)
        return gradient.to(plan.dtype), None, None


def _plan_gradient(
    plan: Float[Tensor, "B N J"], gradient: Float[Tensor, "B N J"], regularisation: float
) -> Float[Tensor, "B N J"]:
    """Return the gradient in the cost: the part of `gradient` that leaves the masses alone."""
    weighted = plan * gradient
    row_mass, column_mass = plan.sum(2), plan.sum(1)
    shares = plan / row_mass.clamp_min(TINY)[..., None]
    rows, columns = weighted.sum(2), weighted.sum(1)
    system = torch.diag_embed(column_mass) - shares.mT @ plan
    # Potentials are free up to a constant, and of padding altogether.
    scale = column_mass.amax(1)[:, None]
    system = system + scale[..., None] / plan.shape[2]
    system.diagonal(dim1=1, dim2=2).add_(torch.where(column_mass > 0, 1e-10 * scale, scale))
    known = columns - (rows[:, None] @ shares)[:, 0]
    second = torch.cholesky_solve(known[..., None], torch.linalg.cholesky(system))[..., 0]
    first = rows / row_mass.clamp_min(TINY) - (shares @ second[..., None])[..., 0]
    return (plan * (first[..., None] + second[:, None]) - weighted) / regularisation


class _Solver:
    """Some problems of one size while they are solved.

    The kernel is exp(logits + absorbed), each row divided by its largest entry; `scale` is what
    its columns are multiplied with since.
    """

    def __init__(self, cost: Tensor, allowed: Tensor | None, config: SinkhornConfig) -> None:
        self.config, self.allowed = config, allowed
        dtype = torch.promote_types(cost.dtype, torch.float32)
        self.logits = cost.to(dtype) / -config.regularisation
        self.spread = float(self.logits.amax() - self.logits.amin())
        rows, columns = (torch.ones_like(self.logits.select(axis, 0)) for axis in (2, 1))
        if allowed is not None:
            rows, columns = allowed.any(2).to(dtype), allowed.any(1).to(dtype)
            outside = torch.where(rows[..., None] > 0, -math.inf, 0.0)
            self.logits = torch.where(allowed, self.logits, outside)
        self.row_mass = rows / rows.sum(1, keepdim=True)
        self.column_mass = columns / columns.sum(1, keepdim=True)
        self.potential = torch.zeros_like(self.column_mass)
        self.scale = torch.ones_like(self.column_mass)
        self.iterations = 0

    def solve(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return plans, regularised costs and errors."""
        self._warm_start()
        self._iterate()
        self._newton()
        # In place: nothing needs the kernel any more.
        plan = self.kernel.mul_(self.scale[:, None]).mul_((self.row_mass / self.sums)[..., None])
        if self.allowed is not None:
            plan = plan.masked_fill_(~self.allowed, 0.0)
        potential = self.potential + (self.scale / self.column_mass.clamp_min(TINY)).log()
        value = torch.where(self.column_mass > 0, self.column_mass * potential, 0.0).sum(1)
        value = value - (self.row_mass * (self.sums.log() + self.top)).sum(1)
        return plan, self.config.regularisation * value, self.error

    def _warm_start(self) -> None:
        """Take Sinkhorn iterations at larger regularisations first, where they reach far."""
        for stage in range(max(0, math.ceil(math.log2(max(self.spread, 1.0) / WIDE))), 0, -1):
            factor = 2.0**stage
            for _ in range(2):
                logits = (self.logits + self.potential[:, None]) / factor
                shares = self.row_mass[:, None] @ torch.softmax(logits, 2)
                ratio = self.column_mass / shares[:, 0].clamp_min(TINY)
                self.potential += factor * ratio.clamp_min(TINY).log()
            self.potential -= self.potential.mean(1, keepdim=True)
        self._absorb()

    def _absorb(self) -> None:
        """Move the scales into the kernel."""
        self.potential = self.potential + self.scale.clamp_min(TINY).log()
        logits = self.logits + self.potential[:, None]
        self.top = logits.amax(2)
        # What underflows is held just above 0, so that no sum is 0.
        self.kernel = logits.sub_(self.top[..., None]).exp_().clamp_min_(TINY)
        self.scale = torch.ones_like(self.potential)
        self._measure()

    def _measure(self) -> None:
        """Work out row sums, column sums and errors for the present scales."""
        self.sums, self.columns = _marginals(self.kernel, self.scale, self.row_mass)
        self.error = (self.columns - self.column_mass).abs().sum(1)

    def _iterate(self) -> None:
        """Take Sinkhorn iterations as long as they promise to end soon."""
        before = self.error
        while self.iterations < self.config.max_iterations:
            start = self.scale
            self.scale = self.scale * self.column_mass / self.columns.clamp_min(TINY)
            for _ in range(BLOCK - 1):
                self._sweep()
            self._measure()
            self.iterations += BLOCK
            if not bool(torch.isfinite(self.error).all()):
                # Long steps from far away ran out of what a number holds; Newton's are damped.
                self.scale = start
                self._measure()
                return
            self._keep_in_range()
            missing = (self.error / self.config.tolerance).clamp_min(1).log()
            gained = (before / self.error.clamp_min(TINY)).log() / BLOCK
            if bool((missing <= 0).all()) or bool((missing > gained * NEWTON_WORTH).any()):
                return
            before = self.error

    def _sweep(self) -> None:
        """Give rows their masses, and columns more than what they lack.

        Half as much again: slow directions go half as fast again, and none turns around
        (Thibault et al. 2021, arXiv:1711.01851). It costs little more than the two products.
        """
        sums = torch.bmm(self.scale[:, None], self.kernel.mT)[:, 0]
        columns = torch.bmm((self.row_mass / sums)[:, None], self.kernel)[:, 0]
        ratio = self.column_mass / (columns * self.scale).clamp_min(TINY)
        self.scale = self.scale * ratio * ratio.sqrt()

    def _keep_in_range(self) -> None:
        real = self.column_mass > 0
        if float(torch.where(real, self.scale, 1.0).log().abs().amax()) > LARGEST_SCALE:
            self._absorb()

    def _newton(self) -> None:
        """Take damped Newton steps for the problems that are not solved yet."""
        damping = torch.full_like(self.error, 1e-3)
        while self.iterations < self.config.max_iterations:
            goes_on = (self.error > self.config.tolerance) & (damping < HOPELESS)
            open_ = torch.nonzero(goes_on)[:, 0]
            if not len(open_):
                return
            self.iterations += 1
            self._newton_step(open_, damping)
            self._keep_in_range()

    def _newton_step(self, index: Tensor, damping: Tensor) -> None:
        """Take a step where it climbs or comes nearer to the masses; elsewhere damp more."""
        kernel, scale, sums, columns, row_mass, column_mass = (
            x[index] for x in (self.kernel, self.scale, self.sums, self.columns, self.row_mass,
                               self.column_mass)
        )  # fmt: skip
        slope = column_mass - columns
        half = kernel * (row_mass.sqrt() / sums)[..., None] * scale[:, None]
        system = half.mT @ half
        ridge = columns + damping[index, None] * column_mass + (column_mass == 0)
        system = torch.diag_embed(ridge) - system
        factor, failed = torch.linalg.cholesky_ex(system)
        step = torch.cholesky_solve(slope[..., None], factor)[..., 0]
        step = step * (LARGEST_STEP / step.abs().amax(1, keepdim=True).clamp_min(TINY)).clamp_max(1)
        usable = (failed == 0) & torch.isfinite(step).all(1)
        step = torch.where(usable[:, None], step, 0.0)
        new_scale = scale * step.exp()
        new_sums, new_columns = _marginals(kernel, new_scale, row_mass)
        gain = (column_mass * step).sum(1) - (row_mass * (new_sums / sums).log()).sum(1)
        new_error = (new_columns - column_mass).abs().sum(1)
        # Below this a gain is what rounding makes of it.
        enough = (1e-4 * (slope * step).sum(1)).clamp_min(1e-6)
        taken = usable & ((gain >= enough) | (new_error < self.error[index]))
        damping[index] = (damping[index] * torch.where(taken, 0.1, 10.0)).clamp_min(1e-6)
        where = index[taken]
        self.scale[where], self.sums[where] = new_scale[taken], new_sums[taken]
        self.columns[where], self.error[where] = new_columns[taken], new_error[taken]


def _marginals(
    kernel: Float[Tensor, "B N J"], scale: Float[Tensor, "B J"], row_mass: Float[Tensor, "B N"]
) -> tuple[Float[Tensor, "B N"], Float[Tensor, "B J"]]:
    """Return the row sums of the scaled kernel, and the column sums once its rows have theirs."""
    # Ten times faster than the same product as a matrix times a column.
    sums = torch.bmm(scale[:, None], kernel.mT)[:, 0].clamp_min(TINY)
    columns = torch.bmm((row_mass / sums)[:, None], kernel)[:, 0] * scale
    return sums, columns

"""Vertices of the couplings of two sets: what a linear cost is least for, one for each of B.

Where both sets have equally many items of equal mass, a vertex matches each item with one other
(Birkhoff), and most of what conditional gradient does with it takes N numbers and not N x N.

Shapes: B problems, N items of the first set, J of the second.
Notation: code name -> symbol: first, second -> C^1, C^2; plan -> T; vertex -> V.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import ot
import torch
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment
from torch import Tensor

LARGE = 400
"""Items from which on the network simplex finds a matching sooner than shortest paths do."""


@runtime_checkable
class Vertices(Protocol):
    """Vertices, one for each of B problems."""

    def dense(self) -> Float[Tensor, "B N J"]:
        """Return them as couplings."""
        ...

    def dot(self, cost: Float[Tensor, "_ N J"]) -> Float[Tensor, " B"]:
        """Return the linear cost of each; one cost may be for all."""
        ...

    def product(
        self, first: Float[Tensor, "_ N N"], second: Float[Tensor, "_ J J"]
    ) -> Float[Tensor, "B N J"]:
        """Return C^1 V C^2; each of the two may be one for all."""
        ...

    def approach(
        self, plan: Float[Tensor, "B N J"], step: Float[Tensor, " B"]
    ) -> Float[Tensor, "B N J"]:
        """Return couplings a step nearer to them: at 0 the plan, at 1 the vertices."""
        ...


def cheapest_matchings(cost: Float[Tensor, "B N N"]) -> Vertices:
    """Return the vertices of least cost, where all items have the same mass."""
    # What is the same for all cells of a row or a column changes no matching, and without it the
    # paths to search are short: two to five times as fast at 64 items.
    level = cost - cost.mean(2, keepdim=True) - cost.mean(1, keepdim=True)
    level = level - level.amin(2, keepdim=True)
    level = level - level.amin(1, keepdim=True)
    columns = np.stack([_assign(values) for values in level.cpu().numpy()])
    return _Matchings(torch.from_numpy(columns).to(cost.device))


def cheapest_couplings(
    cost: Float[Tensor, "B N J"], first_mass: Float[Tensor, " N"], second_mass: Float[Tensor, " J"]
) -> Vertices:
    """Return the vertices of least cost, for items of these masses."""
    p, q = first_mass.cpu().numpy(), second_mass.cpu().numpy()
    plans = np.stack([ot.emd(p, q, values) for values in cost.cpu().numpy()])
    return _Couplings(torch.from_numpy(plans).to(cost.device))


def _assign(cost: Float[np.ndarray, "N N"]) -> Int[np.ndarray, " N"]:
    if len(cost) < LARGE:
        return np.asarray(linear_sum_assignment(cost)[1])
    columns: np.ndarray = ot.emd([], [], cost, check_marginals=False).argmax(1)
    return columns


@dataclass(frozen=True, eq=False)
class _Couplings:
    """Vertices in general."""

    plan: Float[Tensor, "B N J"]

    def dense(self) -> Tensor:
        return self.plan

    def dot(self, cost: Tensor) -> Tensor:
        return (cost * self.plan).sum((1, 2))

    def product(self, first: Tensor, second: Tensor) -> Tensor:
        return first @ self.plan @ second

    def approach(self, plan: Tensor, step: Tensor) -> Tensor:
        return plan.lerp(self.plan, step[:, None, None])


@dataclass(frozen=True, eq=False)
class _Matchings:
    """Vertices that match item i with item `columns[i]`."""

    columns: Int[Tensor, "B N"]

    def dense(self) -> Tensor:
        shape = (*self.columns.shape, self.columns.shape[1])
        plan = torch.zeros(shape, dtype=torch.float64, device=self.columns.device)
        return plan.scatter_(2, self.columns[..., None], 1 / shape[1])

    def dot(self, cost: Tensor) -> Tensor:
        cost = cost.expand(len(self.columns), -1, -1)
        return cost.gather(2, self.columns[..., None])[..., 0].mean(1)

    def product(self, first: Tensor, second: Tensor) -> Tensor:
        # V C^2 is C^2 with its rows in another order: half of the work of two products.
        batch = torch.arange(len(second), device=second.device)[:, None]
        return first @ (second[batch, self.columns] / self.columns.shape[1])

    def approach(self, plan: Tensor, step: Tensor) -> Tensor:
        mass = (step / plan.shape[1])[:, None, None].expand(*self.columns.shape, 1)
        return (plan * (1 - step[:, None, None])).scatter_add_(2, self.columns[..., None], mass)

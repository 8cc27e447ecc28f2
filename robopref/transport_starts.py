"""Where to begin to align two sets: the objective is not convex, so that the start decides.

Shapes: N items of the first set, J of the second, Q quantiles.

References:
    [1] Memoli, Gromov-Wasserstein distances and the metric approach to object matching, 2011,
        section 6 (third lower bound).
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from robopref.errors import check_at_least
from robopref.transport import Problem


def make_starts(problem: Problem, num: int, rng: np.random.Generator) -> Float[Tensor, "num N J"]:
    """Return couplings to begin with: by profiles, the independent one, and random ones.

    By profiles is what the third lower bound of the distance [1] matches: items whose distances to
    all others are distributed alike. It finds a shuffled copy at once.

    Raises:
        ValueError: `num` is below 1, or the problem is a batch.
    """
    check_at_least("num", num, 1)
    if problem.batch != 1:
        raise ValueError(f"`problem` must be one problem, got a batch of {problem.batch}.")
    independent = problem.independent[None]
    profiles = problem.cheapest(profile_costs(problem.first, problem.second)).dense()
    if num <= 2:
        return torch.cat([profiles, independent][:num])
    cost = torch.from_numpy(rng.standard_normal((num - 2, *independent.shape[1:])))
    # Half way to the independent one: from a corner, conditional gradient hardly gets away.
    drawn = (problem.cheapest(cost.to(independent.device)).dense() + independent) / 2
    return torch.cat([profiles, independent, drawn])


def profile_costs(
    first: Float[Tensor, "B N N"], second: Float[Tensor, "B J J"], *, num_quantiles: int = 128
) -> Float[Tensor, "B N J"]:
    """Return how differently the distances to all others are distributed ([1], section 6).

    Squared 2-Wasserstein distances between the rows as distributions, by quantiles of them.
    """
    levels = (torch.arange(num_quantiles, dtype=first.dtype) + 0.5) / num_quantiles
    profiles, others = (_quantiles(rows, levels.to(first.device)) for rows in (first, second))
    return torch.cdist(profiles, others).square() / num_quantiles


def _quantiles(rows: Float[Tensor, "B N N"], levels: Float[Tensor, " Q"]) -> Tensor:
    """Return the quantiles of each row, interpolated between its sorted values, (B, N, Q)."""
    ordered = rows.sort(dim=-1).values
    place = levels * (rows.shape[-1] - 1)
    low = place.floor().long()
    share = place - low
    high = (low + 1).clamp_max(rows.shape[-1] - 1)
    return ordered[..., low] * (1 - share) + ordered[..., high] * share

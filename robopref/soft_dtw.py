r"""Soft dynamic time warping [1]: the least cost at which one clip, warped, becomes another.

Every way through the cost matrix from the first two frames to the last two that never goes back
is an alignment. The value is the soft minimum of their costs,
$-\gamma \log \sum_A e^{-\langle A, C \rangle / \gamma}$; its gradient in C is the expected
alignment. Order counts: a reversed clip is far away, the same clip at another speed is not.
Cells of one anti-diagonal do not depend on one another and are worked out together.

Shapes: B pairs, N frames of the first of each, J of the second, D anti-diagonals (N + J - 1), X
rows with one before the first (N + 1).
Notation: code name -> symbol in [1]: reached -> -R / gamma, gain -> -C / gamma, alignment -> E,
smoothing -> gamma.

References:
    [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, 2017,
        arXiv:1703.01541, algorithms 1 and 2.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.errors import check_above
from robopref.frame_costs import check_cells

FAR = 1e10
"""Loss of what may not be matched; finite, so that no difference of two of them is NaN."""


class Warping(NamedTuple):
    """Soft-DTW values (B,), differentiable, and expected alignments (B, N, J), which are not."""

    value: Tensor
    alignment: Tensor


def soft_dtw(
    cost: Float[Tensor, "B N J"],
    smoothing: float,
    *,
    allowed: Bool[Tensor, "B N J"] | None = None,
) -> Warping:
    """Return the soft minimum of the costs of all alignments, and the expected alignment.

    Args:
        cost: What it costs to match two frames.
        smoothing: gamma, in the units of the cost; towards 0 the value becomes that of DTW.
        allowed: Where frames may be matched; its real frames come first, and an alignment ends at
            the last real ones. None for everywhere.

    Raises:
        ValueError: `smoothing` is not above 0, a cost that counts is not finite, or a clip has no
            frames.
    """
    check_above("smoothing", smoothing, 0)
    num, other = cost.shape[1:]
    if allowed is None:
        rows, columns = (torch.full((len(cost),), n, device=cost.device) for n in (num, other))
    else:
        check_cells(allowed)
        rows, columns = allowed.any(2).sum(1), allowed.any(1).sum(1)
        cost = cost.masked_fill(~allowed, FAR * smoothing)
    if not bool(torch.isfinite(cost.detach().sum())):
        raise ValueError("`cost` must hold finite numbers only where frames may be matched.")
    with torch.no_grad():
        gain = _skew(cost / -smoothing)
        reached, best = _reach(gain)
        alignment = _align(_shares(reached, best), rows, columns)
        value = -smoothing * reached[rows + columns - 2, torch.arange(len(cost)), rows]
    if cost.requires_grad:
        change = torch.where(alignment > 0, cost - cost.detach(), 0.0) * alignment
        value = value + change.sum((1, 2))
    return Warping(value, alignment)


def _skew(gain: Float[Tensor, "B N J"]) -> Float[Tensor, "D B N"]:
    """Return gains by anti-diagonal and row; cells that do not exist are far."""
    num_pairs, num, other = gain.shape
    skewed = gain.new_full((num + other - 1, num_pairs, num), -FAR)
    row, column = _cells(num, other, gain.device)
    skewed[row + column, :, row] = gain.flatten(1).T
    return skewed


def _cells(num: int, other: int, device: Any) -> tuple[Tensor, Tensor]:
    cells = torch.arange(num * other, device=device)
    return cells // other, cells % other


def _reach(gain: Float[Tensor, "D B N"]) -> tuple[Float[Tensor, "D B X"], Float[Tensor, "D B N"]]:
    """Return the logarithm of what all ways to each cell weigh, with it and without its own gain.

    Rows are shifted by one: there is no way from before the first.
    """
    num_diagonals, num_pairs, num = gain.shape
    reached = gain.new_full((num_diagonals, num_pairs, num + 1), -FAR)
    reached[0, :, 1:] = gain[0]
    best = torch.zeros_like(gain)
    across = torch.full_like(gain[0], -FAR)
    for diagonal in range(1, num_diagonals):
        last = reached[diagonal - 1]
        torch.logaddexp(last[:, 1:], last[:, :-1], out=best[diagonal])
        torch.logaddexp(best[diagonal], across, out=best[diagonal])
        torch.add(best[diagonal], gain[diagonal], out=reached[diagonal, :, 1:])
        across = last[:, :-1]
    return reached.clamp_min_(-FAR), best


def _shares(
    reached: Float[Tensor, "D B X"], best: Float[Tensor, "D B N"]
) -> Float[Tensor, "3 D B N"]:
    """Return the shares of the cells to the left, above and across in what comes to each cell."""
    shares = torch.zeros(3, *best.shape, dtype=best.dtype, device=best.device)
    shares[0, 1:] = reached[:-1, :, 1:] - best[1:]
    shares[1, 1:] = reached[:-1, :, :-1] - best[1:]
    shares[2, 1:2] = -FAR
    shares[2, 2:] = reached[:-2, :, :-1] - best[2:]
    shares = shares.clamp_max_(0).exp_()
    # With gains far above 1 their differences have lost digits.
    return shares / shares.sum(0).clamp_min(1e-30)


def _align(shares: Float[Tensor, "3 D B N"], rows: Tensor, columns: Tensor) -> Tensor:
    """Return the probability that the alignment goes through each cell, (B, N, J)."""
    _, num_diagonals, num_pairs, num = shares.shape
    through = shares.new_zeros(num_diagonals, num_pairs, num)
    through[rows + columns - 2, torch.arange(num_pairs, device=shares.device), rows - 1] = 1.0
    left, above, across = shares
    for diagonal in range(num_diagonals - 1, 0, -1):
        here = through[diagonal]
        through[diagonal - 1].addcmul_(here, left[diagonal])
        through[diagonal - 1, :, :-1].addcmul_(here[:, 1:], above[diagonal, :, 1:])
        if diagonal > 1:
            through[diagonal - 2, :, :-1].addcmul_(here[:, 1:], across[diagonal, :, 1:])
    row, column = _cells(num, num_diagonals - num + 1, shares.device)
    return through[row + column, :, row].T.reshape(num_pairs, num, -1)

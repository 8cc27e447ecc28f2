r"""Soft dynamic time warping [1]: the least cost at which one clip, warped, becomes another.

Every way through the cost matrix from the first two frames to the last two that never goes back
is an alignment. The value is the soft minimum of their costs,
$-\gamma \log \sum_A e^{-\langle A, C \rangle / \gamma}$; its gradient in C is the expected
alignment. Order counts: a reversed clip is far away, the same clip at another speed is not.
Cells of one anti-diagonal do not depend on one another and are worked out together.

Shapes: B pairs, N frames of the first of each, J of the second, D anti-diagonals (N + J - 1).
Notation: code name -> symbol in [1]: reached -> R, alignment -> E, smoothing -> gamma.

References:
    [1] Cuturi and Blondel, Soft-DTW: a differentiable loss function for time-series, 2017,
        arXiv:1703.01541, algorithms 1 and 2.
"""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.errors import check_above

FAR = 1e10
"""Cost of what may not be matched; finite, so that no difference of two of them is NaN."""


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
        rows, columns = allowed.any(2).sum(1), allowed.any(1).sum(1)
        if not bool((rows > 0).all()):
            raise ValueError("`allowed` must leave each pair a cell: a clip has no frames.")
        cost = cost.masked_fill(~allowed, FAR)
    if not bool(torch.isfinite(cost.detach().sum())):
        raise ValueError("`cost` must hold finite numbers only where frames may be matched.")
    with torch.no_grad():
        reached, shares = _reach(_skew(cost), smoothing)
        alignment = _align(shares, rows, columns)
        value = reached[torch.arange(len(cost)), rows + columns - 2, rows - 1]
    if cost.requires_grad:
        change = torch.where(alignment > 0, cost - cost.detach(), 0.0) * alignment
        value = value + change.sum((1, 2))
    return Warping(value, alignment)


def _skew(cost: Float[Tensor, "B N J"]) -> Float[Tensor, "B D N"]:
    """Return the costs by anti-diagonal and row; cells that do not exist are far."""
    num_pairs, num, other = cost.shape
    skewed = cost.new_full((num_pairs, num + other - 1, num), FAR)
    row, column = _cells(num, other, cost.device)
    skewed[:, row + column, row] = cost.flatten(1)
    return skewed


def _cells(num: int, other: int, device: Any) -> tuple[Tensor, Tensor]:
    cells = torch.arange(num * other, device=device)
    return cells // other, cells % other


def _reach(
    cost: Float[Tensor, "B D N"], smoothing: float
) -> tuple[Float[Tensor, "B D N"], Float[Tensor, "B D 3 N"]]:
    """Return the soft least cost of getting to each cell, and the shares of the ways into it.

    They come from the cell to the left, from that above, and from that across.
    """
    reached = torch.full_like(cost, FAR)
    reached[:, 0] = cost[:, 0]
    shares = cost.new_zeros(*cost.shape[:2], 3, cost.shape[2])
    far = cost.new_full((len(cost), 1), FAR)
    before = torch.full_like(cost[:, 0], FAR)
    for diagonal in range(1, cost.shape[1]):
        last = reached[:, diagonal - 1]
        above, across = (torch.cat([far, x[:, :-1]], 1) for x in (last, before))
        ways = torch.stack([last, above, across], 1)
        # The plain minimum comes first: with costs far above gamma float32 would lose the rest.
        least = ways.amin(1, keepdim=True)
        weights = ((least - ways) / smoothing).exp()
        total = weights.sum(1, keepdim=True)
        shares[:, diagonal] = weights / total
        soft = (least - smoothing * total.log())[:, 0]
        reached[:, diagonal] = (cost[:, diagonal] + soft).clamp_max(FAR)
        before = last
    return reached, shares


def _align(
    shares: Float[Tensor, "B D 3 N"], rows: Tensor, columns: Tensor
) -> Float[Tensor, "B N J"]:
    """Return the probability that the alignment goes through each cell, from the ends back."""
    num_pairs, num_diagonals, _, num = shares.shape
    through = shares.new_zeros(num_pairs, num_diagonals, num)
    everyone = torch.arange(num_pairs, device=shares.device)
    through[everyone, rows + columns - 2, rows - 1] = 1.0
    for diagonal in range(num_diagonals - 1, 0, -1):
        left, above, across = (through[:, diagonal, None] * shares[:, diagonal]).unbind(1)
        through[:, diagonal - 1] += left
        through[:, diagonal - 1, :-1] += above[:, 1:]
        if diagonal > 1:
            through[:, diagonal - 2, :-1] += across[:, 1:]
    row, column = _cells(num, num_diagonals - num + 1, shares.device)
    return through[:, row + column, row].unflatten(1, (num, -1))

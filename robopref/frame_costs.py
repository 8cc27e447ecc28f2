"""What it costs to match the frames of two clips, before any alignment looks at it.

Shapes: B pairs of clips, N frames of the first of each, J of the second, E embedding size.
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize, pad

from robopref.errors import check_at_least

Metric = Literal["cosine", "euclidean", "squared"]
SHORTEST = 1e-6
"""A frame's embedding is taken to be at least this long: that of a black picture may be 0."""


def frame_costs(
    first: Float[Tensor, "*B N E"], second: Float[Tensor, "*B J E"], metric: Metric = "cosine"
) -> Float[Tensor, "*B N J"]:
    """Return the cost of matching each frame of the first with each of the second.

    Args:
        first: Embedded frames.
        second: Those of the other clip.
        metric: cosine: 1 less the cosine, in [0, 2]; euclidean: the distance; squared: half its
            square, which is the cosine cost for embeddings of length 1.

    Example:
        >>> frame_costs(torch.eye(2), torch.tensor([[0.0, 2.0]])).tolist()
        [[1.0], [0.0]]
    """
    if metric == "cosine":
        first, second = (normalize(x, dim=-1, eps=SHORTEST) for x in (first, second))
        return (1 - first @ second.mT).clamp_min(0)
    squares = first.square().sum(-1)[..., None] + second.square().sum(-1)[..., None, :]
    squares = (squares - 2 * first @ second.mT).clamp_min(0)
    # The root has no finite slope at 0.
    return (squares + SHORTEST**2).sqrt() if metric == "euclidean" else squares / 2


def pair_mask(
    first: Bool[Tensor, "B N"], second: Bool[Tensor, "B J"], *, band: int | None = None
) -> Bool[Tensor, "B N J"]:
    """Return where frames of two clips may be matched.

    Args:
        first: Which frames of the first are real; real ones come first.
        second: Which of the second are.
        band: Frames of the longer clip that a match may lie off the diagonal, which leads from
            both starts to both ends whatever the lengths (TemporalOT); None for any. With very
            few frames it is as wide as equal masses need.

    Raises:
        ValueError: `band` is below 1.
    """
    allowed = first[:, :, None] & second[:, None]
    if band is None:
        return allowed
    check_at_least("band", band, 1)
    off = progress(first)[:, :, None] - progress(second)[:, None]
    num, other = first.sum(1).clamp_min(1), second.sum(1).clamp_min(1)
    width = (band + 0.5) / (torch.maximum(num, other) - 1).clamp_min(1)
    # Narrower than this, frames of equal masses could not all be matched.
    width = torch.maximum(width, 1 / num + 1 / other)
    return allowed & (off.abs() <= width[:, None, None])


def check_cells(allowed: Bool[Tensor, "B N J"]) -> None:
    """Check that each pair of clips has frames that may be matched.

    Raises:
        ValueError: A clip has no frames.
    """
    if not bool(allowed.flatten(1).any(1).all()):
        raise ValueError("`allowed` must leave each pair a cell: a clip has no frames.")


def progress(mask: Bool[Tensor, "B N"]) -> Float[Tensor, "B N"]:
    """Return how far each frame is from the first to the last real one, 0 to 1."""
    place = torch.arange(mask.shape[1], device=mask.device)
    last = (mask.sum(1, keepdim=True) - 1).clamp_min(1)
    return (place / last).clamp_max(1)


def windowed(
    cost: Float[Tensor, "B N J"], allowed: Bool[Tensor, "B N J"], context: int
) -> Float[Tensor, "B N J"]:
    """Return each cost averaged with those of the frames that come next in both clips.

    Two frames then match where what follows them does as well: the order in which things happen
    enters the cost (TemporalOT, Fu et al. 2024, eq. 5). Frames beyond the end are left out.

    Args:
        cost: Costs of single frames.
        allowed: Where both frames are real.
        context: Frames to average, the first included.

    Raises:
        ValueError: `context` is below 1.
    """
    check_at_least("context", context, 1)
    if context == 1:
        return cost
    real = allowed.to(cost.dtype)
    known = cost.masked_fill(~allowed, 0.0)
    total, count = torch.zeros_like(known), torch.zeros_like(real)
    for shift in range(min(context, *cost.shape[1:])):
        beyond = (0, shift, 0, shift)
        total = total + pad(known[:, shift:, shift:], beyond)
        count = count + pad(real[:, shift:, shift:], beyond)
    return total / count.clamp_min(1)

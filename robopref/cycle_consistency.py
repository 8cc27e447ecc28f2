r"""Temporal cycle consistency [1]: find a frame's match in another clip, and find the way back.

A frame's soft nearest neighbour in the other clip is sent back; where it lands in time should be
where it came from. Nothing is labelled: two clips of the same task are enough.

Shapes: B pairs of clips, N frames of the first of each, J of the second, E embedding size.

References:
    [1] Dwibedi et al., Temporal cycle-consistency learning, 2019, arXiv:1904.07846, section 3.2.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.frame_costs import frame_costs, progress

TEMPERATURE = 0.1
"""Of the matches; embeddings are compared by half their squared distance on the unit sphere."""
VARIANCE_WEIGHT = 0.001
"""Of the width of where a frame lands, as in [1]."""
SMALLEST_VARIANCE = 1e-3
"""Of a landing in units of the clip's length; keeps a sharp one from an endless loss."""


def cycle_loss(
    first: Float[Tensor, "B N E"],
    first_mask: Bool[Tensor, "B N"],
    second: Float[Tensor, "B J E"],
    second_mask: Bool[Tensor, "B J"],
) -> Float[Tensor, " B"]:
    """Return how far the frames of the first clips land from where they came, by the second.

    Squared difference of time over the variance of the landing, with a penalty on the variance
    ([1], eq. 4); times run from 0 to 1 over each clip.

    Args:
        first: Embedded frames that go there and back.
        first_mask: Which are real.
        second: Embedded frames of the other clips.
        second_mask: Which are real.
    """
    there = _match(first, second, second_mask) @ second
    back = _match(there, first, first_mask)
    time = progress(first_mask)
    landing = (back * time[:, None]).sum(2)
    variance = (back * (time[:, None] - landing[..., None]).square()).sum(2) + SMALLEST_VARIANCE
    loss = (landing - time).square() / variance + VARIANCE_WEIGHT * variance.log()
    real = first_mask.to(loss.dtype)
    return (loss * real).sum(1) / real.sum(1).clamp_min(1)


def _match(first: Tensor, second: Tensor, mask: Tensor) -> Float[Tensor, "B N J"]:
    """Return how much each frame of the second is the match of each of the first."""
    cost = frame_costs(first, second).masked_fill(~mask[:, None], torch.inf)
    return torch.softmax(-cost / TEMPERATURE, 2)

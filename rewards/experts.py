"""Clips that stand for what people prefer: the most successful ones among those compared.

Shapes: S segments, N pairs, B clips, L steps, T frames kept, F features.
"""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robopref.preferences.preference import PairwiseView


def win_shares(preferences: PairwiseView) -> Float[np.ndarray, " S"]:
    """Return the share of its comparisons that each segment won, drawn towards a half.

    As if each had won one more and lost one more, so that a clip that won once does not stand
    above one that won nine times in ten.
    """
    num = len(preferences.segments)
    won, compared = np.ones(num), np.full(num, 2.0)
    for place, share in (
        (preferences.a, 1 - preferences.prefers_b),
        (preferences.b, preferences.prefers_b),
    ):
        np.add.at(won, place, share)
        np.add.at(compared, place, 1.0)
    shares: np.ndarray = won / compared
    return shares


def choose_experts(preferences: PairwiseView, num: int) -> Int[np.ndarray, " K"]:
    """Return the places of the segments that won most, at most `num`, the best first.

    Only such as won more than half of what they were compared in, unless there are none.
    """
    shares = win_shares(preferences)
    best = np.argsort(-shares, kind="stable")[:num]
    winners: np.ndarray = best[shares[best] > 0.5]
    return winners if len(winners) else best[:1]


def sample_frames(
    features: Float[Tensor, "B L *F"], mask: Bool[Tensor, "B L"], max_frames: int
) -> tuple[Float[Tensor, "B T *F"], Bool[Tensor, "B T"]]:
    """Return clips thinned out evenly to at most `max_frames`; first and last frames stay.

    Shorter clips stay as they are.
    """
    lengths = mask.sum(1)
    kept = lengths.clamp_max(max_frames)
    place = torch.arange(min(mask.shape[1], max_frames), device=mask.device)
    share = place / (kept[:, None] - 1).clamp_min(1)
    index = (share * (lengths[:, None] - 1)).round().long().clamp(0, max(mask.shape[1] - 1, 0))
    rows = torch.arange(len(mask), device=mask.device)[:, None]
    return features[rows, index], place < kept[:, None]

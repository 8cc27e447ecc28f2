"""Losses of whole rankings: Plackett-Luce, and pairs weighted by what their exchange would cost.

Shapes: B rankings, K chunks.

References:
    [1] Plackett, The analysis of permutations, 1975.
    [2] Karthik et al., Scalable ranked preference optimization for text-to-image generation, 2024,
        arXiv:2410.18013.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from robopref.plackett_luce import plackett_luce_losses
from robopref.policies.finetune.objective import PreferenceConfig


@dataclass(frozen=True)
class PlackettLuceConfig(PreferenceConfig):
    """Fine-tune on rankings: each chunk is chosen from those not better than it."""

    group_size: ClassVar[int | None] = None

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return minus the log-likelihood of each ranking [1], over its number of choices."""
        return plackett_luce_losses(implicit, gains)


@dataclass(frozen=True)
class RankDPOConfig(PreferenceConfig):
    """Fine-tune on rankings: every pair of a ranking, weighted by its places as in RankDPO."""

    group_size: ClassVar[int | None] = None

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return the pairs' losses, weighted by the change of DCG if the pair were exchanged [2].

        The gain of the last place is 0, that of the first 1, by rank: what the log-odds are worth
        differs from reward to reward.
        """
        there = ~gains.isnan()
        filled = gains.nan_to_num(-torch.inf)
        above = ((filled[:, None, :] > filled[:, :, None]) & there[:, None, :]).sum(2)
        num = there.sum(1, keepdim=True)
        quality = 2 ** ((num - 1 - above) / (num - 1).clamp_min(1)) - 1
        discount = 1 / torch.log2(above + 2.0)
        worth = (quality[:, :, None] - quality[:, None, :]).abs() * (
            discount[:, :, None] - discount[:, None, :]
        ).abs()
        better = (filled[:, :, None] > filled[:, None, :]) & there[:, :, None] & there[:, None, :]
        weight = worth * better
        margin = implicit[:, :, None] - implicit[:, None, :]
        return -(weight * logsigmoid(margin)).sum((1, 2)) / weight.sum((1, 2)).clamp_min(1e-8)

"""Losses of chunks that are good or bad each by itself: KTO and NPO.

A chunk is good if it is held better than the mean of its group. Groups only say what is good; the
losses take every chunk alone.

Shapes: B groups, K chunks.

References:
    [1] Li et al., Aligning diffusion models by optimizing human utility (Diffusion-KTO), 2024,
        arXiv:2404.04465, eq. 8; Ethayarajh et al., KTO, 2024, arXiv:2402.01306, eq. 7.
    [2] Zhang et al., Negative preference optimization, 2024, arXiv:2404.05868, eq. 3.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from robopref.errors import check_at_least
from robopref.policies.finetune.objective import PreferenceConfig
from robopref.shares import batch_sum


@dataclass(frozen=True)
class KTOConfig(PreferenceConfig):
    """Fine-tune on good and bad chunks by Diffusion-KTO."""

    group_size: ClassVar[int | None] = 2

    desirable_weight: float = 0.8
    """Weight of a good chunk; a bad one has 1."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_at_least("desirable_weight", self.desirable_weight, 0)

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return one less the utility of each chunk against the batch's mean [1]."""
        good, bad = (gains > 0).float(), (gains < 0).float()
        judged = good + bad
        centre = batch_sum((implicit * judged).sum()) / batch_sum(judged.sum()).clamp_min(1)
        centre = centre.detach().clamp_min(0)
        lost = self.desirable_weight * good * torch.sigmoid(centre - implicit)
        lost = lost + bad * torch.sigmoid(implicit - centre)
        return lost.sum(1) / judged.sum(1).clamp_min(1)


@dataclass(frozen=True)
class NPOConfig(PreferenceConfig):
    """Fine-tune away from bad chunks by NPO; the anchor is all that holds on to the good.

    [2] divides this loss by beta, which is `dpo_beta` here; we do not. Its gradient at the base is
    `dpo_beta` times that of [2], so that at 10 it weighs ten times as much against the anchor:
    `anchor` 5 here is 0.5 there.
    """

    group_size: ClassVar[int | None] = 2

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return minus two times the log-odds that each bad chunk became less likely [2]."""
        bad = (gains < 0).float()
        return -2 * (bad * logsigmoid(-implicit)).sum(1) / bad.sum(1).clamp_min(1)

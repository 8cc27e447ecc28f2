"""Diffusion-DPO: raise the likelihood of the better chunk of a pair against that of the other [1].

Shapes: B pairs. Notation of [1]: the margin is beta (log ratio of w - log ratio of l).

References:
    [1] Wallace et al., Diffusion model alignment using direct preference optimization, 2023,
        arXiv:2311.12908, eq. 14.
    [2] Wang et al., Beyond reverse KL: generalizing direct preference optimization with diverse
        divergence constraints, 2023, arXiv:2309.16240, table 1.
"""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import softplus

from robopref.errors import check_between, check_choice
from robopref.policies.finetune.links import LINKS, LinkName
from robopref.policies.finetune.objective import PreferenceConfig

Divergence = Literal["reverse-kl", "forward-kl", "jensen-shannon", "alpha"]


@dataclass(frozen=True)
class DPOConfig(PreferenceConfig):
    """Fine-tune on pairs by Diffusion-DPO; `safeguard` 0 and `anchor` 0 are as published."""

    group_size: ClassVar[int | None] = 2

    link: LinkName = "log-sigmoid"
    """From the margin of implicit rewards to the loss."""
    divergence: Divergence = "reverse-kl"
    """What holds the policy to the base (f-DPO); reverse-kl is DPO."""
    alpha: float = 0.5
    """Order of the alpha divergence, between the reverse (0) and the forward (1) KL."""
    label_smoothing: float = 0.0
    """Share of the orders that are taken to be wrong."""
    soft_labels: bool = False
    """Take the gains for log-odds of the order; else what has the higher gain is better for
    certain."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_choice("link", self.link, get_args(LinkName))
        check_choice("divergence", self.divergence, get_args(Divergence))
        check_between("alpha", self.alpha, 0, 1)
        if self.alpha in (0, 1):
            raise ValueError(f"`alpha` must lie between 0 and 1, got {self.alpha}.")
        check_between("label_smoothing", self.label_smoothing, 0, 0.5)

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return the loss of each pair; a tie pulls the two together."""
        held = derivative(self.divergence, implicit, self.alpha)
        return self.pair_losses(held[:, 0] - held[:, 1], gains[:, 0] - gains[:, 1])

    def pair_losses(self, margin: Tensor, gap: Tensor) -> Tensor:
        """Return the loss of pairs by the margin of their implicit rewards and the gap of gains."""
        link, smoothing = LINKS[self.link], self.label_smoothing
        wanted = torch.sigmoid(gap) if self.soft_labels else 0.5 * (1 + gap.sign())
        wanted = wanted * (1 - smoothing) + (1 - wanted) * smoothing
        return wanted * link(margin) + (1 - wanted) * link(-margin)


def derivative(divergence: Divergence, log_ratio: Tensor, alpha: float) -> Tensor:
    """Return f'(u) of the divergence at u = exp(log_ratio), up to a constant, table 1 of [2].

    In [2] u is the ratio of likelihoods and beta stands outside. Of a chunk only the denoising
    error is known, a log ratio up to a scale, and that scale is `dpo_beta`: so it is inside here.

    All are increasing in u. But for the reverse KL they level off where the policy makes a chunk
    much likelier than the base does, so that a good chunk is not pushed up without end.
    """
    if divergence == "reverse-kl":
        return log_ratio
    if divergence == "jensen-shannon":
        return log_ratio - softplus(log_ratio)
    # exp of what is very unlikely would overflow; the loss is linear in this tail anyway.
    bounded = log_ratio.clamp_min(-10.0)
    if divergence == "forward-kl":
        return -torch.exp(-bounded)
    return (1 - torch.exp(-alpha * bounded)) / alpha

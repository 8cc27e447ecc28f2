"""What the head of a RAPL reward learns from: numbers of frames, whose mean is a clip's return.

Comparisons of whole clips say little of single frames. Three things that need no label say more:
preferred clips become better as they go on, what is seen changes little from one frame to the next,
and a shifted or recoloured picture shows the same.

Shapes: M members, S clips, L frames.
"""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import softplus

from robopref.rewards.fit import Inputs
from robopref.rewards.rapl_loss import ranking_loss

MIN_GAP = 3
"""Frames between two that are compared by their order: nearer ones may well be equal."""


def head_losses(
    reward: Any, inputs: Inputs, batch: Any, generator: torch.Generator | None
) -> Float[Tensor, " M"]:
    """Return every member's loss on comparisons; with a generator, also of what needs no label.

    Args:
        reward: A RAPL reward.
        inputs: Clips, and which of them are preferred.
        batch: Comparisons of them, a `RankedBatch` without anchors.
        generator: Draws which view of the clips is seen; None in validation.
    """
    config, mask = reward.config, inputs["mask"]
    numbers = reward.numbers(reward.embed(inputs["features"]))
    returns = (numbers * mask).sum(2) / mask.sum(1) / config.fit.temperature
    each = ranking_loss(
        returns[:, batch.a],
        returns[:, batch.b],
        batch.prefers_b,
        batch.groups if config.plackett_luce else torch.arange(len(batch.a), device=mask.device),
        smoothing=config.fit.label_smoothing,
        likelihood=config.likelihood,
    )
    losses: Tensor = config.head_weight * (each * batch.weight).mean(1)
    if generator is None:
        return losses
    if config.order_weight:
        preferred = inputs["preferred"]
        losses = losses + config.order_weight * order_loss(numbers[:, preferred], mask[preferred])
    if config.smooth_weight:
        change = torch.diff(numbers, dim=2).square()
        losses = losses + config.smooth_weight / 2 * _mean(change, mask[:, 1:])
    if config.view_weight and "views" in inputs:
        view = int(torch.randint(inputs["views"].shape[2], (), generator=generator))
        seen = reward.numbers(reward.embed(inputs["views"][:, :, view]))
        losses = losses + config.view_weight / 2 * _mean((seen - numbers).square(), mask)
    return losses


def order_loss(numbers: Float[Tensor, "M S L"], mask: Bool[Tensor, "S L"]) -> Float[Tensor, " M"]:
    """Return the mean Bradley-Terry loss of later frames being better than earlier ones."""
    first, second = torch.triu_indices(mask.shape[1], mask.shape[1], MIN_GAP, device=mask.device)
    return _mean(softplus(numbers[..., first] - numbers[..., second]), mask[:, second])


def _mean(values: Float[Tensor, "M S N"], real: Bool[Tensor, "S N"]) -> Float[Tensor, " M"]:
    return (values * real).sum((1, 2)) / real.sum().clamp_min(1)

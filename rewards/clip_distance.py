"""How far one clip is from another: frames are compared, and then aligned in one of three ways.

Shapes: B pairs of clips, N frames of the first of each, J of the second, E embedding size.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from robopref.errors import check_above, check_at_least, check_choice
from robopref.frame_costs import Metric, frame_costs, pair_mask, progress, windowed
from robopref.ordered_coverage import log_coverage
from robopref.sinkhorn import SinkhornConfig, transport, transport_cost
from robopref.soft_dtw import soft_dtw

Kind = Literal["transport", "soft-dtw", "coverage"]


class Clips(NamedTuple):
    """Embedded clips (B, N, E) and which of their frames are real, (B, N); real ones first."""

    frames: Tensor
    mask: Tensor

    def at(self, index: Tensor) -> "Clips":
        """Return the clips at `index`."""
        return Clips(self.frames[index], self.mask[index])


@dataclass(frozen=True)
class ClipDistanceConfig:
    """How clips are compared. As it stands: RAPL as published, blind to the order of frames."""

    kind: Kind = "transport"
    """transport: optimal transport; soft-dtw: in order, at any speed, every frame counts;
    coverage: in order, at any speed, what is not in the second clip costs nothing."""
    metric: Metric = "cosine"
    """What it costs to match two frames."""
    smoothing: float = 1.0
    """Regularisation of the transport, gamma of soft-DTW, temperature of the coverage."""
    debiased: bool = False
    """Take off half the distance of each clip from itself, so that equal clips are at 0."""
    context: int = 1
    """Frames over which costs are averaged, towards the end of both clips."""
    band: int | None = None
    """Frames that a match may lie off the diagonal; none for any."""
    time_gap: float = 0.0
    """Cost of matching a first frame with a last one, in proportion for others."""
    order_only: bool = False
    """Take off what it costs to match each frame with its nearest in the other clip, in any order:
    clips of the same frames in the same order are at 0, and so are those with nothing in common
    but that no order would bring nearer."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("kind", self.kind, get_args(Kind))
        check_choice("metric", self.metric, get_args(Metric))
        check_above("smoothing", self.smoothing, 0)
        check_at_least("context", self.context, 1)
        check_at_least("time_gap", self.time_gap, 0)
        if self.band is not None:
            check_at_least("band", self.band, 1)
        if self.debiased and self.kind == "coverage":
            raise ValueError(
                "`debiased` does not go with `kind` 'coverage': a clip covers itself already."
            )
        if self.order_only and self.kind != "soft-dtw":
            raise ValueError(
                f"`order_only` goes with `kind` 'soft-dtw', which sees order, got '{self.kind}'."
            )


def clip_distances(
    first: Clips,
    second: Clips,
    config: ClipDistanceConfig,
    *,
    pairs: tuple[Int[Tensor, " B"], Int[Tensor, " B"]] | None = None,
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B N"]]:
    """Return how far the first clips are from the second, and each frame's part in it.

    The parts of a clip sum to its distance. They are no functions of one frame: an alignment sees
    the whole clip. Only the distances have all gradients.

    Args:
        first: The clips that are judged.
        second: What they are compared with.
        config: How.
        pairs: Places of the first and of the second of each pair; None for one after the other.

    Raises:
        ValueError: A clip has no frames, or an embedding is not finite.
    """
    if pairs is None:
        pairs = (torch.arange(len(first.mask)), torch.arange(len(second.mask)))
    distance, parts = _align(first.at(pairs[0]), second.at(pairs[1]), config)
    if config.debiased:
        own, own_parts = _align(first, first, config)
        distance = distance - (own[pairs[0]] + _align(second, second, config)[0][pairs[1]]) / 2
        parts = parts - own_parts[pairs[0]] / 2
    if config.order_only:
        distance = (distance - _nearest(first.at(pairs[0]), second.at(pairs[1]), config)).clamp_min(
            0
        )
        # An order belongs to no single frame.
        parts = torch.zeros_like(parts)
    # What belongs to no single frame, such as an entropy, is shared by all.
    real = first.mask[pairs[0]].to(parts.dtype)
    missing = (distance - parts.sum(1)) / real.sum(1)
    return distance, parts + missing[:, None] * real


def alignment(first: Clips, second: Clips, config: ClipDistanceConfig) -> Float[Tensor, "B N J"]:
    """Return how far each frame of the first clips is matched with each of the second.

    A plan of transport has one as its sum; an alignment in order counts the cells that it goes
    through.

    Raises:
        ValueError: The way to compare matches no frames, a clip has none, or an embedding is not
            finite.
    """
    cost, allowed = _costs(first, second, config)
    if config.kind == "transport":
        return transport(cost, SinkhornConfig(config.smoothing), allowed=allowed).plan
    if config.kind == "soft-dtw":
        return soft_dtw(cost, config.smoothing, allowed=allowed).alignment
    raise ValueError(
        f"`kind` '{config.kind}' says how much of a clip is covered, and matches no frames. Take "
        "'transport' or 'soft-dtw'."
    )


def _costs(
    first: Clips, second: Clips, config: ClipDistanceConfig
) -> tuple[Float[Tensor, "B N J"], Bool[Tensor, "B N J"]]:
    """Return what it costs to match frames, and which may be matched."""
    allowed = pair_mask(first.mask, second.mask, band=config.band)
    cost = frame_costs(first.frames, second.frames, config.metric)
    cost = windowed(cost, pair_mask(first.mask, second.mask), config.context)
    if config.time_gap:
        gap = progress(first.mask)[:, :, None] - progress(second.mask)[:, None]
        cost = cost + config.time_gap * gap.abs()
    return cost, allowed


def _align(
    first: Clips, second: Clips, config: ClipDistanceConfig
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B N"]]:
    """Return distances that are not debiased, and what can be told of each frame's part."""
    cost, allowed = _costs(first, second, config)
    if config.kind == "transport":
        return _transport(cost, allowed, config)
    if config.kind == "soft-dtw":
        # An alignment has at least as many cells as the longer clip has frames.
        length = torch.maximum(first.mask.sum(1), second.mask.sum(1))
        found = soft_dtw(cost, config.smoothing, allowed=allowed)
        parts = transport_cost(cost, found.alignment) / length[:, None]
        return found.value / length, parts
    covered = log_coverage(cost, config.smoothing, allowed=allowed)
    unit = -config.smoothing / second.mask.sum(1)
    gained = torch.diff(covered, dim=1, prepend=torch.zeros_like(covered[:, :1]))
    return covered[:, -1] * unit, gained * unit[:, None]


def _nearest(first: Clips, second: Clips, config: ClipDistanceConfig) -> Float[Tensor, " B"]:
    """Return the mean cost of frames' nearest ones in the other clip, of the clip with more."""
    allowed = pair_mask(first.mask, second.mask)
    cost = frame_costs(first.frames, second.frames, config.metric)
    cost = cost.masked_fill(~allowed, torch.inf)
    means = [
        cost.amin(axis).masked_fill(~clips.mask, 0.0).sum(1) / clips.mask.sum(1)
        for axis, clips in ((2, first), (1, second))
    ]
    return torch.maximum(*means)


def _transport(
    cost: Float[Tensor, "B N J"], allowed: Bool[Tensor, "B N J"], config: ClipDistanceConfig
) -> tuple[Float[Tensor, " B"], Float[Tensor, "B N"]]:
    found = transport(cost, SinkhornConfig(config.smoothing), allowed=allowed)
    if config.debiased:
        # With the entropy the difference is never below 0 (Feydy et al. 2019, theorem 1).
        return found.regularised, transport_cost(cost, found.plan.detach())
    parts = transport_cost(cost, found.plan)
    return parts.sum(1), parts

"""What RAPL minimises: comparisons by anchors and by preferred clips, and terms without labels.

Shapes: S segments, L frames, V views, F features, M members, B comparisons, U clips at hand,
E embedding size.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robopref.cycle_consistency import cycle_loss
from robopref.frame_costs import frame_costs
from robopref.preferences.preference import PairwiseView
from robopref.rewards.clip_distance import Clips
from robopref.rewards.experts import sample_frames, win_shares
from robopref.rewards.fit import Inputs, draw_weights
from robopref.rewards.frame_reward import draw_views, read_views
from robopref.rewards.rapl_head import head_losses
from robopref.rewards.rapl_loss import find_comparisons, ranking_loss
from robopref.trainer import Batch
from robopref.types import SegmentBatch

CYCLE_PAIRS = 12
"""Pairs of clips whose cycles are looked at in one step."""


@dataclass(frozen=True, eq=False)
class RankedBatch:
    """Comparisons of a step.

    Args:
        a: Place of the first item of each among the segments.
        b: Place of the second.
        anchor: Place of what both lost against; -1 for preferred clips instead.
        prefers_b: Probability that the second is better.
        ranking: Number of the ranking that each comes from.
        weight: Factor of each comparison's loss, of each member or of all.
        experts: Places of the preferred clips among the segments, -1 where they are none of them.
    """

    a: Int[Tensor, " B"]
    b: Int[Tensor, " B"]
    anchor: Int[Tensor, " B"]
    prefers_b: Float[Tensor, " B"]
    ranking: Int[Tensor, " B"]
    weight: Float[Tensor, "#M B"]
    experts: Int[Tensor, " K"]

    def take(self, chosen: Tensor) -> "RankedBatch":
        """Return the comparisons at `chosen`."""
        return RankedBatch(
            self.a[chosen], self.b[chosen], self.anchor[chosen], self.prefers_b[chosen],
            self.ranking[chosen], self.weight[:, chosen], self.experts,
        )  # fmt: skip

    @property
    def groups(self) -> Int[Tensor, " B"]:
        """Number of the winner of each in its ranking, seen from its anchor; below B."""
        winner = torch.where(self.prefers_b > 0.5, self.b, self.a)
        codes = torch.stack([self.ranking, self.anchor, winner], 1)
        numbers: Tensor = torch.unique(codes, dim=0, return_inverse=True)[1]
        return numbers


class RAPLObjective(nn.Module):
    """The loss of a RAPL reward on rankings; the segments are kept on the device, each once.

    Args:
        reward: The reward that is trained.
        preferences: The pairs, compact.
        inputs: What the networks see of their segments.
        experts: Places of the preferred clips among these; None in validation.
        generator: Draws each member's resample of the rankings; None for none.
        unlabelled: What the networks see of clips that nobody compared; None for none.
    """

    couples_rows: ClassVar[bool] = True

    def __init__(
        self,
        reward: Any,
        preferences: PairwiseView,
        inputs: Inputs,
        *,
        experts: np.ndarray | None,
        generator: torch.Generator | None = None,
        unlabelled: Inputs | None = None,
    ) -> None:
        super().__init__()
        self.reward = reward
        device = inputs["mask"].device
        self._trains = experts is not None
        preferred = torch.from_numpy(win_shares(preferences) > 0.5).to(device)
        self._inputs = thinned(inputs, preferences.segments, reward.config.max_frames)
        self._inputs["preferred"] = preferred
        if "views" in self._inputs:
            self._inputs["views"] = reward.normalised(self._inputs["views"])
        self._unlabelled = unlabelled and thinned(unlabelled, None, reward.config.max_frames)
        found = find_comparisons(preferences)
        places = np.full(1, -1) if experts is None else experts
        pair = torch.from_numpy(found.pair).to(device)
        weight = draw_weights(
            preferences.weight[found.pair], found.ranking, reward.num_members, reward.config.fit,
            generator,
        )  # fmt: skip
        a, b, anchor = (torch.from_numpy(x).to(device) for x in (found.a, found.b, found.anchor))
        self.batch = RankedBatch(
            a,
            b,
            anchor,
            torch.from_numpy(preferences.prefers_b).to(device)[pair],
            torch.from_numpy(found.ranking).to(device),
            weight.to(device),
            torch.from_numpy(places).to(device),
        )
        self._pair = pair

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the members on pairs, and of the terms without labels."""
        chosen = torch.nonzero(torch.isin(self._pair, batch["pair"]))[:, 0]
        loss = self.reward.pair_losses(self._inputs, self.batch.take(chosen), generator).mean()
        config, figures = self.reward.config, {}
        for name, weight, compute, inputs in (
            ("cycle", config.cycle_weight, cycle_term, self._unlabelled or self._inputs),
            ("view", config.view_weight * (not config.head_weight), view_term, self._inputs),
        ):
            if weight:
                term = compute(self.reward, inputs, generator)
                figures[name] = float(term.detach())
                loss = loss + weight * term
        return loss, figures

    def validate(self) -> dict[str, float]:
        """Return the mean loss of the members on all pairs; nothing is drawn for it."""
        losses = self.reward.pair_losses(self._inputs, self.batch, None)
        return {"loss": losses.mean().item()}


def thinned(inputs: Inputs, segments: SegmentBatch | None, max_frames: int) -> dict[str, Tensor]:
    """Return clips of at most `max_frames`, with the features of their augmented views if any."""
    features, mask = sample_frames(inputs["features"], inputs["mask"], max_frames)
    kept = {"features": features, "mask": mask}
    views = None if segments is None else read_views(segments, inputs["mask"])
    if views is not None:
        kept["views"] = sample_frames(views, inputs["mask"], max_frames)[0]
    return kept


def ranked_losses(
    reward: Any, inputs: Inputs, batch: RankedBatch, generator: torch.Generator | None
) -> Float[Tensor, " M"]:
    """Return every member's loss on comparisons; with a generator, clips are seen by views.

    Args:
        reward: A RAPL reward.
        inputs: Clips.
        batch: Comparisons of them.
        generator: Draws which view of each clip is seen.
    """
    config = reward.config
    anchored = batch.take(torch.nonzero(batch.anchor >= 0)[:, 0])
    direct = batch.take(torch.nonzero(batch.anchor < 0)[:, 0])
    losses = torch.zeros(reward.num_members, device=batch.weight.device)
    if config.anchor_weight and len(anchored.a):
        scores = _anchored_scores(reward, inputs, anchored, generator)
        losses = losses + config.anchor_weight * _loss(reward, anchored, *scores)
    # Where no answer has three items there is nothing else to learn from.
    expert_weight = config.expert_weight or float(not len(anchored.a) and config.anchor_weight)
    if expert_weight:
        scores = _expert_scores(reward, inputs, direct, generator)
        losses = losses + expert_weight * _loss(reward, direct, *scores)
    if config.head_weight:
        losses = losses + head_losses(reward, inputs, direct, generator)
    return losses


def cycle_term(reward: Any, inputs: Inputs, generator: torch.Generator) -> Float[Tensor, ""]:
    """Return the loss of the cycles between some pairs of clips."""
    num = len(inputs["mask"])
    drawn = torch.randperm(num, generator=generator)[: 2 * CYCLE_PAIRS]
    half = len(drawn) // 2
    if not half:
        return torch.zeros((), device=inputs["mask"].device)
    drawn = drawn[: 2 * half].to(inputs["mask"].device)
    frames = reward.embed(inputs["features"][drawn])
    mask = inputs["mask"][drawn].expand(len(frames), -1, -1)
    first, second = ((x[:, :half].flatten(0, 1), x[:, half:].flatten(0, 1)) for x in (frames, mask))
    return cycle_loss(first[0], second[0], first[1], second[1]).mean()


def view_term(reward: Any, inputs: Inputs, generator: torch.Generator) -> Float[Tensor, ""]:
    """Return how far embeddings of augmented frames are from those of the frames; 0 without."""
    if "views" not in inputs:
        return torch.zeros((), device=inputs["mask"].device)
    drawn = torch.randperm(len(inputs["mask"]), generator=generator)[:CYCLE_PAIRS]
    drawn = drawn.to(inputs["mask"].device)
    view = int(torch.randint(inputs["views"].shape[2], (), generator=generator))
    plain = reward.embed(inputs["features"][drawn]).unsqueeze(-2)
    other = reward.embed(inputs["views"][drawn, :, view]).unsqueeze(-2)
    return frame_costs(plain, other)[..., 0, 0][:, inputs["mask"][drawn]].mean()


def _seen(inputs: Inputs, places: Tensor, generator: torch.Generator | None) -> Clips:
    """Return clips, each by the frames as they are or by one of their views."""
    features, mask = inputs["features"][places], inputs["mask"][places]
    if generator is not None and "views" in inputs:
        features = draw_views(features, inputs["views"][places], generator)
    return Clips(features, mask)


def _anchored_scores(
    reward: Any, inputs: Inputs, batch: RankedBatch, generator: torch.Generator | None
) -> tuple[Float[Tensor, "M B"], Float[Tensor, "M B"]]:
    """Return minus the distances of both items from the anchor, each distance once."""
    items = torch.stack([batch.a, batch.b])
    used, place = torch.unique(torch.cat([items, batch.anchor[None]]), return_inverse=True)
    clips = _seen(inputs, used, generator)
    embedded = reward.embed(clips.frames)
    codes = place[:2] * len(used) + place[2]
    ways, which = torch.unique(codes, return_inverse=True)
    item, anchor = ways // len(used), ways % len(used)
    whole = Clips(embedded, clips.mask)
    distance, _ = reward.distances(whole, whole, (item, anchor))
    return -distance[:, which[0]], -distance[:, which[1]]


def _expert_scores(
    reward: Any, inputs: Inputs, batch: RankedBatch, generator: torch.Generator | None
) -> tuple[Float[Tensor, "M B"], Float[Tensor, "M B"]]:
    """Return what the reward gives both items, whose own place among the experts is left out."""
    used, place = torch.unique(torch.stack([batch.a, batch.b]), return_inverse=True)
    clips = _seen(inputs, used, generator)
    embedded = reward.embed(clips.frames)
    distance, _ = reward.expert_distances(Clips(embedded, clips.mask))
    if len(batch.experts) == distance.shape[2]:
        own = used[:, None] == batch.experts
        alone = own.all(1, keepdim=True)
        distance = distance.masked_fill(own & ~alone, torch.inf)
    scores = -distance.amin(2)
    return scores[:, place[0]], scores[:, place[1]]


def _loss(reward: Any, batch: RankedBatch, score_a: Tensor, score_b: Tensor) -> Float[Tensor, " M"]:
    config = reward.config
    every = torch.arange(len(batch.a), device=batch.a.device)
    losses = ranking_loss(
        score_a / config.fit.temperature,
        score_b / config.fit.temperature,
        batch.prefers_b,
        batch.groups if config.plackett_luce else every,
        smoothing=config.fit.label_smoothing,
        likelihood=config.likelihood,
    )
    return (losses * batch.weight).mean(1)

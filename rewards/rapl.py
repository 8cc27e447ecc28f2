"""RAPL [1, 2]: spend the labels on how frames are seen, and read the reward off alignments.

Frames are embedded by a small network on the features of a frozen encoder. It learns that, of two
clips which lost against a third, the better one is nearer to it (`robopref.rewards.rapl_loss`). The
reward of a clip is minus its distance from the nearest of a few preferred ones, by frame: what its
matches cost. The features take the place of the state observation; see
`robopref.rewards.visual_features`, which makes them. Actions are not looked at.

`RAPLConfig` is RAPL as published. Differences from the authors' code [3]: no backbone is trained;
batch normalisation keeps its statistics; pictures are normalised; training and reward use one
metric (cosine); the likelihood is the paper's logarithm, by default. Where no answer compares three
clips there is no anchor, and pairs are judged by their distance from preferred clips.
`RAPLPlusConfig` turns on what improves on it; each part is a field.

Shapes: M members, B clips, L steps, K experts, T frames of an expert, Do features, E embedding.

References:
    [1] Tian et al., What matters to you? Towards visual representation alignment for robot
        learning, 2023, arXiv:2310.07932.
    [2] Tian et al., Maximizing alignment with minimal feedback, 2024, arXiv:2412.04835.
    [3] github.com/thomasrantian/mvp.
"""

from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from robopref.errors import check_at_least, check_between, check_choice
from robopref.nn import EnsembleMLP
from robopref.preferences.preference import PairwiseView
from robopref.rewards.clip_distance import ClipDistanceConfig, Clips, clip_distances
from robopref.rewards.ensemble import EnsembleReward
from robopref.rewards.experts import choose_experts, sample_frames
from robopref.rewards.fit import FitConfig, Inputs
from robopref.rewards.frame_reward import make_trainer
from robopref.rewards.rapl_fit import RAPLObjective, ranked_losses
from robopref.rewards.rapl_loss import Likelihood
from robopref.rewards.rapl_spoiled import least_weight
from robopref.seeding import make_generator
from robopref.total_variation import denoise
from robopref.types import SegmentBatch


@dataclass(frozen=True)
class RAPLConfig:
    """RAPL as published: one linear embedding, transport with regularisation 1."""

    num_members: int = 1
    """Embeddings in the ensemble."""
    embedding_size: int = 32
    """Size of a frame's embedding."""
    hidden_sizes: tuple[int, ...] = ()
    """Hidden layers of the embedding; none for a linear one."""
    standardise: bool = False
    """Give every feature mean 0 and deviation 1 over the labelled clips first."""
    distance: ClipDistanceConfig = field(default_factory=ClipDistanceConfig)
    """How clips are compared, in training and in the reward."""
    num_experts: int = 6
    """Preferred clips that the reward compares with."""
    max_frames: int = 45
    """Frames that a preferred clip, and a clip in training, is thinned out to."""
    anchor_weight: float = 1.0
    """Of the comparisons of two clips by their distance from a better one."""
    expert_weight: float = 0.0
    """Of all comparisons, by the distance from preferred clips."""
    plackett_luce: bool = False
    """Take an item and all that it beat in a ranking as one choice, not as so many pairs."""
    likelihood: Likelihood = "log"
    """log: the paper's; linear: 1 less the probability, as in the authors' code."""
    cycle_weight: float = 0.0
    """Of temporal cycle consistency between clips, labelled or not."""
    view_weight: float = 0.0
    """Of how much a frame's number, or without a head its embedding, differs from that of views."""
    head_weight: float = 0.0
    """Of all comparisons, by a number for each frame, whose mean over a clip joins the return."""
    order_weight: float = 0.0
    """Of later frames of preferred clips having larger numbers than earlier ones."""
    smooth_weight: float = 0.0
    """Of the square of what numbers change by from one frame to the next."""
    spoiled_share: float | None = None
    """Of preferred clips turned around, shuffled or cut off, the share that is to be worse than at
    another speed. The distance weighs as little as that takes; None: weighs 1."""
    denoise: float = 0.0
    """Changes of numbers along a clip that are taken for noise, in deviations of all numbers."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(trainer=make_trainer(200, 1e-3)))
    """How it learns from preferences."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_members", "embedding_size", "num_experts"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("max_frames", self.max_frames, 2)
        check_choice("likelihood", self.likelihood, ("log", "linear"))
        for name in ("anchor_weight", "expert_weight", "cycle_weight", "view_weight",
                     "head_weight", "order_weight", "smooth_weight", "denoise"):  # fmt: skip
            check_at_least(name, getattr(self, name), 0)
        for size in self.hidden_sizes:
            check_at_least("hidden_sizes", size, 1)
        if self.spoiled_share is not None:
            check_between("spoiled_share", self.spoiled_share, 0, 1)
        if (self.order_weight or self.smooth_weight or self.denoise) and not self.head_weight:
            raise ValueError(
                "`order_weight`, `smooth_weight` and `denoise` are for the numbers of frames. "
                "Set `head_weight` above 0."
            )
        if self.fit.mistake_rate:
            raise ValueError("`fit.mistake_rate` is not for RAPL. Use `fit.label_smoothing`.")

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "RAPLReward":
        """Return an untrained reward; without a generator its weights are always the same."""
        return RAPLReward(self, obs_dim, action_dim, generator or make_generator(0, "reward"))


@dataclass(frozen=True)
class RAPLPlusConfig(RAPLConfig):
    """RAPL with a number for each frame, learned first, and an alignment for what that cannot see.

    The head learns from all comparisons, from what becomes better along preferred clips, and from
    augmented views. It sees no order; how far the embedding that it made is out of the order of
    preferred clips is added, and weighs what tells them from spoiled copies of themselves. Trained
    by the same comparisons, alignments make both worse.

    `cycle_weight` stays at 0: between clips of several behaviours, most of what cycle consistency
    matches is not the same, and it cost accuracy. Set it where all clips try the same.
    """

    num_members: int = 3
    """Embeddings in the ensemble."""
    standardise: bool = True
    """Give every feature mean 0 and deviation 1 over the labelled clips first."""
    distance: ClipDistanceConfig = field(
        default_factory=lambda: ClipDistanceConfig(
            "soft-dtw", smoothing=0.05, debiased=True, context=3, order_only=True
        )
    )
    """How clips are compared in the reward."""
    num_experts: int = 4
    """Preferred clips that the reward compares with."""
    max_frames: int = 24
    """Frames that a preferred clip, and a clip in training, is thinned out to."""
    anchor_weight: float = 0.0
    """Of the comparisons of two clips by their distance from a better one."""
    plackett_luce: bool = True
    """Take an item and all that it beat in a ranking as one choice, not as so many pairs."""
    view_weight: float = 3.0
    """Of how much a frame's number differs from that of views."""
    head_weight: float = 1.0
    """Of all comparisons, by a number for each frame, whose mean over a clip joins the return."""
    order_weight: float = 0.3
    """Of later frames of preferred clips having larger numbers than earlier ones."""
    smooth_weight: float = 0.1
    """Of the square of what numbers change by from one frame to the next."""
    spoiled_share: float | None = 1.0
    """Of preferred clips turned around, shuffled or cut off, the share that is to be worse than at
    another speed. The distance weighs as little as that takes; None: weighs 1."""
    denoise: float = 0.5
    """Changes of numbers along a clip that are taken for noise, in deviations of all numbers."""
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            trainer=make_trainer(200, 1e-3), label_smoothing=0.1, validation_fraction=0.0
        )
    )
    """How it learns from preferences: from all of them, for so many steps."""


class RAPLReward(EnsembleReward):
    """Minus the distance of a clip from the nearest of the preferred ones, and what a head adds.

    Before it is fitted there are none, and the reward is that of the head, or 0.

    Args:
        config: How it is built and fitted.
        obs_dim: Do, the size of a frame's features.
        action_dim: Da; actions are not looked at.
        generator: Draws the first weights.
    """

    config: RAPLConfig
    couples_rows: ClassVar[bool] = True
    experts: Tensor
    expert_mask: Tensor
    distance_weight: Tensor
    """What a distance of 1 costs, of every member."""
    spread: Tensor
    """Deviation of every member's numbers of labelled frames."""
    unlabelled: SegmentBatch | None = None
    """Clips that nobody compared, for the terms without labels; None for those compared."""

    def __init__(
        self, config: RAPLConfig, obs_dim: int, action_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__(config, obs_dim, action_dim, config.num_members)
        size = config.embedding_size
        self.embedding = EnsembleMLP(
            config.num_members, obs_dim, config.hidden_sizes, size, generator=generator
        )
        self.head = EnsembleMLP(config.num_members, size, (), 1, generator=generator)
        shape = (config.num_experts, config.max_frames)
        self.register_buffer("experts", torch.zeros(*shape, obs_dim))
        self.register_buffer("expert_mask", torch.zeros(shape, dtype=torch.bool))
        self.register_buffer("distance_weight", torch.ones(config.num_members))
        self.register_buffer("spread", torch.zeros(config.num_members))
        self.head.requires_grad_(config.head_weight > 0)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        self.embedding.reset_parameters(generator)
        self.head.reset_parameters(generator)
        self.distance_weight.fill_(1.0)
        self.spread.zero_()

    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Bool[Tensor, "B L"],
    ) -> dict[str, Tensor]:
        """Return the features of the frames, normalised if they are to be, and which are real."""
        return {"features": self.normalised(state), "mask": mask}

    def normalised(self, features: Float[Tensor, "*S Do"]) -> Float[Tensor, "*S Do"]:
        """Return features as embeddings see them."""
        return self.normalize_state(features) if self.config.standardise else features

    def embed(self, features: Float[Tensor, "*S Do"]) -> Float[Tensor, "M *S E"]:
        """Return every member's embedding of frames, as `prepare` has them."""
        embedded: Tensor = self.embedding(features.flatten(0, -2))
        return embedded.view(self.num_members, *features.shape[:-1], -1)

    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return every member's reward of each step; padded steps are 0."""
        if not len(inputs["mask"]):
            return inputs["mask"].float().expand(self.num_members, -1, -1)
        features, mask = inputs["features"], inputs["mask"]
        if self.config.distance.order_only:
            # An order belongs to no single frame, and is compared at one number of frames.
            features, mask = sample_frames(features, mask, self.config.max_frames)
        distance, parts = self.expert_distances(Clips(self.embed(features), mask))
        nearest = distance.argmin(2)
        chosen = parts.gather(2, nearest[..., None, None].expand(-1, -1, 1, parts.shape[3]))
        rewards = -self.distance_weight[:, None, None] * chosen[:, :, 0]
        if self.config.distance.order_only:
            rewards = rewards.sum(2, keepdim=True) * _shares(inputs["mask"])
        if not self.config.head_weight:
            return rewards
        mask = inputs["mask"]
        numbers = self.numbers(self.embed(inputs["features"])) * mask
        if self.config.denoise:
            strength = (self.config.denoise * self.spread)[:, None].expand(numbers.shape[:2])
            flat = denoise(
                numbers.flatten(0, 1), mask.repeat(self.num_members, 1), strength.flatten()
            )
            numbers = flat.view_as(numbers)
        return rewards + numbers * _shares(mask)

    def numbers(self, embedded: Float[Tensor, "M *S E"]) -> Float[Tensor, "M *S"]:
        """Return what the head makes of embedded frames, whatever clip they are from."""
        numbers: Tensor = self.head(embedded.flatten(1, -2))
        return numbers.view(embedded.shape[:-1])

    def expert_distances(
        self, clips: Clips
    ) -> tuple[Float[Tensor, "M B K"], Float[Tensor, "M B K L"]]:
        """Return each clip's distance from each preferred one, and each frame's part in it.

        Args:
            clips: Every member's embedded frames (M, B, L, E), and which are real (B, L).
        """
        frames, mask = clips
        used = self.expert_mask.any(1)
        if not bool(used.any()):
            none = frames.new_zeros(*frames.shape[:2], 1, mask.shape[1])
            return none.sum(3), none
        experts, expert_mask = self.embed(self.experts[used]), self.expert_mask[used]
        shape = (self.num_members, len(mask), len(expert_mask))
        clip = torch.arange(shape[1], device=mask.device).repeat_interleave(shape[2])
        expert = torch.arange(shape[2], device=mask.device).repeat(shape[1])
        distance, parts = self.distances(clips, Clips(experts, expert_mask), (clip, expert))
        return distance.view(shape), parts.view(*shape, -1)

    def distances(
        self, first: Clips, second: Clips, pairs: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "M B"], Float[Tensor, "M B L"]]:
        """Return the distances of pairs of embedded clips (M, ., L, E), and each frame's part."""
        flat, places = [], []
        for clips, place in zip((first, second), pairs, strict=True):
            mask = clips.mask.repeat(self.num_members, 1)
            flat.append(Clips(clips.frames.flatten(0, 1), mask))
            member = torch.arange(self.num_members, device=place.device)[:, None]
            places.append((member * len(clips.mask) + place).flatten())
        config, both = self.config.distance, (places[0], places[1])
        distance, parts = clip_distances(flat[0], flat[1], config, pairs=both)
        shape = (self.num_members, len(pairs[0]))
        return distance.view(shape), parts.view(*shape, -1)

    def pair_losses(
        self, inputs: Inputs, pairs: Any, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return every member's loss on comparisons of clips, a `RankedBatch`."""
        return ranked_losses(self, inputs, pairs, generator)

    def _objective(self, preferences: PairwiseView, generator: torch.Generator | None) -> Any:
        """Return what is trained; for the training pairs, choose the preferred clips first."""
        places = None
        if generator is not None:
            places = choose_experts(preferences, self.config.num_experts)
            self._keep_experts(preferences, places)
        unlabelled = None if self.unlabelled is None else self._prepare(self.unlabelled)
        inputs = self._prepare(preferences.segments)
        return RAPLObjective(
            self, preferences, inputs, experts=places, generator=generator, unlabelled=unlabelled
        )

    @torch.no_grad()
    def _trained(self, preferences: PairwiseView) -> None:
        """Note how much the head's numbers differ, and let the distance weigh what it has to."""
        if not self.config.head_weight:
            return
        inputs = self._prepare(preferences.segments)
        frames = sample_frames(inputs["features"], inputs["mask"], self.config.max_frames)
        seen = self.embed(frames[0])
        self.spread.copy_(self.numbers(seen)[:, frames[1]].std(1, correction=0))
        share = self.config.spoiled_share
        if share is not None:
            places = torch.from_numpy(choose_experts(preferences, 2 * self.config.num_experts))
            weight = least_weight(self, Clips(*frames), places.to(seen.device), share)
            self.distance_weight.copy_(weight)

    @torch.no_grad()
    def _keep_experts(self, preferences: PairwiseView, places: np.ndarray) -> None:
        inputs = self._prepare(preferences.segments[places])
        features, mask = sample_frames(inputs["features"], inputs["mask"], self.config.max_frames)
        self.experts.zero_()
        self.expert_mask.zero_()
        self.experts[: len(places), : features.shape[1]] = features
        self.expert_mask[: len(places), : mask.shape[1]] = mask


def _shares(mask: Bool[Tensor, "B L"]) -> Float[Tensor, "B L"]:
    """Return what each step is of its clip; 0 in padding."""
    return mask / mask.sum(1, keepdim=True).clamp_min(1)

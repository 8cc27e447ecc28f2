"""Reward learning from comparisons on the same frames, without alignment: the strong baseline.

RAPL's published baseline read its labels by a wrong index, learned ten times slower, and had one
linear layer. This one learns from every comparison of a ranking, at a rate that was tried, on the
same features and augmented views, as an ensemble.

Shapes: M members, B clips, L steps.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.errors import check_at_least
from robopref.nn import EnsembleMLP
from robopref.preferences.preference import PairwiseView
from robopref.rewards.ensemble import distinct_segments
from robopref.rewards.fit import FitConfig, Inputs
from robopref.rewards.frame_reward import FrameReward, draw_views, make_trainer, read_views
from robopref.rewards.losses import PairBatch
from robopref.seeding import make_generator


@dataclass(frozen=True)
class VisualRLHFConfig:
    """An ensemble of MLPs on the features of single frames."""

    num_members: int = 3
    """Networks in the ensemble."""
    hidden_sizes: tuple[int, ...] = (32,)
    """Hidden layers; the first is as wide as RAPL's embedding."""
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(trainer=make_trainer(200, 1e-3), validation_fraction=0.0)
    )
    """How it learns from preferences: from all of them, since a fifth of a few rankings tells more
    by being learned from than by saying when to stop."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_members", self.num_members, 1)
        for size in self.hidden_sizes:
            check_at_least("hidden_sizes", size, 1)

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "VisualRLHF":
        """Return an untrained reward; without a generator its weights are always the same."""
        return VisualRLHF(self, obs_dim, action_dim, generator or make_generator(0, "reward"))


class VisualRLHF(FrameReward):
    """A number for each frame; a clip's return is their mean, so that long clips are no better.

    Args:
        config: How it is built and fitted.
        obs_dim: Do, the size of a frame's features.
        action_dim: Da; actions are not looked at.
        generator: Draws the first weights.
    """

    config: VisualRLHFConfig
    couples_rows: ClassVar[bool] = True

    def __init__(
        self, config: VisualRLHFConfig, obs_dim: int, action_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__(config, obs_dim, action_dim, config.num_members)
        self.network = EnsembleMLP(
            config.num_members, obs_dim, config.hidden_sizes, 1, generator=generator
        )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        self.network.reset_parameters(generator)

    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return every member's reward of each step; padded steps are 0."""
        features, mask = inputs["features"], inputs["mask"]
        numbers: Tensor = self.network(features.flatten(0, 1))
        share = mask / mask.sum(1, keepdim=True).clamp_min(1)
        return numbers.view(self.num_members, *mask.shape) * share

    def pair_losses(
        self, inputs: Inputs, pairs: PairBatch, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return every member's loss on pairs; in training clips are seen by one of their views."""
        segments, (a, b) = distinct_segments(inputs, pairs)
        seen = dict(segments)
        if "views" in seen and generator is not None:
            seen["features"] = draw_views(seen["features"], seen["views"], generator)
        returns = self.compute_returns(seen)
        return pairs.losses(returns[:, a], returns[:, b])

    def _fit_inputs(self, preferences: PairwiseView) -> dict[str, Tensor]:
        inputs = super()._fit_inputs(preferences)
        views = read_views(preferences.segments, inputs["mask"])
        return inputs if views is None else inputs | {"views": self.normalize_state(views)}

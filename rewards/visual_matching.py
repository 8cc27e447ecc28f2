"""Rewards by alignment to preferred clips alone: what RAPL is measured against.

The labels say which clips are preferred and nothing else. Frames are compared by the features of
the frozen encoder (ImageNet-OT of RAPL's tables, TemporalOT [1]), or by an embedding that learned
temporal cycle consistency between the clips at hand (TCC-OT [2]).

References:
    [1] Fu et al., Robot policy learning with temporal optimal transport reward, 2024.
    [2] Zakka et al., XIRL: cross-embodiment inverse reinforcement learning, 2021, arXiv:2106.03911.
"""

from dataclasses import dataclass, field
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.nn import EnsembleLinear
from robopref.rewards.clip_distance import ClipDistanceConfig
from robopref.rewards.fit import FitConfig, Inputs
from robopref.rewards.frame_reward import make_trainer
from robopref.rewards.rapl import RAPLConfig, RAPLReward
from robopref.seeding import make_generator


@dataclass(frozen=True)
class ImageNetOTConfig(RAPLConfig):
    """Optimal transport between features as they are, with a regularisation of 0.01."""

    distance: ClipDistanceConfig = field(default_factory=lambda: ClipDistanceConfig(smoothing=0.01))
    """How clips are compared."""
    anchor_weight: float = 0.0
    """Nothing is learned from comparisons."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(trainer=make_trainer(1, 0.0)))
    """Nothing is trained."""

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "MatchingReward":
        """Return a reward without preferred clips yet."""
        return MatchingReward(self, obs_dim, action_dim, generator or make_generator(0, "reward"))


@dataclass(frozen=True)
class TemporalOTConfig(ImageNetOTConfig):
    """The same, costs averaged over the next frames, and matches near the diagonal only."""

    distance: ClipDistanceConfig = field(
        default_factory=lambda: ClipDistanceConfig(smoothing=0.01, context=3, band=10)
    )
    """How clips are compared."""
    num_experts: int = 2
    """Preferred clips that the reward compares with."""


@dataclass(frozen=True)
class TCCOTConfig(ImageNetOTConfig):
    """The same on an embedding learned by temporal cycle consistency, without labels."""

    standardise: bool = True
    """Give every feature mean 0 and deviation 1 over the labelled clips first."""
    cycle_weight: float = 1.0
    """Of temporal cycle consistency between clips, labelled or not."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(trainer=make_trainer(200, 1e-3)))
    """How the embedding learns."""


class MatchingReward(RAPLReward):
    """Minus the distance from the nearest preferred clip; comparisons only name these.

    Args:
        config: How it is built and fitted.
        obs_dim: Do, the size of a frame's features.
        action_dim: Da; actions are not looked at.
        generator: Draws the first weights.
    """

    def embed(self, features: Float[Tensor, "*S Do"]) -> Float[Tensor, "M *S E"]:
        """Return the features themselves, or their embedding where one is learned."""
        if self.config.cycle_weight:
            return super().embed(features)
        return features.expand(self.num_members, *features.shape)

    def pair_losses(
        self, inputs: Inputs, pairs: Any, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return 0, for nothing is learned from comparisons."""
        # By way of the weights, so that there is a gradient to take.
        layer = self.embedding.layers[0]
        assert isinstance(layer, EnsembleLinear)
        return 0.0 * layer.bias.sum((1, 2))

"""A set encoder of clips, as in SARA [1]: like what is preferred, unlike what is not.

A clip's frames, without their order, go through attention into one vector. Preferred clips are
pulled towards one another and away from the others (supervised contrast), which forgives single
wrong labels; the reward of a clip is how much more it is like preferred clips than like others.
The reward of a frame is its share: how much the return would fall were the frame left out of the
mean. Differences from the paper: clips are of whole frames and not of states; one attention layer.

Shapes: M members, B clips, L steps, Do features, E embedding size.

References:
    [1] Rajaram et al., Similarity as reward alignment: robust and versatile preference-based
        reinforcement learning, 2025, arXiv:2506.12529.
"""

from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import normalize

from robopref.errors import check_above, check_at_least
from robopref.nn import EnsembleLinear
from robopref.preferences.preference import PairwiseView
from robopref.rewards.experts import win_shares
from robopref.rewards.fit import FitConfig, Inputs
from robopref.rewards.frame_reward import FrameReward, make_trainer
from robopref.rewards.losses import PairBatch
from robopref.seeding import make_generator


@dataclass(frozen=True)
class VisualSetConfig:
    """An ensemble of set encoders."""

    num_members: int = 3
    """Encoders in the ensemble."""
    embedding_size: int = 16
    """Size of a clip's vector."""
    hidden_size: int = 32
    """Size of a frame's in the attention."""
    contrast_temperature: float = 0.1
    """Difference of cosines that makes the odds e : 1 in the contrast."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(trainer=make_trainer(200, 1e-3)))
    """How it learns from preferences."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_members", "embedding_size", "hidden_size"):
            check_at_least(name, getattr(self, name), 1)
        check_above("contrast_temperature", self.contrast_temperature, 0)

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "VisualSetReward":
        """Return an untrained reward; without a generator its weights are always the same."""
        return VisualSetReward(self, obs_dim, action_dim, generator or make_generator(0, "reward"))


class VisualSetReward(FrameReward):
    """Cosine with the mean of preferred clips, less that with the mean of the others.

    Args:
        config: How it is built and fitted.
        obs_dim: Do, the size of a frame's features.
        action_dim: Da; actions are not looked at.
        generator: Draws the first weights.
    """

    config: VisualSetConfig
    couples_rows: ClassVar[bool] = True
    direction: Tensor

    def __init__(
        self, config: VisualSetConfig, obs_dim: int, action_dim: int, generator: torch.Generator
    ) -> None:
        super().__init__(config, obs_dim, action_dim, config.num_members)
        num, hidden = config.num_members, config.hidden_size
        self.frames = EnsembleLinear(num, obs_dim, hidden, generator=generator)
        self.attention = EnsembleLinear(num, hidden, 1, generator=generator)
        self.clip = EnsembleLinear(num, hidden, config.embedding_size, generator=generator)
        self.register_buffer("direction", torch.zeros(num, config.embedding_size))

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        for layer in (self.frames, self.attention, self.clip):
            layer.reset_parameters(generator)

    def encode(self, inputs: Inputs) -> tuple[Float[Tensor, "M B E"], Float[Tensor, "M B L E"]]:
        """Return the vectors of clips, and what each frame brings to them before normalisation."""
        mask = inputs["mask"]
        rows = inputs["features"].flatten(0, 1).expand(self.num_members, -1, -1)
        hidden = torch.relu(self.frames(rows))
        logits = self.attention(hidden)[..., 0].unflatten(1, mask.shape)
        weight = torch.softmax(logits.masked_fill(~mask, -torch.inf), 2).nan_to_num(0.0)
        brought = self.clip(hidden).unflatten(1, mask.shape) * weight[..., None]
        return normalize(brought.sum(2), dim=-1), brought

    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return every member's reward of each step; padded steps are 0."""
        if not inputs["mask"].numel():
            return inputs["mask"].float().expand(self.num_members, -1, -1)
        _, brought = self.encode(inputs)
        length = torch.linalg.vector_norm(brought.sum(2), dim=-1, keepdim=True).clamp_min(1e-12)
        rewards: Tensor = (brought * self.direction[:, None, None]).sum(-1) / length
        return rewards

    def pair_losses(
        self, inputs: Inputs, pairs: PairBatch, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return every member's supervised contrast between preferred clips and the others."""
        vectors, _ = self.encode(inputs)
        liked = inputs["liked"]
        itself = torch.eye(len(liked), dtype=torch.bool, device=liked.device)
        alike = vectors @ vectors.mT / self.config.contrast_temperature
        # No log-share that is infinite: times 0 it would be NaN.
        log_share = torch.log_softmax(alike.masked_fill(itself, -1e9), 2)
        same = (liked[:, None] == liked) & ~itself
        per_clip = (log_share * same).sum(2) / same.sum(1).clamp_min(1)
        return -per_clip.mean(1)

    def _fit_inputs(self, preferences: PairwiseView) -> dict[str, Tensor]:
        inputs = super()._fit_inputs(preferences)
        return inputs | {"liked": _liked(preferences).to(inputs["mask"].device)}

    @torch.no_grad()
    def _trained(self, preferences: PairwiseView) -> None:
        vectors, _ = self.encode(self._prepare(preferences.segments))
        liked = _liked(preferences).to(vectors.device)
        means = [
            vectors[:, chosen].mean(1) if chosen.any() else torch.zeros_like(self.direction)
            for chosen in (liked, ~liked)
        ]
        self.direction.copy_(means[0] - means[1])


def _liked(preferences: PairwiseView) -> Bool[Tensor, " B"]:
    """Return which clips won more than half of what they were compared in."""
    return torch.from_numpy(win_shares(preferences) > 0.5)

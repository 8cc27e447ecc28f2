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
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import normalize

from robopref.errors import check_above, check_at_least
from robopref.nn import EnsembleLinear
from robopref.preferences.preference import PairwiseView
from robopref.rewards.ensemble import EnsembleReward
from robopref.rewards.experts import win_shares
from robopref.rewards.fit import FitConfig, Inputs
from robopref.rewards.rapl import make_trainer
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


class VisualSetReward(EnsembleReward):
    """Cosine with the mean of preferred clips, less that with the mean of the others.

    Args:
        config: How it is built and fitted.
        obs_dim: Do, the size of a frame's features.
        action_dim: Da; actions are not looked at.
        generator: Draws the first weights.
    """

    config: VisualSetConfig
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

    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Bool[Tensor, "B L"],
    ) -> dict[str, Tensor]:
        """Return the normalised features of the frames and which are real."""
        return {"features": self.normalize_state(state), "mask": mask}

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
        self, inputs: Inputs, pairs: Any, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return every member's supervised contrast between preferred clips and the others."""
        vectors, _ = self.encode(inputs)
        liked = inputs["liked"]
        alike = vectors @ vectors.mT / self.config.contrast_temperature
        alike = alike - torch.diag(torch.full_like(liked, torch.inf, dtype=alike.dtype)).nan_to_num(
            0.0, posinf=1e9
        )
        same = (liked[:, None] == liked) & ~torch.eye(len(liked), dtype=torch.bool)
        log_share = torch.log_softmax(alike, 2)
        per_clip = (log_share * same).sum(2) / same.sum(1).clamp_min(1)
        return -per_clip.mean(1)

    def _objective(self, preferences: PairwiseView, generator: torch.Generator | None) -> Any:
        liked = torch.from_numpy(win_shares(preferences) > 0.5)
        return _Contrast(self, {**self._prepare(preferences.segments), "liked": liked})

    def _train(self, training: PairwiseView, *arguments: Any) -> dict[str, float]:
        figures = super()._train(training, *arguments)
        with torch.no_grad():
            vectors, _ = self.encode(self._prepare(training.segments))
        liked = win_shares(training) > 0.5
        means = [
            vectors[:, chosen].mean(1) if chosen.any() else torch.zeros_like(self.direction)
            for chosen in (np.asarray(liked), ~np.asarray(liked))
        ]
        self.direction.copy_(means[0] - means[1])
        return figures


class _Contrast(nn.Module):
    """The loss of a set encoder on the clips at hand."""

    def __init__(self, reward: VisualSetReward, inputs: Inputs) -> None:
        super().__init__()
        self.reward, self._inputs = reward, inputs

    def forward(self, batch: Any, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        return self.reward.pair_losses(self._inputs, batch, generator).mean(), {}

    def validate(self) -> dict[str, float]:
        losses = self.reward.pair_losses(self._inputs, None, None)
        return {"loss": losses.mean().item()}

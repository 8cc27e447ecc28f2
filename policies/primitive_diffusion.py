"""Diffusion over action primitives: points on or near a cloud, such as where to pick and to place.

A primitive is a chunk of one action, whose numbers are the positions of its points. Cloud and
points are in one frame, around the middle of the cloud, and look at each other by attention; each
candidate looks at the cloud and at itself only.

Shapes: B batch, N candidates, S draws of noise, P points of a cloud, T tokens of a cloud, K points
of an action, Da = 3 K, F features of a token, Dt = 3 + F.

References:
    [1] Chen et al., DeformPAM: Data-efficient learning for long-horizon deformable object
        manipulation via preference-based action alignment, 2024, arXiv:2410.11584.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from robopref.cloud_encoders import check_positions, turned
from robopref.config import component
from robopref.diffusion import noise_error
from robopref.encoders import ObsShapes, Statistics
from robopref.errors import check_at_least, check_between
from robopref.point_attention import PointAttention, PointAttentionConfig
from robopref.policies.denoiser import Modulation, Sinusoids
from robopref.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from robopref.seeding import seeded_weights


@dataclass(frozen=True)
class PointDenoiserConfig(PointAttentionConfig):
    """Settings of `PointDenoiser`."""

    step_dim: int = 64
    """Features of the denoising step."""


class PointDenoiser(nn.Module):
    """Predicts the noise in the points of actions, by attention to a cloud."""

    def __init__(
        self,
        config: PointDenoiserConfig,
        token_dim: int,
        num_points: int,
        *,
        is_symmetric: bool,
    ) -> None:
        super().__init__()
        self.attention = PointAttention(config, token_dim, num_points, is_symmetric=is_symmetric)
        self.sinusoids = Sinusoids(config.step_dim)
        self.step_layer = nn.Linear(config.step_dim, config.width)
        self.adaptation = nn.Linear(config.width, self.attention.adaptation_dim)
        self.out = nn.Linear(config.width, 3)
        for layer in (self.adaptation, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def modulation(
        self, denoise_step: Int[Tensor, " B"], condition: Float[Tensor, "B T Dt"]
    ) -> Modulation:
        """Return how the step adapts each layer, and the cloud's keys and values."""
        return (self.adaptation_to(denoise_step), *self.context(condition))

    def adaptation_to(self, denoise_step: Int[Tensor, " B"]) -> Float[Tensor, "B _"]:
        """Return how each layer is adapted to denoising steps."""
        adaptation: Tensor = self.adaptation(
            functional.silu(self.step_layer(self.sinusoids(denoise_step)))
        )
        return adaptation

    def context(self, condition: Float[Tensor, "B T Dt"]) -> tuple[Tensor, ...]:
        """Return the keys and values of clouds, which are the same at every step."""
        return self.attention.context(condition[..., :3], condition[..., 3:])

    def forward(
        self, noisy: Float[Tensor, "B N 1 Da"], modulation: Modulation
    ) -> Float[Tensor, "B N 1 Da"]:
        """Return the predicted noise of N actions for each of B clouds."""
        adaptation, *context = modulation
        points = noisy.reshape(*noisy.shape[:2], -1, 3)
        out: Tensor = self.out(self.attention(points, tuple(context), adaptation))
        return out.flatten(-2).unsqueeze(2)


@dataclass(frozen=True)
class PrimitiveDiffusionConfig(DiffusionPolicyConfig):
    """Settings of `PrimitiveDiffusionPolicy`."""

    n_obs_steps: int = 1
    """Observations given: one cloud."""
    chunk_size: int = 1
    """Actions predicted: one primitive."""
    n_action_steps: int = 1
    """Actions executed before the next prediction."""
    encoder: Any = component("robopref.cloud_encoders:CLOUD_ENCODERS", default="tokens")
    """What turns a cloud into tokens."""
    denoiser: PointDenoiserConfig = field(default_factory=PointDenoiserConfig)
    """Network that predicts the noise."""
    num_train_steps: int = 100
    """Denoising steps of training."""
    sampler: Literal["ddim", "dpm-solver++"] = "ddim"
    """How actions are sampled."""
    is_symmetric: bool = False
    """Whether the points of an action are a set, as those by which two arms hold a cloth."""
    augment_yaw_deg: float = 180.0
    """In training, cloud and action are turned together by up to so much, either way."""
    draws_per_state: int = 4
    """Noises that each action of a batch gets: its cloud is encoded once for all of them."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_between("augment_yaw_deg", self.augment_yaw_deg, 0, 180)
        check_at_least("draws_per_state", self.draws_per_state, 1)
        for name in ("n_obs_steps", "chunk_size"):
            if getattr(self, name) != 1:
                raise ValueError(
                    f"`{name}` must be 1, got {getattr(self, name)}: a primitive is one action for "
                    "one cloud."
                )

    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> "PrimitiveDiffusionPolicy":
        """Return the policy.

        Raises:
            ValueError: There is no point cloud among the observations, or an action is not made of
                positions.
        """
        with seeded_weights(generator):
            return PrimitiveDiffusionPolicy(self, obs_shapes, action_dim)


class PrimitiveDiffusionPolicy(DiffusionPolicy):
    """Samples primitives for a point cloud by denoising the positions of their points.

    Positions are in metres in the frame of the cloud, z up. A candidate does not depend on how many
    others are sampled, and turning the cloud about z turns what is proposed, as far as training
    with turned clouds has taught it.
    """

    config: PrimitiveDiffusionConfig

    def __init__(
        self, config: PrimitiveDiffusionConfig, obs_shapes: ObsShapes, action_dim: int
    ) -> None:
        check_positions(action_dim)
        super().__init__(config, obs_shapes, action_dim)

    def make_denoiser(self, config: Any) -> PointDenoiser:
        """Return the network that denoises the points of actions."""
        return PointDenoiser(
            config.denoiser, self.encoder.feature_dim, self.action_dim // 3,
            is_symmetric=config.is_symmetric,
        )  # fmt: skip

    def fit_normalizer(self, statistics: Statistics) -> None:
        """There is nothing to fit: actions are in the frame of each cloud."""

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the denoising loss of a batch, each of its actions under several noises."""
        draws = self.config.draws_per_state
        many = {
            key: value if key in self.obs_shapes else value.repeat_interleave(draws, dim=0)
            for key, value in batch.items()
        }
        return super().forward(many, generator)

    def denoise(
        self,
        noisy: Float[Tensor, "B Tp Da"],
        denoise_step: Int[Tensor, " B"],
        condition: Float[Tensor, "_ *Dc"],
    ) -> Float[Tensor, "B Tp Da"]:
        """Return what the network predicts; the actions of a cloud look at the same keys."""
        rows = len(condition)
        adaptation = self.denoiser.adaptation_to(denoise_step).view(
            rows, -1, self.denoiser.attention.adaptation_dim
        )
        together = noisy.view(rows, -1, *noisy.shape[1:])
        predicted: Tensor = self.denoiser(together, (adaptation, *self.denoiser.context(condition)))
        return predicted.flatten(0, 1)

    def candidate_errors(
        self,
        obs: Mapping[str, Tensor],
        candidates: Float[Tensor, "B N Tp Da"],
        denoise_step: Int[Tensor, " S"],
        noise: Float[Tensor, "S Tp Da"],
    ) -> Float[Tensor, "B N S"]:
        """Return `noise_error` of every candidate under every draw, each cloud being seen once."""
        (rows, num), draws = candidates.shape[:2], len(denoise_step)
        obs = {key: obs[key].to(self.device) for key in self.encoder.keys}
        chunk = self.to_network(candidates.to(self.device), obs)
        chunk = chunk.repeat_interleave(draws, dim=1).flatten(0, 1)
        steps, noise = denoise_step.repeat(rows * num), noise.repeat(rows * num, 1, 1)
        noisy = self.schedule.add_noise(chunk, noise, steps)
        predicted = self._as_noise(self.denoise(noisy, steps, self.condition(obs)), noisy, steps)
        return noise_error(predicted, noise).view(rows, num, draws)

    def _sampling_modulations(self, condition: Tensor) -> list[tuple[Tensor, ...]]:
        context = self.denoiser.context(condition)
        steps = [step.denoise_step for step in self.sampler.steps]
        adaptations = self.denoiser.adaptation_to(torch.tensor(steps, device=condition.device))
        return [(row.expand(len(condition), -1), *context) for row in adaptations]

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return a training batch in which each cloud and its actions are turned together."""
        if not self.config.augment_yaw_deg:
            return batch
        return turned(batch, self.config.augment_yaw_deg, generator)

    def to_network(
        self, action: Float[Tensor, "B *N Tp Da"], obs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B *N Tp Da"]:
        """Return positions in the normalised frame of each cloud."""
        normalized: Tensor = self.encoder.to_frame(action, obs)
        return normalized

    def from_network(
        self, action: Float[Tensor, "B *N Tp Da"], obs: Mapping[str, Tensor]
    ) -> Float[Tensor, "B *N Tp Da"]:
        """Return positions in metres."""
        metres: Tensor = self.encoder.from_frame(action, obs)
        return metres

"""Networks that see point clouds: a few tokens, each with a place, for a cloud of many points.

None needs an extension for CUDA, and none has batch norm or dropout: what is compared with a frozen
copy of itself must not depend on what else is in a batch.

Shapes: B batch, P points of a cloud, T tokens, F features of a token, Dt = 3 + F numbers of one,
Da action size, K actions of a cloud.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.encoders import ObsShapes, Statistics
from robopref.errors import check_above
from robopref.registry import Registry
from robopref.shares import draw_rows
from robopref.types import ACTION, POINTS

CLOUD_ENCODERS = Registry("cloud encoder", "robopref.cloud_encoders")
CLOUD_ENCODERS.register(
    "tokens",
    "robopref.token_encoder:TokenEncoderConfig",
    "Points far from each other with their neighbourhoods, and attention among them.",
)
CLOUD_ENCODERS.register(
    "pointnet", "robopref.pointnet:PointNetConfig", "One token for the whole cloud (DP3)."
)
CLOUD_ENCODERS.register(
    "height-map",
    "robopref.height_map:HeightMapConfig",
    "Convolutions over the cloud seen from above: the fastest.",
)

MIN_POINTS = 8
"""Points below which a cloud says too little to act on."""
_FARTHEST = 3.0
"""Points further out than so many times the extent are moved to there."""


@dataclass(frozen=True)
class CloudConfig(ABC):
    """Settings that every encoder of point clouds has."""

    extent_m: float = 0.4
    """Distance from the middle of the cloud that is 1 in the normalised frame [m]; actions lie
    within it."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("extent_m", self.extent_m, 0)

    @abstractmethod
    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "CloudEncoder":
        """Return the encoder."""


class CloudEncoder(nn.Module, ABC):
    """Turns a cloud into tokens, in a frame whose origin is the middle of the cloud.

    The middle is the mean of x and y; the height stays as it is. It turns with the cloud, so that a
    cloud and an action that are turned together are the same to whoever looks.

    Raises:
        ValueError: There is no point cloud among the observations, or a history of them.
    """

    keys: ClassVar[tuple[str, ...]] = (POINTS,)
    seen_shapes: ClassVar[ObsShapes] = {}

    def __init__(self, config: CloudConfig, obs_shapes: ObsShapes, n_obs_steps: int) -> None:
        super().__init__()
        shape = obs_shapes.get(POINTS)
        if shape is None or len(shape) != 2 or shape[1] != 3 or shape[0] < MIN_POINTS:
            raise ValueError(
                f"An encoder of point clouds needs '{POINTS}' of shape (P, 3) with P at least "
                f"{MIN_POINTS}, got {dict(obs_shapes)}."
            )
        if n_obs_steps != 1:
            raise ValueError(
                f"An encoder of point clouds sees one at a time, got `n_obs_steps` {n_obs_steps}."
            )
        self.extent_m = config.extent_m
        self.num_points = shape[0]

    @property
    @abstractmethod
    def feature_dim(self) -> int:
        """Features of a token, F."""

    def fit_normalizer(self, statistics: Statistics) -> None:
        """There is nothing to fit: the frame is that of each cloud."""

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return the batch: another view turns actions too, and is up to the policy."""
        return batch

    def middle(self, obs: Mapping[str, Any]) -> Float[Tensor, "B 3"]:
        """Return where the origin of the normalised frame is, in the cloud's frame [m]."""
        middle: Tensor = obs[POINTS][:, -1].mean(dim=1)
        return middle * middle.new_tensor([1.0, 1.0, 0.0])

    def normalized(self, obs: Mapping[str, Any]) -> Float[Tensor, "B P 3"]:
        """Return the points in the normalised frame."""
        points: Tensor = (obs[POINTS][:, -1] - self.middle(obs)[:, None]) / self.extent_m
        return points.clamp(-_FARTHEST, _FARTHEST)

    def to_frame(
        self, action: Float[Tensor, "B *N Da"], obs: Mapping[str, Any]
    ) -> Float[Tensor, "B *N Da"]:
        """Return the positions that make up actions, in the normalised frame of their clouds.

        There may be more actions than clouds; then each cloud is that of as many which follow one
        another.
        """
        return (action - self._middle_of(action, obs)) / self.extent_m

    def from_frame(
        self, action: Float[Tensor, "B *N Da"], obs: Mapping[str, Any]
    ) -> Float[Tensor, "B *N Da"]:
        """Return positions in metres, of what `to_frame` returned."""
        return action * self.extent_m + self._middle_of(action, obs)

    def forward(self, obs: Mapping[str, Any]) -> Float[Tensor, "B T Dt"]:
        """Return the tokens of each cloud (B, 1, P, 3): where each is, then its features."""
        return torch.cat(self.tokens(self.normalized(obs)), dim=-1)

    def _middle_of(self, action: Tensor, obs: Mapping[str, Any]) -> Tensor:
        """Return the middle of each action's cloud, once for each of its points."""
        middle = self.middle(obs)
        middle = middle.repeat_interleave(len(action) // len(middle), dim=0)
        middle = middle.repeat(1, action.shape[-1] // 3)
        return middle.view(len(action), *(1,) * (action.ndim - 2), action.shape[-1])

    @abstractmethod
    def tokens(
        self, points: Float[Tensor, "B P 3"]
    ) -> tuple[Float[Tensor, "B T 3"], Float[Tensor, "B T F"]]:
        """Return where the tokens are, and their features, for points of the normalised frame."""


def check_positions(action_dim: int) -> None:
    """Raise unless actions can be made of positions.

    Raises:
        ValueError: Their size is no multiple of three.
    """
    if action_dim % 3:
        raise ValueError(
            "A primitive is made of positions, three numbers each, got actions of size "
            f"{action_dim}."
        )


def turned(
    batch: Mapping[str, Tensor], largest_deg: float, generator: torch.Generator
) -> dict[str, Tensor]:
    """Return a batch in which every cloud is turned about z, and its actions with it.

    Each cloud turns about its own middle, by an angle up to `largest_deg` either way. Where there
    are several actions a cloud, those that follow one another, all turn with it.

    Args:
        batch: "observation.points" (B, 1, P, 3) and "action" (B K, Tp, Da); others stay.
        largest_deg: [degrees].
        generator: Draws the angles.
    """
    points, action = batch[POINTS], batch[ACTION]
    drawn = draw_rows(
        len(points), lambda num: torch.rand(num, generator=generator, device=generator.device)
    )
    angle = (2 * drawn - 1).to(points) * math.radians(largest_deg)
    middle = points[:, -1].mean(dim=1) * points.new_tensor([1.0, 1.0, 0.0])
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros_like(angle)
    turn = torch.stack((cos, sin, zero, -sin, cos, zero, zero, zero, zero + 1), dim=1).view(
        -1, 3, 3
    )
    flat = points.flatten(1, 2) - middle[:, None]
    moved = (flat @ turn + middle[:, None]).view_as(points)
    places = action.reshape(len(points), -1, 3) - middle[:, None]
    return {
        **batch, POINTS: moved, ACTION: (places @ turn + middle[:, None]).view_as(action),
    }  # fmt: skip

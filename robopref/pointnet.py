"""A point cloud as one token, by a network that every point goes through.

Shapes: B batch, P points of a cloud, F features of the token.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.cloud_encoders import CloudConfig, CloudEncoder
from robopref.encoders import ObsShapes
from robopref.errors import check_at_least


@dataclass(frozen=True)
class PointNetConfig(CloudConfig):
    """Settings of `PointNet`."""

    hidden_sizes: tuple[int, ...] = (64, 128, 256)
    """Width of each layer that every point goes through."""
    width: int = 96
    """Features of the one token."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_at_least("width", self.width, 1)
        for size in self.hidden_sizes:
            check_at_least("hidden_sizes", size, 1)

    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "PointNet":
        """Return the encoder."""
        return PointNet(self, obs_shapes, n_obs_steps)


class PointNet(CloudEncoder):
    """One token in the middle of the cloud: the largest of each feature over all points.

    Source: Ze et al., 3D Diffusion Policy, 2024, arXiv:2403.03954, section III-B.
    """

    def __init__(self, config: PointNetConfig, obs_shapes: ObsShapes, n_obs_steps: int) -> None:
        super().__init__(config, obs_shapes, n_obs_steps)
        layers: list[nn.Module] = []
        size = 3
        for hidden in config.hidden_sizes:
            layers += [nn.Linear(size, hidden), nn.LayerNorm(hidden), nn.ReLU()]
            size = hidden
        self.each = nn.Sequential(*layers)
        self.out = nn.Sequential(nn.Linear(size, config.width), nn.LayerNorm(config.width))
        self._width = config.width

    @property
    def feature_dim(self) -> int:
        """Features of the token, F."""
        return self._width

    def tokens(
        self, points: Float[Tensor, "B P 3"]
    ) -> tuple[Float[Tensor, "B 1 3"], Float[Tensor, "B 1 F"]]:
        """Return the token, at the origin."""
        features = self.out(self.each(points).amax(dim=1, keepdim=True))
        return torch.zeros_like(points[:, :1]), features

"""A point cloud as a picture of its heights, seen from above.

Shapes: B batch, P points of a cloud, T tokens, F features of a token, G cells along a side.
"""

import itertools
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.cloud_encoders import CloudConfig, CloudEncoder
from robopref.encoders import ObsShapes
from robopref.errors import check_at_least


@dataclass(frozen=True)
class HeightMapConfig(CloudConfig):
    """Settings of `HeightMap`."""

    num_cells: int = 64
    """Cells along a side, a multiple of 8; the map reaches 1.25 extents each way."""
    width: int = 96
    """Features of a token."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_at_least("width", self.width, 1)
        check_at_least("num_cells", self.num_cells, 8)
        if self.num_cells % 8:
            raise ValueError(f"`num_cells` must be a multiple of 8, got {self.num_cells}.")

    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "HeightMap":
        """Return the encoder."""
        return HeightMap(self, obs_shapes, n_obs_steps)


class HeightMap(CloudEncoder):
    """A picture of the heights seen from above, and a token for each 8 x 8 cells of it."""

    REACH = 1.25

    def __init__(self, config: HeightMapConfig, obs_shapes: ObsShapes, n_obs_steps: int) -> None:
        super().__init__(config, obs_shapes, n_obs_steps)
        width = config.width
        self.num_cells = config.num_cells
        sizes = (2, 32, 64, width)
        self.convolutions = nn.Sequential(
            *(
                part
                for size, following in itertools.pairwise(sizes)
                for part in (
                    nn.Conv2d(size, following, 3, stride=2, padding=1),
                    nn.GroupNorm(1, following),
                    nn.SiLU(),
                )
            )
        )
        self.norm = nn.LayerNorm(width)
        self._width = width

    @property
    def feature_dim(self) -> int:
        """Features of a token, F."""
        return self._width

    def tokens(
        self, points: Float[Tensor, "B P 3"]
    ) -> tuple[Float[Tensor, "B T 3"], Float[Tensor, "B T F"]]:
        """Return a token for each patch of the map, on the table in its middle."""
        features = self.convolutions(self._map(points)).flatten(2).transpose(1, 2)
        side = self.num_cells // 8
        middles = (torch.arange(side, device=points.device) + 0.5) / side
        middles = self.REACH * (2 * middles - 1)
        y, x = torch.meshgrid(middles, middles, indexing="ij")
        places = torch.stack((x, y, torch.zeros_like(x)), dim=-1).view(1, -1, 3)
        return places.expand(len(points), -1, -1), self.norm(features)

    @torch.no_grad()
    def _map(self, points: Float[Tensor, "B P 3"]) -> Float[Tensor, "B 2 G G"]:
        """Return the greatest height in each cell, and whether there is anything in it."""
        cell = ((points[..., :2] / self.REACH + 1) / 2 * self.num_cells).long()
        inside = ((cell >= 0) & (cell < self.num_cells)).all(dim=-1)
        place = (cell[..., 1] * self.num_cells + cell[..., 0]).masked_fill(~inside, 0)
        heights = points[..., 2].masked_fill(~inside, -torch.inf)
        empty = points.new_full((len(points), self.num_cells**2), -torch.inf)
        highest = empty.scatter_reduce(1, place, heights, "amax").view(
            -1, self.num_cells, self.num_cells
        )
        there = highest > -torch.inf
        return torch.stack((4 * highest.masked_fill(~there, 0.0), there.to(points.dtype)), dim=1)

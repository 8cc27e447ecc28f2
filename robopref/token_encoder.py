"""A point cloud as tokens: points far from each other, and what lies around each.

Shapes: B batch, P points of a cloud, T tokens, F features of a token.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from robopref.cloud_encoders import CloudConfig, CloudEncoder
from robopref.encoders import ObsShapes
from robopref.errors import check_at_least
from robopref.point_attention import check_turns, rotate


@dataclass(frozen=True)
class TokenEncoderConfig(CloudConfig):
    """Settings of `TokenEncoder`."""

    num_tokens: int = 64
    """Points that become tokens, each as far as can be from those before it."""
    num_neighbours: int = 16
    """Points that each token knows of."""
    width: int = 96
    """Features of a token."""
    num_layers: int = 2
    """Layers of attention among the tokens."""
    num_heads: int = 4
    """Attention heads; six times their number divides the width."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for name in ("num_tokens", "num_neighbours", "width", "num_layers", "num_heads"):
            check_at_least(name, getattr(self, name), 1)
        check_turns(self.width, self.num_heads)

    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "TokenEncoder":
        """Return the encoder."""
        return TokenEncoder(self, obs_shapes, n_obs_steps)


class TokenEncoder(CloudEncoder):
    """Farthest points as tokens, what lies around each as its features, attention among them.

    Source: the grouping of Qi et al., PointNet++, 2017, arXiv:1706.02413, section 3.2, with a
    transformer in the place of further groupings.
    """

    def __init__(self, config: TokenEncoderConfig, obs_shapes: ObsShapes, n_obs_steps: int) -> None:
        super().__init__(config, obs_shapes, n_obs_steps)
        width = config.width
        self.num_tokens = min(config.num_tokens, self.num_points)
        self.num_neighbours = min(config.num_neighbours, self.num_points)
        self.near = nn.Sequential(nn.Linear(4, width), nn.SiLU(), nn.Linear(width, width))
        self.layers = nn.ModuleList(
            _TokenLayer(width, config.num_heads) for _ in range(config.num_layers)
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
        """Return the tokens; the order of the points does not matter."""
        with torch.no_grad():
            chosen = farthest_points(points, self.num_tokens)
            centres = points.gather(1, chosen[..., None].expand(-1, -1, 3))
            near = torch.cdist(centres, points).topk(self.num_neighbours, largest=False).indices
            rows = torch.arange(len(points), device=points.device)[:, None, None]
            offsets = points[rows, near] - centres[:, :, None]
            # Neighbours are close: at the scale of the cloud their offsets would all look alike.
            height = centres[:, :, None, 2:].expand(-1, -1, self.num_neighbours, -1)
            around = torch.cat((4 * offsets, 4 * height), dim=-1)
        features = self.near(around).amax(dim=2)
        for layer in self.layers:
            features = layer(features, centres)
        return centres, self.norm(features)


class _TokenLayer(nn.Module):
    """Attention among tokens that know where they are, and a two-layer perceptron."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_before_attention = nn.LayerNorm(width)
        self.norm_before_mlp = nn.LayerNorm(width)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_in = nn.Linear(width, 2 * width)
        self.mlp_out = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, positions: Tensor) -> Tensor:
        joined = self.attention_in(self.norm_before_attention(x)).chunk(3, dim=-1)
        query, key, value = (y.unflatten(-1, (self.num_heads, -1)).transpose(1, 2) for y in joined)
        where = positions[:, None]
        mixed = functional.scaled_dot_product_attention(
            rotate(query, where), rotate(key, where), value
        )
        x = x + self.attention_out(mixed.transpose(1, 2).reshape(x.shape))
        out: Tensor = x + self.mlp_out(functional.silu(self.mlp_in(self.norm_before_mlp(x))))
        return out


def farthest_points(points: Float[Tensor, "B P 3"], num: int) -> Int[Tensor, "B {num}"]:
    """Return the indices of points, each the farthest from those chosen before it.

    The first is the one farthest from the mean, so that the order of the points does not matter.

    Source: Qi et al., PointNet++, 2017, arXiv:1706.02413, section 3.2.
    """
    rows = torch.arange(len(points), device=points.device)
    chosen = torch.empty((len(points), num), dtype=torch.long, device=points.device)
    farthest = (points - points.mean(1, keepdim=True)).square().sum(-1).argmax(1)
    distance = torch.full_like(points[..., 0], torch.inf)
    for i in range(num):
        chosen[:, i] = farthest
        step = points - points[rows, farthest][:, None]
        distance = torch.minimum(distance, step.square().sum(-1))
        farthest = distance.argmax(1)
    return chosen

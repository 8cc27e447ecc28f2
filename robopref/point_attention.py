"""Attention between the points of an action and a point cloud, both known by where they lie.

Where a point lies enters every attention by a rotation of queries and keys [1, 2], so that only
differences of positions matter: what was learned at one place of the table holds at every other.

Shapes: B batch, N candidates, K points of an action, T tokens of a cloud, W width of a token,
R heads, F features of a token.

References:
    [1] Su et al., RoFormer: Enhanced transformer with rotary position embedding, 2021,
        arXiv:2104.09864, section 3.2.2, here for three axes.
    [2] Chen et al., DeformPAM, 2024, arXiv:2410.11584, whose network has such attention.
    [3] Peebles and Xie, Scalable diffusion models with transformers, 2022, arXiv:2212.09748, 3.2.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from robopref.errors import check_at_least

FASTEST_TURN = 32.0
"""Fastest rotation [radians for each unit of the normalised frame]; the slowest is 1."""


@dataclass(frozen=True)
class PointAttentionConfig:
    """Settings of `PointAttention`."""

    width: int = 96
    """Features of each token."""
    num_layers: int = 2
    """Layers."""
    num_heads: int = 4
    """Attention heads; six times their number divides the width."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("width", "num_layers", "num_heads"):
            check_at_least(name, getattr(self, name), 1)
        check_turns(self.width, self.num_heads)


class PointAttention(nn.Module):
    """Features of the points of actions, which look at the cloud and at their own action's points.

    Candidates do not see one another, so what is said of one does not depend on the others.

    Args:
        config: Sizes.
        token_dim: F.
        num_points: K.
        is_symmetric: Whether the points of an action are a set: exchanging them then exchanges
            what is returned, and nothing else.
    """

    def __init__(
        self, config: PointAttentionConfig, token_dim: int, num_points: int, *, is_symmetric: bool
    ) -> None:
        super().__init__()
        width = config.width
        self.point_layer = nn.Sequential(nn.Linear(3, width), nn.SiLU(), nn.Linear(width, width))
        self.role = None
        if not is_symmetric:
            self.role = nn.Parameter(0.02 * torch.randn(num_points, width))
        self.layers = nn.ModuleList(
            _Layer(width, config.num_heads, token_dim) for _ in range(config.num_layers)
        )
        self.norm = nn.LayerNorm(width)
        self.adaptation_dim = config.num_layers * _Layer.NUM_PARTS * width

    def context(
        self, positions: Float[Tensor, "B T 3"], features: Float[Tensor, "B T F"]
    ) -> tuple[Tensor, ...]:
        """Return what the actions' points look at: keys and values of each layer, (B, R, T, _)."""
        layers = [layer for layer in self.layers if isinstance(layer, _Layer)]
        return tuple(part for layer in layers for part in layer.context(positions, features))

    def forward(
        self,
        points: Float[Tensor, "B N K 3"],
        context: tuple[Tensor, ...],
        adaptation: Float[Tensor, "B *N _"],
    ) -> Float[Tensor, "B N K W"]:
        """Return the features of each point.

        Args:
            points: In the normalised frame of the cloud.
            context: From `context`, of B clouds.
            adaptation: How each layer is scaled, shifted and gated [3], `adaptation_dim` numbers;
                the same for all candidates, or one for each.
        """
        x = self.point_layer(points)
        if self.role is not None:
            x = x + self.role
        if adaptation.ndim == 2:
            adaptation = adaptation[:, None]
        parts = adaptation[:, :, None].chunk(len(self.layers), dim=-1)
        for index, (layer, part) in enumerate(zip(self.layers, parts, strict=True)):
            keys, values = context[2 * index : 2 * index + 2]
            x = layer(x, points, keys, values, part)
        out: Tensor = self.norm(x)
        return out


class _Layer(nn.Module):
    """Attention to the cloud, attention inside the action, and a two-layer perceptron."""

    NUM_PARTS = 9

    def __init__(self, width: int, num_heads: int, token_dim: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norms = nn.ModuleList(nn.LayerNorm(width, elementwise_affine=False) for _ in range(3))
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(token_dim, width)
        # What is looked at also says where it is: an action's points go to points of the cloud.
        self.value = nn.Linear(token_dim + 3, width)
        self.cross_out = nn.Linear(width, width)
        self.self_in = nn.Linear(width, 3 * width)
        self.self_out = nn.Linear(width, width)
        self.mlp_in = nn.Linear(width, 2 * width)
        self.mlp_out = nn.Linear(2 * width, width)

    def context(self, positions: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        keys = rotate(self._split(self.key(features)), positions[:, None])
        return keys, self._split(self.value(torch.cat((features, positions), dim=-1)))

    def forward(
        self, x: Tensor, points: Tensor, keys: Tensor, values: Tensor, adaptation: Tensor
    ) -> Tensor:
        parts = adaptation.chunk(self.NUM_PARTS, dim=-1)
        for norm, branch, (scale, shift, gate) in zip(
            self.norms, (self._look, self._compare, self._think), _threes(parts), strict=True
        ):
            # Gates start at nothing: each layer begins as the identity [3].
            x = torch.addcmul(
                x, gate, branch(torch.addcmul(shift, norm(x), 1 + scale), points, keys, values)
            )
        return x

    def _look(self, x: Tensor, points: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend to the cloud; the points of all candidates are queries side by side."""
        batch, num, size, width = x.shape
        queries = self._split(self.query(x).view(batch, num * size, width))
        queries = rotate(queries, points.reshape(batch, 1, num * size, 3))
        mixed = functional.scaled_dot_product_attention(queries, keys, values)
        return self.cross_out(mixed.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _compare(self, x: Tensor, points: Tensor, _keys: Tensor, _values: Tensor) -> Tensor:
        """Attend to the points of the same action."""
        flat, places = x.flatten(0, 1), points.flatten(0, 1)[:, None]
        queries, keys, values = (self._split(y) for y in self.self_in(flat).chunk(3, dim=-1))
        mixed = functional.scaled_dot_product_attention(
            rotate(queries, places), rotate(keys, places), values
        )
        return self.self_out(mixed.transpose(1, 2).reshape(x.shape))  # type: ignore[no-any-return]

    def _think(self, x: Tensor, _points: Tensor, _keys: Tensor, _values: Tensor) -> Tensor:
        return self.mlp_out(functional.silu(self.mlp_in(x)))  # type: ignore[no-any-return]

    def _split(self, x: Tensor) -> Tensor:
        """Return (B, T, W) by heads, (B, R, T, W / R)."""
        split: Tensor = x.reshape(*x.shape[:-1], self.num_heads, -1).transpose(1, 2)
        return split


def check_turns(width: int, num_heads: int) -> None:
    """Raise unless the features of each head can be turned by positions.

    Raises:
        ValueError: The width is no multiple of six for each head.
    """
    if width % (6 * num_heads):
        raise ValueError(
            f"`width` (={width}) must be a multiple of 6 times `num_heads` (={num_heads}): a pair "
            "of features turns for each of three axes."
        )


def rotate(x: Float[Tensor, "*B T H"], positions: Float[Tensor, "*#B T 3"]) -> Tensor:
    """Return features turned by angles that grow with the position along each axis.

    The product of two such vectors depends on the difference of their positions alone.

    Args:
        x: Features; H is a multiple of six.
        positions: Where each lies, in the normalised frame.
    """
    turns = x.shape[-1] // 6
    exponents = torch.arange(turns, device=x.device) / max(turns - 1, 1)
    frequencies = torch.exp(exponents * math.log(FASTEST_TURN))
    angles = (positions[..., None] * frequencies).flatten(-2)
    cos, sin = angles.cos(), angles.sin()
    first, second = x.chunk(2, dim=-1)
    return torch.cat((first * cos - second * sin, first * sin + second * cos), dim=-1)


def _threes(parts: tuple[Tensor, ...]) -> list[tuple[Tensor, ...]]:
    return [parts[i : i + 3] for i in range(0, len(parts), 3)]

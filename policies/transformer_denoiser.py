"""A transformer over the actions of a chunk, conditioned by adaptive layer norms.

Observation and denoising step enter through the norms [1] and not as tokens [2]: the chunk's path
then holds Tp tokens only, and what they need of the condition is worked out once a sample.

Shapes: B batch, N candidates, Tp action chunk, Da action size, Dc condition size, H width.

References:
    [1] Peebles and Xie, Scalable diffusion models with transformers, 2022, arXiv:2212.09748, 3.2.
    [2] Chi et al., Diffusion Policy, 2023, arXiv:2303.04137, section 4.1.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from robopref.errors import check_at_least
from robopref.policies.denoiser import Modulation, Sinusoids, check_step_dim


@dataclass(frozen=True)
class TransformerDenoiserConfig:
    """Settings of `TransformerDenoiser`."""

    width: int = 128
    """Features of each token."""
    num_layers: int = 4
    """Transformer layers."""
    num_heads: int = 4
    """Attention heads; divides the width."""
    step_dim: int = 64
    """Features of the denoising step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("width", "num_layers", "num_heads"):
            check_at_least(name, getattr(self, name), 1)
        check_step_dim(self.step_dim)
        if self.width % self.num_heads:
            raise ValueError(
                f"`width` (={self.width}) must be a multiple of `num_heads` (={self.num_heads})."
            )

    def build(self, chunk_size: int, action_dim: int, condition_dim: int) -> "TransformerDenoiser":
        """Return the network."""
        return TransformerDenoiser(self, chunk_size, action_dim, condition_dim)


class TransformerDenoiser(nn.Module):
    """Predicts noise by attention among the actions of a chunk."""

    def __init__(
        self,
        config: TransformerDenoiserConfig,
        chunk_size: int,
        action_dim: int,
        condition_dim: int,
    ) -> None:
        super().__init__()
        width = config.width
        self.sinusoids = Sinusoids(config.step_dim)
        self.step_layer = nn.Linear(config.step_dim, width)
        self.condition_layer = nn.Linear(condition_dim, width)
        self.token_layer = nn.Linear(action_dim, width)
        self.position = nn.Parameter(0.02 * torch.randn(chunk_size, width))
        self.layers = nn.ModuleList(
            _Layer(width, config.num_heads) for _ in range(config.num_layers)
        )
        # Six vectors a layer, as in [1]; zero at first, so that each layer starts as the identity.
        self.adaptation = nn.Linear(width, 6 * config.num_layers * width)
        nn.init.zeros_(self.adaptation.weight)
        nn.init.zeros_(self.adaptation.bias)
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, action_dim)

    def modulation(
        self, denoise_step: Int[Tensor, " B"], condition: Float[Tensor, "B Dc"]
    ) -> Modulation:
        """Return scale, shift and gate of each half of each layer."""
        features = self.step_layer(self.sinusoids(denoise_step)) + self.condition_layer(condition)
        return tuple(self.adaptation(functional.silu(features)).chunk(len(self.layers), dim=1))

    def forward(
        self, noisy: Float[Tensor, "B N Tp Da"], modulation: Modulation
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return the predicted noise of N chunks for each of B observations."""
        x = self.token_layer(noisy) + self.position
        for layer, part in zip(self.layers, modulation, strict=True):
            x = layer(x, part[:, None, None].chunk(6, dim=-1))
        predicted: Tensor = self.out(self.norm(x))
        return predicted


class _Layer(nn.Module):
    """Attention and a two-layer perceptron, each scaled, shifted and gated from outside."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.norm_before_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_before_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.attention_in = nn.Linear(width, 3 * width)
        self.attention_out = nn.Linear(width, width)
        self.mlp_in = nn.Linear(width, 4 * width)
        self.mlp_out = nn.Linear(4 * width, width)

    def forward(
        self, x: Float[Tensor, "B N Tp H"], adaptation: tuple[Tensor, ...]
    ) -> Float[Tensor, "B N Tp H"]:
        scale, shift, gate, mlp_scale, mlp_shift, mlp_gate = adaptation
        normed = torch.addcmul(shift, self.norm_before_attention(x), 1 + scale)
        x = torch.addcmul(x, gate, self._attend(normed))
        normed = torch.addcmul(mlp_shift, self.norm_before_mlp(x), 1 + mlp_scale)
        return torch.addcmul(x, mlp_gate, self.mlp_out(functional.silu(self.mlp_in(normed))))

    def _attend(self, x: Tensor) -> Tensor:
        batch, num_candidates, num_steps, width = x.shape
        joined = self.attention_in(x).view(
            batch * num_candidates, num_steps, 3, self.num_heads, width // self.num_heads
        )
        query, key, value = joined.permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(query, key, value)
        out: Tensor = self.attention_out(mixed.transpose(1, 2).reshape(x.shape))
        return out

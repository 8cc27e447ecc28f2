"""A residual MLP that predicts the noise in a whole action chunk at once.

Shapes: B batch, N candidates, Tp action chunk, Da action size, Dc condition size, H width.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from robopref.errors import check_at_least
from robopref.policies.denoiser import Modulation, Sinusoids, check_step_dim


@dataclass(frozen=True)
class MLPDenoiserConfig:
    """Settings of `MLPDenoiser`."""

    width: int = 256
    """Units of each layer."""
    num_blocks: int = 3
    """Residual blocks of two layers."""
    step_dim: int = 64
    """Features of the denoising step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("width", self.width, 1)
        check_at_least("num_blocks", self.num_blocks, 1)
        check_step_dim(self.step_dim)

    def build(self, chunk_size: int, action_dim: int, condition_dim: int) -> "MLPDenoiser":
        """Return the network."""
        return MLPDenoiser(self, chunk_size, action_dim, condition_dim)


class MLPDenoiser(nn.Module):
    """Predicts noise from a chunk, the observation's features and the denoising step.

    The observation enters the first layer, the denoising step shifts every block.
    What does not depend on the chunk is worked out by `modulation`, so that a sampler does it once
    for all its steps and all candidates of an observation.
    """

    def __init__(
        self, config: MLPDenoiserConfig, chunk_size: int, action_dim: int, condition_dim: int
    ) -> None:
        super().__init__()
        width = config.width
        self.width = width
        self.sinusoids = Sinusoids(config.step_dim)
        self.step_layer = nn.Linear(config.step_dim, config.step_dim)
        self.chunk_layer = nn.Linear(chunk_size * action_dim, width)
        self.condition_layer = nn.Linear(condition_dim, width, bias=False)
        # Small on purpose: it is evaluated once a step, yet the optimiser pays for its weights.
        self.shifts = nn.Linear(config.step_dim, (config.num_blocks + 1) * width)
        self.blocks = nn.ModuleList(_Block(width) for _ in range(config.num_blocks))
        self.norm = nn.LayerNorm(width)
        self.out = nn.Linear(width, chunk_size * action_dim)

    def modulation(
        self, denoise_step: Int[Tensor, " B"], condition: Float[Tensor, "B Dc"]
    ) -> Modulation:
        """Return the shift of the first layer and of each block."""
        # A batch holds far more chunks than there are steps.
        steps, place = torch.unique(denoise_step, return_inverse=True)
        features = functional.silu(self.step_layer(self.sinusoids(steps)))
        shifts = self.shifts(features).split(self.width, dim=1)
        first, *rest = (functional.embedding(place, shift) for shift in shifts)
        return (self.condition_layer(condition) + first, *rest)

    def forward(
        self,
        noisy: Float[Tensor, "B N Tp Da"],
        modulation: Modulation,
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return the predicted noise of N chunks for each of B observations."""
        first, *rest = modulation
        x = self.chunk_layer(noisy.flatten(2)) + first[:, None]
        for block, shift in zip(self.blocks, rest, strict=True):
            x = block(x, shift[:, None])
        # SiLU where the field uses Mish: PyTorch has it vectorised, Mish took a fifth of a step.
        out: Tensor = self.out(functional.silu(self.norm(x)))
        return out.view_as(noisy)


class _Block(nn.Module):
    """LayerNorm, layer, shift, SiLU, layer, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(width, width)
        self.second = nn.Linear(width, width)

    def forward(self, x: Tensor, shift: Tensor) -> Tensor:
        hidden = functional.silu(self.first(self.norm(x)) + shift)
        out: Tensor = x + self.second(hidden)
        return out

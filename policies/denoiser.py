"""What every denoiser is, and the features of the denoising step that all of them use.

Shapes: B batch, N candidates, Tp action chunk, Da action size, Dc condition size, H width,
_F features that differ from one part of the modulation to the next.
"""

import math
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Modulation = tuple[Tensor, ...]
"""What a denoiser needs that does not depend on the chunk; each part (B, _F)."""


@runtime_checkable
class Denoiser(Protocol):
    """Predicts the noise in action chunks; also an `nn.Module`.

    What depends on the observation and the denoising step alone is worked out by `modulation`, so
    that a sampler does it once for all its steps and for all candidates of an observation.
    """

    def modulation(
        self, denoise_step: Int[Tensor, " B"], condition: Float[Tensor, "B Dc"]
    ) -> Modulation:
        """Return what the chunks' path needs."""
        ...

    def __call__(
        self, noisy: Float[Tensor, "B N Tp Da"], modulation: Modulation
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return the predicted noise of N chunks for each of B observations."""
        ...


@runtime_checkable
class DenoiserConfig(Protocol):
    """Builds a denoiser."""

    def build(self, chunk_size: int, action_dim: int, condition_dim: int) -> Denoiser:
        """Return the network for chunks (Tp, Da) and conditions (Dc,)."""
        ...


class Sinusoids(nn.Module):
    """Sines and cosines of the denoising step, from one turn a step to one in 10,000.

    Args:
        dim: Number of features, even and at least 4.
    """

    frequencies: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        half = dim // 2
        exponents = torch.arange(half) * -(math.log(10_000) / (half - 1))
        self.register_buffer("frequencies", torch.exp(exponents), persistent=False)

    def forward(self, denoise_step: Int[Tensor, " B"]) -> Float[Tensor, "B F"]:
        """Return the features of each step."""
        angles = denoise_step[:, None] * self.frequencies
        return torch.cat((angles.sin(), angles.cos()), dim=-1)


def check_step_dim(step_dim: int) -> None:
    """Raise unless `Sinusoids` can have `step_dim` features.

    Raises:
        ValueError: It is odd, or less than 4.
    """
    if step_dim < 4 or step_dim % 2:
        raise ValueError(f"`step_dim` must be even and at least 4, got {step_dim}.")

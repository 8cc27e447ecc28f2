"""The one-dimensional UNet of Diffusion Policy, convolving along the action chunk.

The network is that of [1] as LeRobot has it; its weights fit after a permutation. Inside, the time
axis comes first: a convolution is then one matrix product a tap over contiguous rows, with nothing
unfolded, and taps that would only meet padding are not computed. At four steps and kernel 5 those
are three in ten.

Shapes: B batch, N candidates, Tp action chunk, Da action size, Dc condition size, R = B N rows,
T steps at some level, C channels.

References:
    [1] Chi et al., Diffusion Policy, 2023, arXiv:2303.04137, appendix A.
    [2] Perez et al., FiLM, 2017, arXiv:1709.07871.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from robopref.errors import check_at_least
from robopref.policies.denoiser import Modulation, Sinusoids, check_step_dim


@dataclass(frozen=True)
class UNetDenoiserConfig:
    """Settings of `UNetDenoiser`."""

    channels: tuple[int, ...] = (64, 128)
    """Channels at each level; every level but the last halves the chunk."""
    kernel_size: int = 5
    """Steps that a convolution sees, odd."""
    num_groups: int = 8
    """Groups of the group norms; divides the channels."""
    step_dim: int = 64
    """Features of the denoising step."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_groups", self.num_groups, 1)
        check_step_dim(self.step_dim)
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise ValueError(f"`kernel_size` must be odd, got {self.kernel_size}.")
        if not self.channels or any(c < 1 or c % self.num_groups for c in self.channels):
            raise ValueError(
                f"`channels` must be multiples of `num_groups` (={self.num_groups}), "
                f"got {list(self.channels)}."
            )

    def build(self, chunk_size: int, action_dim: int, condition_dim: int) -> "UNetDenoiser":
        """Return the network.

        Raises:
            ValueError: The chunk cannot be halved as often as there are levels.
        """
        factor = 2 ** (len(self.channels) - 1)
        if chunk_size % factor:
            raise ValueError(
                f"`chunk_size` must be a multiple of {factor} for a UNet with "
                f"{len(self.channels)} levels, got {chunk_size}."
            )
        return UNetDenoiser(self, action_dim, condition_dim)


class UNetDenoiser(nn.Module):
    """Predicts noise by convolutions down to fewer steps and up again, with skips.

    Observation and denoising step scale and shift the middle of each residual block (FiLM [2]).
    """

    def __init__(self, config: UNetDenoiserConfig, action_dim: int, condition_dim: int) -> None:
        super().__init__()
        step_dim, sizes = config.step_dim, list(config.channels)
        self.step_encoder = nn.Sequential(
            Sinusoids(step_dim),
            nn.Linear(step_dim, 4 * step_dim),
            nn.Mish(),
            nn.Linear(4 * step_dim, step_dim),
        )

        pairs = list(zip([action_dim, *sizes[:-1]], sizes, strict=True))
        self.down = nn.ModuleList(_Level(config, before, size) for before, size in pairs)
        self.downsample = nn.ModuleList(_Downsample(size) for size in sizes[:-1])
        self.middle = _Level(config, sizes[-1], sizes[-1])
        # Twice the channels: those from below and those of the skip.
        self.up = nn.ModuleList(
            _Level(config, 2 * size, before) for before, size in reversed(pairs[1:])
        )
        self.upsample = nn.ModuleList(_Upsample(size) for size in reversed(sizes[:-1]))
        self.last = _ConvBlock(config, sizes[0], sizes[0])
        self.out = _Conv(sizes[0], action_dim, 1)
        up_sizes = [before for before, _ in reversed(pairs[1:])]
        self._film_sizes = [4 * size for size in [*sizes, sizes[-1], *up_sizes]]
        self.film = nn.Linear(step_dim + condition_dim, sum(self._film_sizes))

    def modulation(
        self, denoise_step: Int[Tensor, " B"], condition: Float[Tensor, "B Dc"]
    ) -> Modulation:
        """Return scale and shift of each residual block, one part a level."""
        features = torch.cat((self.step_encoder(denoise_step), condition), dim=1)
        return tuple(self.film(functional.mish(features)).split(self._film_sizes, dim=1))

    def forward(
        self, noisy: Float[Tensor, "B N Tp Da"], modulation: Modulation
    ) -> Float[Tensor, "B N Tp Da"]:
        """Return the predicted noise of N chunks for each of B observations."""
        num_candidates = noisy.shape[1]
        x = noisy.flatten(0, 1).transpose(0, 1)
        film = iter(
            [part[:, None].expand(-1, num_candidates, -1).flatten(0, 1) for part in modulation]
        )
        skips: list[Tensor] = []
        for index, level in enumerate(self.down):
            x = level(x, next(film))
            skips.append(x)
            if index < len(self.downsample):
                x = self.downsample[index](x)
        x = self.middle(x, next(film))
        for level, upsample in zip(self.up, self.upsample, strict=True):
            x = upsample(level(torch.cat((x, skips.pop()), dim=2), next(film)))
        predicted: Tensor = self.out(self.last(x))
        return predicted.transpose(0, 1).reshape(noisy.shape)


class _Conv(nn.Module):
    """Convolution along time that keeps the length, one matrix product a tap."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(in_channels * kernel_size)
        self.weight = nn.Parameter(torch.empty(kernel_size, in_channels, out_channels))
        self.bias = nn.Parameter(torch.empty(out_channels))
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Float[Tensor, "T R C"]) -> Float[Tensor, "T R O"]:
        num_steps, rows, _ = x.shape
        flat = x.reshape(num_steps * rows, -1)
        half = len(self.weight) // 2
        out = torch.addmm(self.bias, flat, self.weight[half])
        for tap, weight in enumerate(self.weight.unbind(0)):
            offset = tap - half
            length = (num_steps - abs(offset)) * rows
            if offset < 0 and length > 0:
                out[-offset * rows :].addmm_(flat[:length], weight)
            elif offset > 0 and length > 0:
                out[:length].addmm_(flat[offset * rows :], weight)
        return out.view(num_steps, rows, -1)


class _Downsample(nn.Module):
    """Convolution of kernel 3, stride 2 and padding 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _Conv(channels, channels, 3)

    def forward(self, x: Float[Tensor, "T R C"]) -> Float[Tensor, "H R C"]:
        rows, channels = x.shape[1:]
        even, odd = x[0::2].reshape(-1, channels), x[1::2].reshape(-1, channels)
        before, at, after = self.conv.weight.unbind(0)
        out = torch.addmm(self.conv.bias, even, at).addmm_(odd, after)
        out[rows:].addmm_(odd[:-rows], before)
        return out.view(-1, rows, channels)


class _Upsample(nn.Module):
    """Transposed convolution of kernel 4, stride 2 and padding 1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = _Conv(channels, channels, 4)

    def forward(self, x: Float[Tensor, "T R C"]) -> Float[Tensor, "D R C"]:
        num_steps, rows, channels = x.shape
        flat = x.reshape(num_steps * rows, channels)
        first, second, third, fourth = self.conv.weight.unbind(0)
        even = torch.addmm(self.conv.bias, flat, second)
        even[rows:].addmm_(flat[:-rows], fourth)
        odd = torch.addmm(self.conv.bias, flat, third)
        odd[:-rows].addmm_(flat[rows:], first)
        both = torch.stack((even.view_as(x), odd.view_as(x)), dim=1)
        return both.view(2 * num_steps, rows, channels)


class _ConvBlock(nn.Module):
    """Convolution, group norm, Mish."""

    def __init__(self, config: UNetDenoiserConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = _Conv(in_channels, out_channels, config.kernel_size)
        self.norm = nn.GroupNorm(config.num_groups, out_channels)

    def forward(self, x: Float[Tensor, "T R C"]) -> Float[Tensor, "T R O"]:
        return mish(self.norm(self.conv(x).permute(1, 2, 0)).permute(2, 0, 1))


class _Residual(nn.Module):
    """Two convolution blocks with FiLM between them, added to the input."""

    def __init__(self, config: UNetDenoiserConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = _ConvBlock(config, in_channels, out_channels)
        self.second = _ConvBlock(config, out_channels, out_channels)
        self.skip: nn.Module = (
            _Conv(in_channels, out_channels, 1) if in_channels != out_channels else nn.Identity()
        )

    def forward(self, x: Float[Tensor, "T R C"], scale: Tensor, shift: Tensor) -> Tensor:
        hidden = torch.addcmul(shift, self.first(x), scale)
        out: Tensor = self.second(hidden) + self.skip(x)
        return out


class _Level(nn.Module):
    """Two residual blocks; the first changes the number of channels."""

    def __init__(self, config: UNetDenoiserConfig, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = _Residual(config, in_channels, out_channels)
        self.second = _Residual(config, out_channels, out_channels)

    def forward(self, x: Float[Tensor, "T R C"], film: Float[Tensor, "R F"]) -> Tensor:
        scale, shift, second_scale, second_shift = film.chunk(4, dim=1)
        out: Tensor = self.second(self.first(x, scale, shift), second_scale, second_shift)
        return out


def mish(x: Tensor) -> Tensor:
    r"""Return x tanh(softplus(x)), faster than PyTorch's where no gradient is needed.

    With u = e^x, tanh(log(1 + u)) = u (u + 2) / (u (u + 2) + 2); PyTorch's CPU kernel takes a
    logarithm and a hyperbolic tangent of each element, this takes one vectorised exponential.
    Above 20 the factor is 1 in float32, and the bound keeps its square finite.
    """
    if torch.is_grad_enabled():
        return functional.mish(x)
    u = x.clamp(max=20).exp_()
    u = u.addcmul_(u, u + 1)
    return x * u.div_(u + 2)

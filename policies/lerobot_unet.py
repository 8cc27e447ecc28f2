"""The weights of LeRobot's diffusion UNet as those of `UNetDenoiser`, and back.

Both networks compute the same; here the time axis comes first, so convolutions lie in another
order, and the layers that scale and shift (FiLM) are one.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from robopref.policies.unet_denoiser import UNetDenoiser


def from_lerobot(weights: Mapping[str, Tensor], unet: UNetDenoiser) -> dict[str, Tensor]:
    """Return LeRobot's weights under the names and in the layout of `unet`.

    Where LeRobot's network only shifts, what scales is 1 whatever the condition.

    Args:
        weights: Of `DiffusionConditionalUnet1d`, by name.
        unet: A network of the same sizes.

    Raises:
        KeyError: A weight is missing.
    """
    found = {
        ours: weights[theirs].permute(order).contiguous() if order else weights[theirs]
        for ours, theirs, order in _pairs(unet)
    }
    films = [_film(weights, block) for _, block in _blocks(unet)]
    found["film.weight"] = torch.cat([weight for weight, _ in films])
    found["film.bias"] = torch.cat([bias for _, bias in films])
    return found


def to_lerobot(unet: UNetDenoiser) -> dict[str, Tensor]:
    """Return the weights of `unet` under LeRobot's names, for `use_film_scale_modulation`."""
    weights = unet.state_dict()
    found = {}
    for ours, theirs, order in _pairs(unet):
        value = weights[ours]
        if order:
            # The inverse permutation.
            value = value.permute(sorted(range(len(order)), key=order.__getitem__))
        found[theirs] = value.contiguous()
    sizes = [2 * channels for channels, _ in _blocks(unet)]
    for kind in ("weight", "bias"):
        parts = weights[f"film.{kind}"].split(sizes)
        for part, (_, block) in zip(parts, _blocks(unet), strict=True):
            found[f"{block}.cond_encoder.1.{kind}"] = part.contiguous()
    return found


def _film(weights: Mapping[str, Tensor], block: str) -> tuple[Tensor, Tensor]:
    """Return weight and bias of what scales and shifts a residual block."""
    weight, bias = (weights[f"{block}.cond_encoder.1.{kind}"] for kind in ("weight", "bias"))
    if len(bias) == len(weights[f"{block}.conv1.block.0.bias"]):
        weight = torch.cat((torch.zeros_like(weight), weight))
        bias = torch.cat((torch.ones_like(bias), bias))
    return weight, bias


_LINEAR: tuple[int, ...] = ()
_CONVOLUTION = (2, 1, 0)
"""(out, in, taps) as (taps, in, out)."""
_TRANSPOSED = (2, 0, 1)
"""(in, out, taps) as (taps, in, out)."""


def _pairs(unet: UNetDenoiser) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """Yield our name, LeRobot's, and the order of the axes, of all but FiLM's weights."""
    for layer in (1, 3):
        for kind in ("weight", "bias"):
            name = f"step_encoder.{layer}.{kind}"
            yield name, f"diffusion_{name}", _LINEAR
    names = set(unet.state_dict())
    for (_, block), ours in zip(_blocks(unet), _residuals(unet), strict=True):
        for first, theirs in (("first", "conv1"), ("second", "conv2")):
            yield from _block(f"{ours}.{first}", f"{block}.{theirs}")
        if f"{ours}.skip.weight" in names:
            yield from _convolution(f"{ours}.skip", f"{block}.residual_conv")
    for i in range(len(unet.downsample)):
        yield from _convolution(f"downsample.{i}.conv", f"down_modules.{i}.2")
        yield from _convolution(f"upsample.{i}.conv", f"up_modules.{i}.2", _TRANSPOSED)
    yield from _block("last", "final_conv.0")
    yield from _convolution("out", "final_conv.1")


def _residuals(unet: UNetDenoiser) -> list[str]:
    """Return our names of the residual blocks, in the order of FiLM's parts."""
    levels = [f"down.{i}" for i in range(len(unet.down))]
    levels += ["middle", *(f"up.{i}" for i in range(len(unet.up)))]
    return [f"{level}.{block}" for level in levels for block in ("first", "second")]


def _blocks(unet: UNetDenoiser) -> list[tuple[int, str]]:
    """Return the channels of each residual block and LeRobot's name of it, in the same order."""
    levels = [f"down_modules.{i}." for i in range(len(unet.down))]
    levels += ["mid_modules.", *(f"up_modules.{i}." for i in range(len(unet.up)))]
    channels = [len(unet.get_parameter(f"{name}.first.norm.bias")) for name in _residuals(unet)]
    names = [f"{level}{place}" for level in levels for place in (0, 1)]
    return list(zip(channels, names, strict=True))


def _block(ours: str, theirs: str) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield from _convolution(f"{ours}.conv", f"{theirs}.block.0")
    for kind in ("weight", "bias"):
        yield f"{ours}.norm.{kind}", f"{theirs}.block.1.{kind}", _LINEAR


def _convolution(
    ours: str, theirs: str, order: tuple[int, ...] = _CONVOLUTION
) -> Iterator[tuple[str, str, tuple[int, ...]]]:
    yield f"{ours}.weight", f"{theirs}.weight", order
    yield f"{ours}.bias", f"{theirs}.bias", _LINEAR

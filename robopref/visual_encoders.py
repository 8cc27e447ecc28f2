"""Frames of a video in, features of each frame out: a frozen backbone and what stands before it.

Pictures of any size are brought to one. Batch normalisation keeps the statistics of its training,
always: features of a frame must not depend on the frames beside it, and do not drift while heads
are trained on them.

Shapes: N frames, H W pixels, _F features of a frame: (F,), or maps (C, h, w).
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from robopref.backbones import Backbone
from robopref.config import component, resolve
from robopref.errors import DataError, check_at_least, check_choice

Precision = Literal["auto", "float32", "bfloat16"]
FRAMES_AT_ONCE = 45
SMALLEST_PICTURE = 8
"""Pixels on a side below which a picture is refused: it is more likely a list of numbers."""


@dataclass(frozen=True)
class FrameEncoderConfig:
    """What frames are turned into features by."""

    backbone: Any = component("robopref.encoders:FRAME_ENCODERS", default="efficientnet-lite0")
    """The network."""
    size: int = 112
    """Pixels on a side of what it sees."""
    precision: Precision = "auto"
    """bfloat16: where the processor multiplies it by itself, several times faster; auto: there."""
    features: Literal["pooled", "maps"] = "pooled"
    """pooled: one vector for a frame, what is in it; maps: where as well, of an earlier layer."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("size", self.size, SMALLEST_PICTURE)
        check_choice("precision", self.precision, get_args(Precision))
        check_choice("features", self.features, ("pooled", "maps"))

    def build(self) -> "FrameEncoder":
        """Return the encoder, frozen.

        Raises:
            MissingExtraError: A package is not installed.
            FileNotFoundError: Weights are missing.
            CheckpointError: Weights are damaged.
        """
        return FrameEncoder(self)


class FrameEncoder:
    """A frozen backbone and what stands before it.

    Args:
        config: Which, and how.
    """

    network: nn.Module
    """Pictures as `prepare` returns them in, features out."""

    def __init__(self, config: FrameEncoderConfig) -> None:
        self.config = config
        backbone = resolve(config, "backbone").build()
        maps = config.features == "maps"
        self.feature_dim: int = backbone.map_dim if maps else backbone.feature_dim
        """F, or C of maps."""
        self._mean, self._std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std)
        )
        network = (backbone.maps if maps else backbone.network).eval().requires_grad_(False)
        self.fingerprint = _fingerprint(network, config, backbone)
        """Changes with everything that features depend on; names what was cached."""
        self._dtype = torch.bfloat16 if _uses_bf16(config.precision) else torch.float32
        self.network = network.to(self._dtype, memory_format=torch.channels_last)

    def to(self, device: str | torch.device) -> "FrameEncoder":
        """Move the network; frames and features stay on the CPU."""
        self.network = self.network.to(device)
        return self

    @torch.no_grad()
    def encode(self, frames: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N *_F"]:
        """Return the features of frames.

        Raises:
            DataError: There are none, or they are no pictures.
        """
        check_frames(frames)
        pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        parts = [
            self.network(self.prepare(pictures[i : i + FRAMES_AT_ONCE])).float().cpu()
            for i in range(0, len(pictures), FRAMES_AT_ONCE)
        ]
        # Contiguous, as files of arrays take them to be.
        features: np.ndarray = torch.cat(parts).contiguous().numpy()
        if not np.isfinite(features).all():
            frame = int(np.argwhere(~np.isfinite(features))[0][0])
            raise DataError(f"The features of frame {frame} are not finite.")
        return features

    def prepare(self, pictures: UInt8[Tensor, "N 3 H W"]) -> Tensor:
        """Return pictures of the size and scale that the network knows, where it is."""
        device = next(self.network.parameters()).device
        return self.normalise(pictures.to(device).float().div_(255))

    def normalise(self, scaled: Float[Tensor, "N 3 H W"]) -> Tensor:
        """Return pictures in [0, 1] as the network knows them."""
        size = self.config.size
        if scaled.shape[-2:] != (size, size):
            scaled = interpolate(scaled, (size, size), mode="bilinear", antialias=True)
        mean, std = (part.to(scaled.device) for part in (self._mean, self._std))
        normalised = (scaled - mean) / std
        return normalised.to(self._dtype, memory_format=torch.channels_last)


def check_frames(frames: np.ndarray) -> None:
    """Check that `frames` are pictures.

    Raises:
        DataError: There are none, or they are no pictures (N, H, W, 3) of 8 bits.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise DataError(
            f"Frames must be 8-bit pictures (N, H, W, 3), got {frames.dtype} {frames.shape}."
        )
    if not len(frames):
        raise DataError("A clip has no frames: there is nothing to look at.")
    if min(frames.shape[1:3]) < SMALLEST_PICTURE:
        raise DataError(
            f"Frames must have at least {SMALLEST_PICTURE} pixels on a side, "
            f"got {frames.shape[1]} x {frames.shape[2]}."
        )


def _fingerprint(network: nn.Module, config: FrameEncoderConfig, backbone: Backbone) -> str:
    """Return a hash of weights and preparation."""
    settings = (
        type(resolve(config, "backbone")).__name__,
        config.size,
        backbone.mean,
        backbone.std,
    )
    # bfloat16 features differ from float32 ones a little, and must not be mixed with them.
    digest = hashlib.sha256(repr((*settings, _uses_bf16(config.precision))).encode())
    for name, value in sorted(network.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _uses_bf16(precision: Precision) -> bool:
    if precision != "auto":
        return precision == "bfloat16"
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)

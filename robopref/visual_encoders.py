"""Frames of a video in, one feature vector a frame out: backbones, and what stands before them.

Every backbone says the mean and deviation that its weights were learned with; pictures of any size
are brought to one. Batch normalisation keeps the statistics of its training, always: features of a
frame must not depend on the frames beside it, and do not drift while heads are trained on them.

Shapes: N frames, H W pixels, F features.
"""

import hashlib
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn.functional import interpolate

from robopref.checkpoint import load_weights, read_weights
from robopref.config import component, resolve
from robopref.efficientnet import FEATURES, load_lite0
from robopref.errors import DataError, check_at_least, check_choice
from robopref.registry import import_extra
from robopref.seeding import make_generator, seeded_weights

Precision = Literal["auto", "float32", "bfloat16"]
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of torchvision's weights, pixels in [0, 1]."""
FRAMES_AT_ONCE = 45
SMALLEST_PICTURE = 8
"""Pixels on a side below which a picture is refused: it is more likely a list of numbers."""


class Backbone(NamedTuple):
    """A network from normalised pictures (N, 3, H, W) to features (N, F), and how to normalise."""

    network: nn.Module
    feature_dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class EfficientNetLite0Config:
    """EfficientNet-Lite0 learned on ImageNet; its weights come with a package."""

    weights: str = ""
    """A `.pth` file with them; nothing for that of the package."""

    def build(self) -> Backbone:
        """Return the network with its weights.

        Pixels were scaled to -1 to 1 in its training (127 and 128 of 255 there): with ImageNet's
        mean and deviation, as the package's description has it, the first normalisation sees five
        times the variance that it knows.

        Raises:
            MissingExtraError: The package is not installed.
            FileNotFoundError: There is no such file.
            CheckpointError: The file is damaged, or of another network.
        """
        network = load_lite0(Path(self.weights) if self.weights else None)
        network.fold_norms()
        mean, std = 127 / 255, 128 / 255
        return Backbone(network, FEATURES, (mean, mean, mean), (std, std, std))


@dataclass(frozen=True)
class ResNet18Config:
    """ResNet-18 of torchvision, as RAPL's authors use it; the weights have to be at hand."""

    weights: str = ""
    """A `.pth` or `.safetensors` file with torchvision's names."""

    def build(self) -> Backbone:
        """Return the network up to its pooled features.

        Raises:
            MissingExtraError: torchvision is not installed.
            FileNotFoundError: No file was given, or there is none.
            CheckpointError: The file is damaged, or of another network.
        """
        models = import_extra("torchvision.models", purpose="ResNet-18", extra="vision")
        if not self.weights:
            raise FileNotFoundError(
                "ResNet-18 needs `weights`, a file of torchvision's names, got none. Fetch it "
                "where there is a network, with: python -c 'import torchvision.models as m; "
                'm.resnet18(weights="DEFAULT")\', and give the path that it prints.'
            )
        path = Path(self.weights)
        network = models.resnet18(weights=None)
        load_weights(
            network, read_weights(path), where=path, remedy="Give torchvision's resnet18 weights."
        )
        network.fc = nn.Identity()
        return Backbone(network, 512, *IMAGENET)


@dataclass(frozen=True)
class TimmConfig:
    """Any model of timm, by its name; the weights from a file or from the Hugging Face hub."""

    model: str = "resnet18.a1_in1k"
    """Name in timm."""
    weights: str = ""
    """A `.pth` or `.safetensors` file; nothing to fetch them from the hub, or its cache."""

    def build(self) -> Backbone:
        """Return the model without its classifier.

        Raises:
            MissingExtraError: timm is not installed.
            FileNotFoundError: There is no such file, or the hub does not answer.
            CheckpointError: The file is damaged.
        """
        timm = import_extra("timm", purpose=f"The backbone '{self.model}'", extra="vision")
        if self.weights:
            network = timm.create_model(self.model, pretrained=False)
            load_weights(network, read_weights(Path(self.weights)), where=self.weights)
        else:
            network = _from_hub(timm, self.model)
        network.reset_classifier(0)
        facts = network.pretrained_cfg
        return Backbone(network, network.num_features, facts["mean"], facts["std"])


@dataclass(frozen=True)
class SmallCNNConfig:
    """Four convolutions from scratch: a control without any pretraining, or a start of one."""

    width: int = 32
    """Channels of the first layer; doubled by every further one."""
    weights: str = ""
    """A `.safetensors` file of trained ones; nothing for random weights."""
    seed: int = 0
    """Draws the random weights."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("width", self.width, 1)

    def build(self) -> Backbone:
        """Return the network.

        Raises:
            FileNotFoundError: There is no such file.
            CheckpointError: The file is damaged, or of another network.
        """
        widths = [3, *(self.width * 2**i for i in range(4))]
        with seeded_weights(make_generator(self.seed, "small-cnn")):
            layers: list[nn.Module] = []
            for inputs, outputs in pairwise(widths):
                layers += [nn.Conv2d(inputs, outputs, 3, 2, 1), nn.ReLU()]
            network = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        if self.weights:
            load_weights(network, read_weights(Path(self.weights)), where=self.weights)
        return Backbone(network, widths[-1], (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@dataclass(frozen=True)
class FrameEncoderConfig:
    """What frames are turned into features by."""

    backbone: Any = component("robopref.encoders:FRAME_ENCODERS", default="efficientnet-lite0")
    """The network."""
    size: int = 112
    """Pixels on a side of what it sees."""
    precision: Precision = "auto"
    """bfloat16: where the processor multiplies it by itself, several times faster; auto: there."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("size", self.size, SMALLEST_PICTURE)
        check_choice("precision", self.precision, get_args(Precision))

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

    def __init__(self, config: FrameEncoderConfig) -> None:
        self.config = config
        backbone = resolve(config, "backbone").build()
        self.feature_dim: int = backbone.feature_dim
        self._mean, self._std = (
            torch.tensor(values).view(1, 3, 1, 1) for values in (backbone.mean, backbone.std)
        )
        network = backbone.network.eval().requires_grad_(False)
        self.fingerprint = _fingerprint(network, config, backbone)
        """Changes with everything that features depend on; names what was cached."""
        self._dtype = torch.bfloat16 if _uses_bf16(config.precision) else torch.float32
        self._network = network.to(self._dtype, memory_format=torch.channels_last)

    def to(self, device: str | torch.device) -> "FrameEncoder":
        """Move the network; frames and features stay on the CPU."""
        self._network = self._network.to(device)
        self._mean, self._std = self._mean.to(device), self._std.to(device)
        return self

    @torch.no_grad()
    def encode(self, frames: UInt8[np.ndarray, "N H W 3"]) -> Float[np.ndarray, "N F"]:
        """Return the features of frames.

        Raises:
            DataError: There are none, or they are no pictures.
        """
        check_frames(frames)
        pictures = torch.from_numpy(np.ascontiguousarray(frames)).permute(0, 3, 1, 2)
        parts = [
            self._network(self.prepare(pictures[i : i + FRAMES_AT_ONCE])).float().cpu()
            for i in range(0, len(pictures), FRAMES_AT_ONCE)
        ]
        features: np.ndarray = torch.cat(parts).numpy()
        if not np.isfinite(features).all():
            frame = int(np.argwhere(~np.isfinite(features))[0][0])
            raise DataError(f"The features of frame {frame} are not finite.")
        return features

    def prepare(self, pictures: UInt8[Tensor, "N 3 H W"]) -> Tensor:
        """Return pictures of the size and scale that the network knows."""
        scaled = pictures.to(self._mean.device).float().div_(255)
        size = self.config.size
        if scaled.shape[-2:] != (size, size):
            scaled = interpolate(scaled, (size, size), mode="bilinear", antialias=True)
        normalised = (scaled - self._mean) / self._std
        return normalised.to(self._dtype, memory_format=torch.channels_last)


def _from_hub(timm: Any, model: str) -> Any:
    try:
        return timm.create_model(model, pretrained=True)
    except OSError as error:
        raise FileNotFoundError(
            f"The weights of '{model}' could not be fetched from the hub: {error}. "
            "Give `weights`, a file that was fetched where there is a network."
        ) from error


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

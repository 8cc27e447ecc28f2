"""Pictures through a ResNet trained with the policy, as Diffusion Policy has it, and states.

Each picture is normalised, resized, cropped, turned into maps by the ResNet, and the maps into
points: where each of a few learned mixtures of channels is [1, 2]. LeRobot's diffusion policy
computes the same; its weights fit (`robopref.policies.lerobot_vision`). `ImageEncoder` is the one
for a CPU, whose backbone is frozen.

Shapes: B batch, To observation steps, H W pixels, Do size of the state, De of what is beside it,
Dc features.

References:
    [1] Finn et al., Deep spatial autoencoders for visuomotor learning, 2015, arXiv:1509.06113.
    [2] Chi et al., Diffusion Policy: Visuomotor Policy Learning via Action Diffusion, 2023,
        arXiv:2303.04137, section III-B.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from robopref.backbones import IMAGENET
from robopref.encoders import ObsShapes, StateEncoder, StateEncoderConfig, Statistics
from robopref.errors import check_at_least, check_choice
from robopref.image_encoder import KeypointHead, camera_keys
from robopref.nn import Normalizer
from robopref.registry import import_extra
from robopref.shares import draw_rows

ResNetName = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152"]
_CHANNELS_A_GROUP = 16


@dataclass(frozen=True)
class ResNetEncoderConfig:
    """Settings of `ResNetEncoder`."""

    cameras: tuple[str, ...] = ()
    """Names of the cameras that are looked through; none for all that were recorded."""
    model: ResNetName = "resnet18"
    """Name in torchvision."""
    norm: Literal["group", "batch"] = "group"
    """Between convolutions. group: 16 channels each [2]; batch: with the statistics that came with
    the weights, which stay as they are."""
    shared: bool = False
    """Look through all cameras by the same weights; otherwise each has its own."""
    resize: tuple[int, int] | None = None
    """Height and width that pictures are brought to; None for those that they have."""
    crop: tuple[int, int] | None = None
    """Height and width of the part that is seen: a random one in training, else the middle."""
    random_crop: bool = True
    """Crop at random in training."""
    num_points: int = 32
    """Points that are looked for in each picture."""
    states: StateEncoderConfig = field(default_factory=StateEncoderConfig)
    """How the state and other vectors are seen."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("model", self.model, get_args(ResNetName))
        check_choice("norm", self.norm, ("group", "batch"))
        check_at_least("num_points", self.num_points, 1)
        for name in ("resize", "crop"):
            for size in getattr(self, name) or ():
                check_at_least(name, size, 1)

    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "ResNetEncoder":
        """Return the encoder.

        Raises:
            ValueError: A camera is not there, or none is; pictures differ in size, are smaller than
                their crop or too small to find anything in; or there is no state.
            MissingExtraError: torchvision is not installed.
        """
        return ResNetEncoder(self, obs_shapes, n_obs_steps)


class ResNetEncoder(nn.Module):
    """Sees the pictures and states of a history: at each step the state, cameras, what is beside.

    Pictures are normalised by ImageNet's mean and deviation until others are put in.
    """

    def __init__(
        self, config: ResNetEncoderConfig, obs_shapes: ObsShapes, n_obs_steps: int
    ) -> None:
        super().__init__()
        self.config = config
        self.states = StateEncoder(config.states, obs_shapes, n_obs_steps)
        self.cameras = camera_keys(config.cameras, obs_shapes)
        state, *beside = self.states.keys
        self.keys: tuple[str, ...] = (state, *self.cameras, *beside)
        self.seen_shapes: ObsShapes = {}
        self._state_size = obs_shapes[state][0]
        seen = _seen_size(config, [obs_shapes[key] for key in self.cameras])
        self.eyes = nn.ModuleList(
            _Eye(config, seen) for _ in (self.cameras[:1] if config.shared else self.cameras)
        )
        self.pixels = nn.ModuleList(Normalizer(3, "gaussian") for _ in self.cameras)
        for normalizer in self.pixels:
            for buffer, value in zip(normalizer.buffers(), IMAGENET, strict=True):
                buffer.copy_(torch.tensor(value))
        pictured = n_obs_steps * len(self.cameras) * 2 * config.num_points
        self.feature_dim = self.states.feature_dim + pictured

    def train(self, mode: bool = True) -> "ResNetEncoder":
        """Set the mode; batch normalisation keeps its statistics.

        What is compared with a frozen copy of itself must not depend on what else is in a batch.
        """
        super().train(mode)
        for module in self.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        return self

    def fit_normalizer(self, statistics: Statistics) -> None:
        """Take over the statistics of the states of the training data."""
        self.states.fit_normalizer(statistics)

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return a batch with pictures cropped at random; one draw for all steps of a window."""
        if self.config.crop is None or not self.config.random_crop:
            return batch
        return {
            **batch,
            **{
                camera: _cropped_at_random(self._resized(place, batch[camera]), self.config.crop,
                                           generator)
                for place, camera in enumerate(self.cameras)
            },
        }  # fmt: skip

    def forward(self, obs: Mapping[str, Any]) -> Float[Tensor, "B Dc"]:
        """Return features of observations.

        Args:
            obs: Vectors (B, To, ...), and pictures: (B, To, H, W, 3) in 8 bits, or what `augmented`
                made of them.

        Raises:
            ValueError: A picture is neither.
        """
        num_steps = obs[self.keys[0]].shape[1]
        vectors = self.states(obs).unflatten(1, (num_steps, -1))
        parts = [vectors[..., : self._state_size]]
        for place, camera in enumerate(self.cameras):
            pictures = self._prepared(place, obs[camera])
            features = self.eyes[0 if self.config.shared else place](pictures.flatten(0, 1))
            parts.append(features.unflatten(0, (-1, num_steps)))
        parts.append(vectors[..., self._state_size :])
        return torch.cat(parts, dim=-1).flatten(1)

    def _prepared(self, place: int, seen: Tensor) -> Float[Tensor, "B To 3 h w"]:
        if seen.dtype == torch.uint8:
            resized, crop = self._resized(place, seen), self.config.crop
            if crop is None:
                return resized
            down, right = (
                round((size - part) / 2)
                for size, part in zip(resized.shape[-2:], crop, strict=True)
            )
            return resized[..., down : down + crop[0], right : right + crop[1]]
        if seen.is_floating_point() and seen.ndim == 5 and seen.shape[2] == 3:
            return seen
        raise ValueError(
            f"Pictures must be 8-bit (B, To, H, W, 3), got {seen.dtype} {tuple(seen.shape)}."
        )

    def _resized(self, place: int, pictures: Tensor) -> Float[Tensor, "B To 3 H W"]:
        """Return the normalised pictures of a camera, of the size that they are cropped from."""
        scaled: Tensor = self.pixels[place](pictures.float() / 255).movedim(-1, 2)
        if self.config.resize is None or scaled.shape[-2:] == self.config.resize:
            return scaled
        flat = interpolate(
            scaled.flatten(0, 1), self.config.resize, mode="bilinear", antialias=True
        )
        return flat.view(*scaled.shape[:3], *self.config.resize)


class _Eye(nn.Module):
    """A ResNet up to its last maps, and the points in them."""

    def __init__(self, config: ResNetEncoderConfig, size: tuple[int, int]) -> None:
        super().__init__()
        models = import_extra(
            "torchvision.models", purpose=f"The encoder's {config.model}", extra="vision"
        )
        norms = {"norm_layer": _group_norm} if config.norm == "group" else {}
        whole = getattr(models, config.model)(weights=None, **norms)
        # Without pooling and classifier; LeRobot's weights are named by these places.
        self.backbone = nn.Sequential(*list(whole.children())[:-2])
        self.backbone.eval()
        with torch.no_grad():
            maps = tuple(self.backbone(torch.zeros(1, 3, *size)).shape[1:])
        if maps[1] * maps[2] == 1:
            raise ValueError(
                f"Pictures must leave more than one location in the maps of {config.model}, or it "
                f"sees nothing: more than 32 pixels on a side, got {size}."
            )
        self.head = KeypointHead(maps, config.num_points, 2 * config.num_points)

    def forward(self, pictures: Float[Tensor, "R 3 h w"]) -> Float[Tensor, "R F"]:
        features: Tensor = self.head(self.backbone(pictures))
        return features


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(channels // _CHANNELS_A_GROUP, channels)


def _seen_size(config: ResNetEncoderConfig, shapes: list[tuple[int, ...]]) -> tuple[int, int]:
    """Return height and width of what the network sees.

    Raises:
        ValueError: Pictures differ in size, or are smaller than their crop.
    """
    if config.resize is None and len(set(shapes)) > 1:
        raise ValueError(
            f"Cameras must record pictures of one size where `resize` is None, got {shapes}."
        )
    whole = config.resize or (shapes[0][0], shapes[0][1])
    if config.crop is None:
        return whole
    if config.crop[0] > whole[0] or config.crop[1] > whole[1]:
        raise ValueError(f"`crop` must lie within the pictures, {whole}, got {config.crop}.")
    return config.crop


def _cropped_at_random(
    pictures: Float[Tensor, "B To 3 H W"], crop: tuple[int, int], generator: torch.Generator
) -> Float[Tensor, "B To 3 h w"]:
    room = [size - part + 1 for size, part in zip(pictures.shape[-2:], crop, strict=True)]
    corners = draw_rows(
        len(pictures),
        lambda num: torch.stack(
            [torch.randint(free, (num,), generator=generator) for free in room], dim=1
        ),
    )
    return torch.stack([
        rows[..., down : down + crop[0], right : right + crop[1]]
        for rows, (down, right) in zip(pictures, corners.tolist(), strict=True)
    ])  # fmt: skip

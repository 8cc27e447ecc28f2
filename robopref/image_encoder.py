"""Pictures of one or more cameras as what a policy sees: maps of a backbone, and a trained head.

A head on pooled features would know what is in a picture and hardly where. So the head gets maps of
an early layer, at an eighth of the resolution, and reads points off them: for each of a few learned
mixtures of channels, where it is in the picture [1, 2]. On 1,300 frames of a planar task it told
where hand and blocks are more exactly than layers on all locations did. While the backbone is
frozen its maps are computed once an episode and stand in place of the pictures
(`robopref.episode_pictures`); augmented views are encoded with them, and training draws one of them
for each window.

Shapes: B batch, To observation steps, H W pixels, V views, C h w maps, K points, Dc features.

References:
    [1] Finn et al., Deep spatial autoencoders for visuomotor learning, 2015, arXiv:1509.06113.
    [2] Chi et al., Diffusion Policy: Visuomotor Policy Learning via Action Diffusion, 2023,
        arXiv:2303.04137, section III-B.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.config import component
from robopref.encoders import ObsShapes, Statistics
from robopref.errors import check_at_least
from robopref.frame_features import AugmentationConfig, FeatureCache, augment_pictures
from robopref.nn import Normalizer
from robopref.shares import draw_rows
from robopref.types import IMAGES, STATE
from robopref.visual_encoders import FrameEncoder, FrameEncoderConfig


@dataclass(frozen=True)
class ImageEncoderConfig:
    """Settings of `ImageEncoder`."""

    cameras: tuple[str, ...] = ()
    """Names of the cameras that are looked through; none for all that were recorded."""
    state: tuple[int, ...] = ()
    """Places of the numbers of the state that are seen as well, such as those of the hand."""
    backbone: Any = component("robopref.encoders:FRAME_ENCODERS", default="efficientnet-lite0")
    """The network under the head."""
    size: int = 112
    """Pixels on a side of what it sees."""
    train_backbone: bool = False
    """Train it too, end to end, on the pictures themselves; for a GPU."""
    num_points: int = 32
    """Points that the head looks for in each picture."""
    width: int = 128
    """Features of a picture."""
    augmentation: AugmentationConfig = field(
        default_factory=lambda: AugmentationConfig(
            num_views=2, shift=0.03, zoom=0.03, colour=0.2, grey=0.0, blur=0.0
        )
    )
    """How pictures are cropped and recoloured in training. Small shifts: a policy has to know where
    things are. With a trained backbone each picture is drawn anew, unless `num_views` is 0."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_points", "width"):
            check_at_least(name, getattr(self, name), 1)
        for place in self.state:
            check_at_least("state", place, 0)
        self.frames()

    def frames(self) -> FrameEncoderConfig:
        """Return what makes maps of pictures; in float32, as what is trained on them."""
        return FrameEncoderConfig(self.backbone, self.size, "float32", "maps")

    def build(self, obs_shapes: ObsShapes, n_obs_steps: int) -> "ImageEncoder":
        """Return the encoder.

        Raises:
            ValueError: A camera is not there, or none is, or there is no such part of the state.
            MissingExtraError: A package of the backbone is not installed.
            FileNotFoundError: Weights of the backbone are missing.
            CheckpointError: They are damaged.
        """
        return ImageEncoder(self, obs_shapes, n_obs_steps)


class ImageEncoder(nn.Module):
    """Looks at the pictures of a history through a backbone, each by itself, with one head.

    Every camera has a head of its own. The backbone keeps the statistics of its batch normalisation
    even where it is trained.
    """

    def __init__(self, config: ImageEncoderConfig, obs_shapes: ObsShapes, n_obs_steps: int) -> None:
        super().__init__()
        self.config = config
        self.cameras = camera_keys(config.cameras, obs_shapes)
        self.keys: tuple[str, ...] = (*self.cameras, *((STATE,) if config.state else ()))
        self.frames: FrameEncoder = config.frames().build()
        self.backbone = self.frames.network  # Registered, so that it is saved and moved.
        self.backbone.requires_grad_(config.train_backbone)
        with torch.no_grad():
            blank = torch.zeros(1, 3, config.size, config.size)
            maps = tuple(self.backbone(self.frames.normalise(blank)).shape[1:])
        if len(maps) != 3:
            raise ValueError(f"`backbone` must return maps (C, h, w), got {maps}. Take another.")
        self.seen_shapes: ObsShapes = (
            {} if config.train_backbone else dict.fromkeys(self.cameras, maps)
        )
        """Shape of the maps that may stand in place of a picture, by camera."""
        self.heads = nn.ModuleList(_Head(maps, config) for _ in self.cameras)
        if config.state:
            self.state_normalizer = Normalizer(_state_size(config, obs_shapes), "range")
        each = len(self.cameras) * config.width + len(config.state)
        self.feature_dim = n_obs_steps * each

    def cache(self, directory: Path | None, *, views: bool = True) -> FeatureCache:
        """Return what makes maps of episodes once, and keeps them in `directory` if given.

        Args:
            directory: Where; None keeps nothing.
            views: Encode the augmented views of training too.
        """
        plain = AugmentationConfig()
        return FeatureCache(self.frames, directory, self.config.augmentation if views else plain)

    def train(self, mode: bool = True) -> "ImageEncoder":
        """Set the mode of the head; the backbone's batch normalisation stays as it is."""
        super().train(mode)
        self.backbone.eval()
        return self

    def fit_normalizer(self, statistics: Statistics) -> None:
        """Take over the statistics of the training data."""
        if self.config.state:
            chosen = list(self.config.state)
            self.state_normalizer.fit(
                {name: statistics[STATE][name][chosen] for name in ("min", "max", "mean", "std")}
            )

    def augmented(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> Mapping[str, Tensor]:
        """Return a batch with another view of each window; one draw for all its steps."""
        changed = {camera: self._another_view(batch[camera], generator) for camera in self.cameras}
        return {**batch, **changed}

    def _another_view(self, seen: Tensor, generator: torch.Generator) -> Tensor:
        if seen.dtype != torch.uint8:  # (B, To, 1 + V, C, h, w), the first as it is.
            drawn = draw_rows(
                len(seen), lambda num: torch.randint(seen.shape[2], (num,), generator=generator)
            )
            rows = torch.arange(len(seen), device=seen.device)
            return seen[rows, :, drawn.to(seen.device)][:, :, None]
        if not self.config.augmentation.num_views:
            return seen
        pictures = seen.movedim(-1, 2).float().div_(255)
        changed = augment_pictures(pictures, self.config.augmentation, generator)
        return changed.mul_(255).round_().byte().movedim(2, -1)

    def forward(self, obs: Mapping[str, Any]) -> Float[Tensor, "B Dc"]:
        """Return features of observations: pictures (B, To, H, W, 3), 8-bit, or their maps.

        Raises:
            ValueError: It is neither.
        """
        parts = [
            head(self._maps(obs[camera])).flatten(1)
            for camera, head in zip(self.cameras, self.heads, strict=True)
        ]
        if self.config.state:
            state: Tensor = self.state_normalizer(obs[STATE][..., list(self.config.state)])
            parts.append(state.clamp(-5.0, 5.0).flatten(1))
        return torch.cat(parts, dim=1)

    def _maps(self, seen: Tensor) -> Float[Tensor, "B To C h w"]:
        if seen.ndim == 6:
            return seen[:, :, 0].float()
        if seen.dtype != torch.uint8:
            raise ValueError(
                "Pictures must be 8-bit (B, To, H, W, 3), or their maps (B, To, V, C, h, w), got "
                f"{seen.dtype} {tuple(seen.shape)}."
            )
        pictures = seen.flatten(0, 1).movedim(-1, 1)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.config.train_backbone):
            maps: Tensor = self.backbone(self.frames.prepare(pictures))
        return maps.view(*seen.shape[:2], *maps.shape[1:]).contiguous()


class KeypointHead(nn.Module):
    """Where each of a few mixtures of channels is, on average over a softmax of the locations.

    Args:
        maps: Shape of the maps, (C, h, w).
        num_points: K, mixtures.
        width: Features of a picture.
    """

    places: Tensor
    """Right and down of each location, from -1 to 1."""

    def __init__(self, maps: tuple[int, ...], num_points: int, width: int) -> None:
        super().__init__()
        channels, rows, columns = maps
        self.mixtures = nn.Conv2d(channels, num_points, 1)
        self.out = nn.Linear(2 * num_points, width)
        down, right = torch.meshgrid(
            torch.linspace(-1, 1, rows), torch.linspace(-1, 1, columns), indexing="ij"
        )
        places = torch.stack((right.flatten(), down.flatten()), dim=1)
        self.register_buffer("places", places, persistent=False)

    def forward(self, maps: Float[Tensor, "R C h w"]) -> Float[Tensor, "R F"]:
        """Return the features of each picture."""
        points = self.mixtures(maps).flatten(2).softmax(dim=-1) @ self.places
        features: Tensor = torch.relu(self.out(points.flatten(1)))
        return features


class _Head(KeypointHead):
    """The same for maps of any scale."""

    def __init__(self, maps: tuple[int, ...], config: ImageEncoderConfig) -> None:
        super().__init__(maps, config.num_points, config.width)
        self.norm = nn.GroupNorm(1, maps[0])  # Scales differ from backbone to backbone.

    def forward(self, maps: Float[Tensor, "B To C h w"]) -> Float[Tensor, "B To F"]:
        """Return the features of each picture of a history."""
        features = super().forward(self.norm(maps.flatten(0, 1)))
        return features.view(*maps.shape[:2], -1)


def camera_names(obs_shapes: ObsShapes) -> tuple[str, ...]:
    """Return the names of the cameras among observations."""
    return tuple(key.removeprefix(IMAGES) for key in obs_shapes if key.startswith(IMAGES))


def camera_keys(cameras: tuple[str, ...], obs_shapes: ObsShapes) -> tuple[str, ...]:
    """Return the keys of the chosen cameras.

    Raises:
        ValueError: One is not there, or there are none.
    """
    there = camera_names(obs_shapes)
    missing = [camera for camera in cameras if camera not in there]
    if missing or not there:
        wanted = f"camera '{missing[0]}'" if missing else "a camera"
        raise ValueError(
            f"An encoder of pictures needs {wanted} among the observations, got "
            f"{sorted(obs_shapes)}. Record them with: robopref collect --cameras."
        )
    return tuple(IMAGES + camera for camera in (cameras or there))


def _state_size(config: ImageEncoderConfig, obs_shapes: ObsShapes) -> int:
    """Return how many numbers of the state are seen.

    Raises:
        ValueError: The state is shorter.
    """
    size = obs_shapes.get(STATE, (0,))[0]
    if config.state and max(config.state) >= size:
        raise ValueError(
            f"`state` must name places of '{STATE}' below {size}, got {max(config.state)}."
        )
    return len(config.state)

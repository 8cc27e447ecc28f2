"""Features of frames, computed once: a cache by content, and views for augmentation.

What is learned on top of a frozen encoder sees each frame many times and the encoder once. A clip
is a file of its own, put in place in one step, so that a kill loses at most the clip at hand and
several processes may share the folder. Augmented views of a clip are encoded with it: whoever
trains draws one of them at every step.

Shapes: T frames of a clip, V views, B clips, H W pixels, _F features of a frame: (F,), or maps
(C, h, w).
"""

import hashlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.numpy import load_file, save
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, pad

from robopref.config import write_bytes_atomically
from robopref.errors import check_at_least, check_between
from robopref.seeding import make_generator
from robopref.shares import draw_rows
from robopref.visual_encoders import FrameEncoder, check_frames

logger = logging.getLogger(__name__)

VIEWS = "observation.views"
"""Key of features of augmented frames, (..., V, F), beside those of the frames as they are."""


@dataclass(frozen=True)
class AugmentationConfig:
    """How the augmented views of a clip differ from it. One draw holds for all its frames."""

    num_views: int = 0
    """Views of each clip; each costs as much as the clip itself."""
    shift: float = 0.08
    """Largest shift, as a share of the picture."""
    zoom: float = 0.1
    """Largest change of size, as a share of it."""
    colour: float = 0.2
    """Largest change of brightness, contrast and saturation, as a share of them."""
    grey: float = 0.1
    """Probability of a view without colours."""
    blur: float = 0.1
    """Probability of a blurred view."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_views", self.num_views, 0)
        for name in ("shift", "zoom", "colour", "grey", "blur"):
            check_between(name, getattr(self, name), 0, 1)


@dataclass(frozen=True, eq=False)
class ClipFeatures:
    """Features of a clip's frames.

    Args:
        features: Of the frames as they are.
        views: Of augmented ones; V may be 0.
    """

    features: Float[np.ndarray, "T *_F"]
    views: Float[np.ndarray, "T V *_F"]


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """Encodes clips and keeps what came out.

    Args:
        encoder: What turns frames into features.
        directory: Where features are kept, beside the data or in a run; None keeps nothing.
        augmentation: The views.
    """

    encoder: FrameEncoder
    directory: Path | None = None
    augmentation: AugmentationConfig = field(default_factory=AugmentationConfig)

    def features(
        self,
        frames: UInt8[np.ndarray, "T H W 3"] | Callable[[], np.ndarray],
        *,
        key: str | None = None,
    ) -> ClipFeatures:
        """Return the features of a clip, from the cache if it is there.

        Args:
            frames: The clip; or what decodes or renders it, called only if need be.
            key: What the clip is, such as the hash of its episode and the camera; None for a hash
                of the frames.

        Raises:
            DataError: There are no frames, or they are no pictures.
        """
        if key is None:
            frames = frames() if callable(frames) else frames
            check_frames(frames)
            key = hashlib.sha256(repr(frames.shape).encode() + frames.tobytes()).hexdigest()
        path = self._path(key)
        if path is not None and path.is_file():
            try:
                return _from_arrays(load_file(path))
            except (SafetensorError, OSError, KeyError) as error:
                logger.warning("'%s' is damaged (%s); its clip is encoded again.", path, error)
        arrays = self._encode(frames() if callable(frames) else frames, key)
        if path is not None:
            write_bytes_atomically(path, save(arrays))
        return _from_arrays(arrays)

    def _encode(self, frames: np.ndarray, key: str) -> dict[str, np.ndarray]:
        check_frames(frames)
        generator = make_generator(int(hashlib.sha256(key.encode()).hexdigest()[:8], 16), "views")
        views = [
            self.encoder.encode(augment(frames, self.augmentation, generator))
            for _ in range(self.augmentation.num_views)
        ]
        features = self.encoder.encode(frames)
        none = np.zeros((len(features), 0, *features.shape[1:]))
        stacked = np.stack(views, 1) if views else none
        # Half the disk; what is read back later must equal what is returned now.
        largest = max(np.abs(features).max(), np.abs(stacked).max(initial=0))
        kept = np.float16 if largest < 1e4 else np.float32
        return {"features": features.astype(kept), "views": stacked.astype(kept)}

    def _path(self, key: str) -> Path | None:
        if self.directory is None:
            return None
        name = hashlib.sha256(f"{key} {self.augmentation}".encode()).hexdigest()[:32]
        return self.directory / self.encoder.fingerprint / name[:2] / f"{name}.safetensors"


def augment(
    frames: UInt8[np.ndarray, "T H W 3"], config: AugmentationConfig, generator: torch.Generator
) -> UInt8[np.ndarray, "T H W 3"]:
    """Return a clip shifted, zoomed and recoloured by one draw for all its frames."""
    pictures = torch.from_numpy(frames.astype(np.float32)).permute(0, 3, 1, 2) / 255
    changed = augment_pictures(pictures[None], config, generator)[0]
    kept: np.ndarray = (changed * 255).round().byte().permute(0, 2, 3, 1).numpy()
    return kept


def augment_pictures(
    pictures: Float[Tensor, "B T 3 H W"], config: AugmentationConfig, generator: torch.Generator
) -> Float[Tensor, "B T 3 H W"]:
    """Return clips in [0, 1] shifted, zoomed and recoloured, each by a draw of its own."""
    size = len(pictures)
    spread = (config.zoom, 2 * config.shift, 2 * config.shift, *(config.colour,) * 3)
    drawn = 2 * _chances(size, len(spread), generator) - 1
    drawn = (drawn * torch.tensor(spread)).to(pictures)
    chances = _chances(size, 2, generator).to(pictures)
    changed = _moved(pictures, 1 + drawn[:, 0], drawn[:, 1], drawn[:, 2])
    brightness, contrast, saturation = (1 + drawn[:, i, None, None, None, None] for i in (3, 4, 5))
    changed = changed * brightness
    changed = changed.mean((1, 2, 3, 4), keepdim=True).lerp(changed, contrast)
    saturation = saturation.where(chances[:, :1, None, None, None] >= config.grey, 0.0)
    changed = changed.mean(2, keepdim=True).lerp(changed, saturation)
    if config.blur > 0:
        flat = pad(changed.flatten(0, 1), (1, 1, 1, 1), mode="replicate")
        blurred = avg_pool2d(flat, 3, 1).view_as(changed)
        changed = blurred.where(chances[:, 1:, None, None, None] < config.blur, changed)
    return changed.clamp(0, 1)


def _chances(rows: int, columns: int, generator: torch.Generator) -> Tensor:
    return draw_rows(rows, lambda num: torch.rand(num, columns, generator=generator))


def _moved(
    pictures: Float[Tensor, "B T 3 H W"],
    scale: Float[Tensor, " B"],
    right: Float[Tensor, " B"],
    down: Float[Tensor, " B"],
) -> Float[Tensor, "B T 3 H W"]:
    zero = torch.zeros_like(scale)
    corners = torch.stack((scale, zero, right, zero, scale, down), dim=1).view(-1, 2, 3)
    flat = pictures.flatten(0, 1)
    grid = torch.nn.functional.affine_grid(
        corners.repeat_interleave(pictures.shape[1], dim=0), list(flat.shape), align_corners=False
    )
    return grid_sample(flat, grid, padding_mode="border", align_corners=False).view_as(pictures)


def _from_arrays(arrays: dict[str, np.ndarray]) -> ClipFeatures:
    return ClipFeatures(*(arrays[name].astype(np.float32) for name in ("features", "views")))

"""How LeRobot's diffusion policy sees, as `ResNetEncoder`, and back: settings and weights.

Shapes: C channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from robopref.encoders import StateEncoderConfig
from robopref.resnet_encoder import ResNetEncoder, ResNetEncoderConfig
from robopref.types import IMAGES

ONE_CAMERA = "observation.image"
"""LeRobot's key of the only camera of some data sets; `observation.images.image` here."""
_POINTS = "diffusion.rgb_encoder.{}pool.pos_grid"
"""Where the maps' locations are; follows from their size."""


def with_our_keys(features: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of each feature under the keys that cameras have here."""
    return {f"{IMAGES}image" if key == ONE_CAMERA else key: v for key, v in features.items()}


def encoder_config(
    theirs: Mapping[str, Any], cameras: Sequence[str], states: StateEncoderConfig
) -> ResNetEncoderConfig:
    """Return the settings of the encoder that sees as LeRobot's policy does.

    Args:
        theirs: LeRobot's config.
        cameras: Keys of the pictures, in the order in which they are laid side by side.
        states: How vectors are seen.

    Raises:
        KeyError: A setting is missing.
        ValueError: There is no such encoder here.
    """
    resize, crop = theirs.get("resize_shape"), theirs["crop_shape"]
    if resize is not None:
        # LeRobot takes the crop from the ratio then, whatever else is said.
        ratio = theirs.get("crop_ratio", 1.0)
        crop = [int(size * ratio) for size in resize] if ratio < 1 else None
    return ResNetEncoderConfig(
        cameras=tuple(key.removeprefix(IMAGES) for key in cameras),
        model=theirs["vision_backbone"],
        norm="group" if theirs["use_group_norm"] else "batch",
        shared=not theirs.get("use_separate_rgb_encoder_per_camera", False),
        resize=tuple(resize) if resize else None,
        crop=tuple(crop) if crop else None,
        random_crop=theirs["crop_is_random"],
        num_points=theirs["spatial_softmax_num_keypoints"],
        states=states,
    )


def to_lerobot_config(encoder: ResNetEncoder) -> dict[str, Any]:
    """Return LeRobot's settings of how to see.

    Raises:
        ValueError: LeRobot would crop otherwise.
    """
    config = encoder.config
    ratio = 1.0
    if config.resize is not None and config.crop is not None:
        ratio = _ratio(config.resize, config.crop)
    return {
        "vision_backbone": config.model,
        "use_group_norm": config.norm == "group",
        "use_separate_rgb_encoder_per_camera": not config.shared,
        "resize_shape": config.resize,
        "crop_ratio": ratio,
        "crop_shape": config.crop,
        "crop_is_random": config.random_crop,
        "spatial_softmax_num_keypoints": config.num_points,
    }


def from_lerobot(weights: Mapping[str, Tensor], encoder: ResNetEncoder) -> dict[str, Tensor]:
    """Return LeRobot's weights under the names of `encoder.eyes`.

    Args:
        weights: Of the whole policy, by name.
        encoder: One of the same sizes.

    Raises:
        KeyError: A weight is missing.
    """
    return {ours: weights[theirs] for ours, theirs in _names(encoder)}


def to_lerobot(encoder: ResNetEncoder) -> dict[str, Tensor]:
    """Return the weights of an encoder under LeRobot's names."""
    weights = encoder.eyes.state_dict()
    found = {theirs: weights[ours] for ours, theirs in _names(encoder)}
    for place, eye in enumerate(encoder.eyes):
        found[_POINTS.format(_part(encoder, place))] = eye.get_buffer("head.places")
    return found


def pixel_affines(encoder: ResNetEncoder) -> dict[str, tuple[Tensor, Tensor]]:
    """Return mean and deviation (C, 1, 1) of the pictures of each camera."""
    return {
        camera: (
            numbers.get_buffer("loc").view(-1, 1, 1),
            numbers.get_buffer("scale").view(-1, 1, 1),
        )
        for camera, numbers in zip(encoder.cameras, encoder.pixels, strict=True)
    }


def _part(encoder: ResNetEncoder, place: int) -> str:
    return "" if encoder.config.shared else f"{place}."


def _names(encoder: ResNetEncoder) -> Iterator[tuple[str, str]]:
    """Yield our name and LeRobot's of every weight of the eyes."""
    for ours in encoder.eyes.state_dict():
        place, name = ours.split(".", 1)
        name = name.replace("head.mixtures", "pool.nets").replace("head.out", "out")
        yield ours, f"diffusion.rgb_encoder.{_part(encoder, int(place))}{name}"


def _ratio(resize: tuple[int, int], crop: tuple[int, int]) -> float:
    """Return the ratio from which LeRobot gets a crop.

    Raises:
        ValueError: There is none.
    """
    if crop == resize:
        return 1.0
    # Half a pixel more: LeRobot rounds down.
    for ratio in (crop[0] / resize[0], (crop[0] + 0.5) / resize[0], (crop[1] + 0.5) / resize[1]):
        if ratio < 1 and crop == tuple(int(size * ratio) for size in resize):
            return ratio
    raise ValueError(
        f"`policy.encoder.crop` {crop} must be the same share of both sides of "
        f"`policy.encoder.resize` {resize} for LeRobot. Train with it."
    )

"""LeRobot's diffusion policy as robopref's, and back, with the same weights and the same actions.

So every fine-tuning method works on what LeRobot trained, and LeRobot runs what was tuned. Neither
way needs the package: its files are read and written as they are.

LeRobot's horizon starts at the first observation given, robopref's chunk now: the actions between
are the policy's past actions. LeRobot's default sampler, DDPM, draws noise at each of a hundred
steps; the network is the same for DDIM, which takes ten and draws none.

Shapes: Do state size, De size of the environment's state, Da action size, D features.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from robopref.checkpoint import load_weights, read_weights
from robopref.config import write_bytes_atomically, write_text_atomically
from robopref.diffusion import BETA_SCHEDULE
from robopref.encoders import StateEncoder, StateEncoderConfig
from robopref.errors import CheckpointError
from robopref.nn import Normalizer
from robopref.policies import lerobot_vision as vision
from robopref.policies.diffusion import DiffusionPolicy, DiffusionPolicyConfig
from robopref.policies.lerobot_files import (
    action_dim_of,
    camera_keys,
    obs_shapes_of,
    read_config,
    read_statistics,
    write_pipelines,
)
from robopref.policies.lerobot_unet import from_lerobot, to_lerobot
from robopref.policies.unet_denoiser import UNetDenoiser, UNetDenoiserConfig
from robopref.pretrained import CONFIG_FILE, WEIGHTS_FILE
from robopref.resnet_encoder import ResNetEncoder
from robopref.types import ACTION, IMAGES, STATE

ENVIRONMENT_STATE = "observation.environment_state"
"""LeRobot's key of what is known of the scene beside the robot's own state."""
FINAL_GROUPS = 8
"""Groups of the last norm of LeRobot's UNet, whatever its `n_groups`."""
DENOISE_STEPS = 10
"""Steps of DDIM in place of DDPM's."""
UNBOUNDED = 1e6
"""LeRobot does not clip what a policy sees."""
_BOUNDS = {"MIN_MAX": ("min", "max"), "QUANTILES": ("q01", "q99"), "QUANTILE10": ("q10", "q90")}
"""The two statistics that each of LeRobot's modes maps to -1 and 1."""
_SMALLEST = 4e-6
"""Half the range of an action that never varied, as a share of its size."""


def import_diffusion(directory: Path, *, join_states: bool = False) -> DiffusionPolicy:
    """Return a checkpoint of LeRobot's diffusion policy as a policy of robopref's.

    Args:
        directory: Folder of the checkpoint.
        join_states: See `observation.state` and `observation.environment_state` as one
            `observation.state`, laid side by side, as environments of robopref have it.

    Raises:
        FileNotFoundError: There is no checkpoint.
        CheckpointError: It is damaged, or of a policy that has no counterpart here.
        MissingExtraError: It sees pictures, and torchvision is not installed.
        ValueError: `join_states` of a policy between whose states its pictures are laid.
    """
    theirs = read_config(directory)
    _check_convertible(theirs, directory)
    all_shapes, cameras = (
        vision.with_our_keys(obs_shapes_of(theirs)),
        list(vision.with_our_keys(dict.fromkeys(camera_keys(theirs)))),
    )
    vectors = _vectors(all_shapes, cameras, directory)
    beside = tuple(key for key in vectors if key != STATE)
    statistics = vision.with_our_keys(read_statistics(directory))
    loc, scale = _observed(vectors, statistics)
    if join_states and beside:
        if cameras:
            raise ValueError(
                "`join_states` is for policies without pictures: LeRobot lays them between "
                f"'{STATE}' and '{ENVIRONMENT_STATE}'. Import the policy without it."
            )
        vectors, beside = {STATE: (len(loc),)}, ()
    shapes = {**vectors, **{key: all_shapes[key] for key in cameras}}
    states = StateEncoderConfig(clip=UNBOUNDED, beside=beside)
    try:
        past = theirs["n_obs_steps"] - 1
        deterministic = theirs["noise_scheduler_type"] == "DDIM"
        steps = theirs["num_inference_steps"] or theirs["num_train_timesteps"]
        config = DiffusionPolicyConfig(
            n_obs_steps=theirs["n_obs_steps"],
            chunk_size=theirs["horizon"] - past,
            n_action_steps=theirs["n_action_steps"],
            num_past_actions=past,
            encoder=vision.encoder_config(theirs, cameras, states) if cameras else states,
            denoiser=UNetDenoiserConfig(
                channels=tuple(theirs["down_dims"]),
                kernel_size=theirs["kernel_size"],
                num_groups=theirs["n_groups"],
                step_dim=theirs["diffusion_step_embed_dim"],
            ),
            num_train_steps=theirs["num_train_timesteps"],
            num_denoise_steps=steps if deterministic else min(steps, DENOISE_STEPS),
            prediction="noise",
            sampler="ddim",
        )
        policy = config.build(shapes, action_dim_of(theirs))
    except ValueError as error:
        raise CheckpointError(f"The policy in '{directory}' cannot be imported: {error}") from error
    except KeyError as error:
        raise CheckpointError(
            f"The config of the policy in '{directory}' lacks {error}."
        ) from error
    _load(policy, directory)
    _set(_states(policy).normalizer, loc, scale)
    for camera, numbers in zip(cameras, policy.encoder.pixels if cameras else (), strict=True):
        _set(numbers, *(part.flatten() for part in _affine(camera, (3,), statistics)))
    _set(policy.action_normalizer, *_affine(ACTION, (policy.action_dim,), statistics, acts=True))
    return policy.eval()


def export_diffusion(
    policy: DiffusionPolicy, directory: Path, *, proprioception: int | None = None
) -> None:
    """Write a policy as a checkpoint that LeRobot's `DiffusionPolicy.from_pretrained` loads.

    LeRobot denoises by DDIM in as many steps then. It clips no features, as the state encoder does
    at its `clip`.

    Args:
        policy: Denoises by a UNet that predicts noise, conditioned on states.
        directory: Where to; it is made if need be.
        proprioception: How many of the first numbers of the state are the robot's own. The others
            become `observation.environment_state`, which LeRobot's diffusion policy needs where it
            sees no pictures; a policy that has it already leaves this out.

    Raises:
        ValueError: LeRobot's policy cannot be as this one is, or `proprioception` is needed, not
            needed, or no part of the state.
    """
    unet = _check_exportable(policy)
    encoder = policy.encoder if isinstance(policy.encoder, ResNetEncoder) else None
    sizes = _split(policy, proprioception)
    config = policy.config
    horizon = config.chunk_size + config.num_past_actions
    inputs = {
        key: {"type": "STATE" if key == STATE else "ENV", "shape": [size]}
        for key, size in sizes.items()
    }
    if encoder is not None:
        for key in encoder.cameras:
            rows, columns, channels = policy.obs_shapes[key]
            inputs[key] = {"type": "VISUAL", "shape": [channels, rows, columns]}
    outputs = {ACTION: {"type": "ACTION", "shape": [policy.action_dim]}}
    observed, acted = _states(policy).normalizer, policy.action_normalizer
    modes = {"VISUAL": "MEAN_STD", "STATE": _mode(observed), "ENV": _mode(observed),
             "ACTION": _mode(acted)}  # fmt: skip
    theirs = {
        "type": "diffusion",
        "n_obs_steps": config.n_obs_steps,
        "horizon": horizon,
        "n_action_steps": config.n_action_steps,
        "input_features": inputs,
        "output_features": outputs,
        "normalization_mapping": modes,
        "drop_n_last_frames": config.chunk_size - config.n_action_steps,
        "pretrained_backbone_weights": None,
        "down_dims": list(config.denoiser.channels),
        "kernel_size": config.denoiser.kernel_size,
        "n_groups": config.denoiser.num_groups,
        "diffusion_step_embed_dim": config.denoiser.step_dim,
        "use_film_scale_modulation": True,
        "noise_scheduler_type": "DDIM",
        "num_train_timesteps": config.num_train_steps,
        "num_inference_steps": config.num_denoise_steps,
        "beta_schedule": BETA_SCHEDULE,
        "prediction_type": "epsilon",
        "clip_sample": True,
        "clip_sample_range": policy.sampler.clip,
        "do_mask_loss_for_padding": True,
        **(vision.to_lerobot_config(encoder) if encoder else {}),
    }
    parts = zip(sizes, _pieces(observed, list(sizes.values())), strict=True)
    statistics = {key: _statistics(part, observed.mode) for key, part in parts}
    statistics[ACTION] = _statistics((acted.loc, acted.scale), acted.mode)
    weights = {f"diffusion.unet.{name}": value for name, value in to_lerobot(unet).items()}
    if encoder is not None:
        weights |= vision.to_lerobot(encoder)
        statistics |= {
            key: _statistics(part, "gaussian")
            for key, part in vision.pixel_affines(encoder).items()
        }
    directory.mkdir(parents=True, exist_ok=True)
    weights = {name: value.cpu().contiguous().clone() for name, value in weights.items()}
    write_bytes_atomically(directory / WEIGHTS_FILE, save(weights, {"format": "pt"}))
    write_pipelines(directory, inputs, outputs, modes, statistics)
    write_text_atomically(directory / CONFIG_FILE, json.dumps(theirs, indent=2) + "\n")


def _check_convertible(theirs: Mapping[str, Any], directory: Path) -> None:
    """Raise unless robopref's policy can be as this one is."""
    kind = theirs["type"]
    if kind != "diffusion":
        raise CheckpointError(
            f"The policy in '{directory}' is of type '{kind}'; only LeRobot's 'diffusion' can be "
            "imported. It acts as it is, and can be chosen from: give its folder as --policy."
        )
    needed = {
        "prediction_type": "epsilon", "beta_schedule": BETA_SCHEDULE, "clip_sample": True,
        "clip_sample_range": 1.0,
    }  # fmt: skip
    for name, value in needed.items():
        if theirs.get(name, value) != value:
            raise CheckpointError(
                f"The policy in '{directory}' has `{name}` {theirs[name]!r}; only {value!r} can "
                "be imported."
            )
    if theirs.get("n_groups", FINAL_GROUPS) != FINAL_GROUPS:
        raise CheckpointError(
            f"The policy in '{directory}' has `n_groups` {theirs['n_groups']}; only "
            f"{FINAL_GROUPS} can be imported: its last norm has as many in any case."
        )


def _vectors(
    shapes: Mapping[str, tuple[int, ...]], cameras: list[str], directory: Path
) -> dict[str, tuple[int, ...]]:
    """Return the shapes of what is seen beside pictures, in LeRobot's order."""
    keys = [key for key in (STATE, ENVIRONMENT_STATE) if key in shapes]
    named = all(key.startswith(IMAGES) for key in cameras)
    if keys[:1] != [STATE] or not named or len(keys) + len(cameras) < len(shapes):
        raise CheckpointError(
            f"The policy in '{directory}' sees {sorted(shapes)}, expected '{STATE}', "
            f"'{ENVIRONMENT_STATE}' and pictures '{IMAGES}*'."
        )
    return {key: shapes[key] for key in keys}


def _states(policy: DiffusionPolicy) -> StateEncoder:
    """Return what sees the states."""
    encoder = policy.encoder
    states = encoder.states if isinstance(encoder, ResNetEncoder) else encoder
    assert isinstance(states, StateEncoder)
    return states


def _load(policy: DiffusionPolicy, directory: Path) -> None:
    path = directory / WEIGHTS_FILE
    if not path.is_file():
        raise CheckpointError(f"'{directory}' holds no policy: '{WEIGHTS_FILE}' is missing.")
    weights = read_weights(path)
    # A compiled network has a prefix of its own.
    plain = {
        name.removeprefix("diffusion.unet.").removeprefix("_orig_mod."): value
        for name, value in weights.items()
        if name.startswith("diffusion.unet.")
    }
    remedy = f"It and '{CONFIG_FILE}' must come from the same save."
    encoder, unet = policy.encoder, policy.denoiser
    try:
        load_weights(unet, from_lerobot(plain, unet), where=path, remedy=remedy)
    except KeyError as error:
        raise CheckpointError(f"'{path}' lacks diffusion.unet.{error.args[0]}. {remedy}") from error
    if isinstance(encoder, ResNetEncoder):
        try:
            eyes = vision.from_lerobot(weights, encoder)
        except KeyError as error:
            raise CheckpointError(f"'{path}' lacks {error.args[0]}. {remedy}") from error
        load_weights(encoder.eyes, eyes, where=path, remedy=remedy)


def _observed(
    shapes: Mapping[str, tuple[int, ...]], statistics: Mapping[str, Any]
) -> tuple[Tensor, Tensor]:
    parts = [_affine(key, shape, statistics) for key, shape in shapes.items()]
    return torch.cat([loc for loc, _ in parts]), torch.cat([scale for _, scale in parts])


def _affine(
    key: str, shape: tuple[int, ...], statistics: Mapping[str, Any], *, acts: bool = False
) -> tuple[Tensor, Tensor]:
    """Return what is taken off a feature and what it is divided by, as LeRobot normalises it."""
    mode, stats = statistics.get(key, ("IDENTITY", {}))
    if mode == "IDENTITY" or not stats:
        return torch.zeros(shape), torch.ones(shape)
    try:
        if mode == "MEAN_STD":
            mean, std = stats["mean"], stats["std"]
            return mean, torch.where(std == 0, _least(mean, acts), std)
        low, high = (stats[name] for name in _BOUNDS[mode])
    except KeyError as error:
        raise CheckpointError(
            f"'{key}' is normalised by {mode}, and its statistics lack {error}."
        ) from error
    constant = low == high
    # What did not vary is -1 to the network.
    scale = torch.where(constant, _least(low, acts), (high - low) / 2)
    return torch.where(constant, low + scale, (high + low) / 2), scale


def _least(value: Tensor, acts: bool) -> Tensor:
    """Return what a feature that was always `value` is divided by.

    An observation is shifted and not scaled, and an action must come out as it was.
    """
    return _SMALLEST * value.abs().clamp_min(1) if acts else torch.ones_like(value)


def _set(normalizer: Normalizer, loc: Tensor, scale: Tensor) -> None:
    normalizer.loc.copy_(loc)
    normalizer.scale.copy_(scale)


def _check_exportable(policy: Any) -> UNetDenoiser:
    """Return the UNet of a policy that LeRobot's can be like."""
    unet = getattr(policy, "denoiser", None)
    if type(policy) is not DiffusionPolicy or not isinstance(unet, UNetDenoiser):
        raise ValueError(
            "Only a diffusion policy with the denoiser 'unet' can be written for LeRobot, got "
            f"{type(policy).__name__} with {type(unet).__name__}. Train one with --policy "
            "diffusion --policy.denoiser unet --policy.prediction noise."
        )
    if not isinstance(policy.encoder, (StateEncoder, ResNetEncoder)):
        raise ValueError(
            "Only a policy with the encoder 'state' or 'resnet' can be written for LeRobot, got "
            f"{type(policy.encoder).__name__}."
        )
    pictures = {key: shape for key, shape in policy.obs_shapes.items() if key.startswith(IMAGES)}
    if len(set(pictures.values())) > 1:
        raise ValueError(f"Cameras must record pictures of one size for LeRobot, got {pictures}.")
    config = policy.config
    levels = len(config.denoiser.channels)
    horizon = config.chunk_size + config.num_past_actions
    wanted = {
        "prediction": (config.prediction, "noise"),
        "num_past_actions": (config.num_past_actions, config.n_obs_steps - 1),
        "denoiser.num_groups": (config.denoiser.num_groups, FINAL_GROUPS),
        "chunk_size": (
            config.chunk_size, horizon - horizon % 2**levels - config.num_past_actions
        ),
    }  # fmt: skip
    for name, (found, expected) in wanted.items():
        if found != expected:
            raise ValueError(
                f"`policy.{name}` must be {expected!r} for LeRobot, got {found!r}. Train with it."
            )
    return unet


def _split(policy: DiffusionPolicy, proprioception: int | None) -> dict[str, int]:
    """Return the size of each observation as LeRobot sees it."""
    vectors = [key for key in policy.obs_shapes if not key.startswith(IMAGES)]
    sizes = {key: policy.obs_shapes[key][0] for key in vectors}
    sees = "pictures" if len(sizes) < len(policy.obs_shapes) else f"'{ENVIRONMENT_STATE}' already"
    if len(policy.obs_shapes) > 1 and set(sizes) <= {STATE, ENVIRONMENT_STATE}:
        if proprioception is not None:
            raise ValueError(f"`proprioception` must be left out: the policy sees {sees}.")
        return sizes
    if set(sizes) != {STATE}:
        raise ValueError(
            f"A policy for LeRobot sees '{STATE}' and '{ENVIRONMENT_STATE}', got {sorted(sizes)}."
        )
    if proprioception is None or not 0 < proprioception < sizes[STATE]:
        raise ValueError(
            f"`proprioception` must say how many of the {sizes[STATE]} numbers of the state are "
            f"the robot's own, at least 1 and less than all, got {proprioception}: LeRobot's "
            f"diffusion policy needs '{ENVIRONMENT_STATE}', which the others become."
        )
    return {STATE: proprioception, ENVIRONMENT_STATE: sizes[STATE] - proprioception}


def _pieces(normalizer: Normalizer, sizes: list[int]) -> list[tuple[Tensor, Tensor]]:
    parts = (torch.split(value, sizes) for value in (normalizer.loc, normalizer.scale))
    return list(zip(*parts, strict=True))


def _mode(normalizer: Normalizer) -> str:
    return "MIN_MAX" if normalizer.mode == "range" else "MEAN_STD"


def _statistics(part: tuple[Tensor, Tensor], mode: str) -> dict[str, Tensor]:
    loc, scale = (value.cpu() for value in part)
    if mode == "range":
        return {"min": loc - scale, "max": loc + scale}
    return {"mean": loc, "std": scale}

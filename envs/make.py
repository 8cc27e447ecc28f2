"""Environments by name: one string names the simulator and the task."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from robopref.config import from_dict
from robopref.envs import ENVS
from robopref.errors import check_name
from robopref.protocols import Environment

if TYPE_CHECKING:
    from gymnasium.vector import VectorEnv


def make_env(
    spec: str, *, cameras: Sequence[str] = (), image_px: int = 112, **options: Any
) -> Environment:
    """Return the environment called `spec`, which reads "<registered name>/<task>".

    Args:
        spec: Such as "metaworld/reach-v3" or "gymnasium/CartPole-v1"; the task may contain slashes.
        cameras: Cameras that become part of the observation, as `observation.images.<camera>`.
        image_px: Width and height of what they see.
        **options: Fields of the environment's config, such as `max_episode_steps`.

    Raises:
        UnknownNameError: There is no such environment or task; the message suggests the nearest.
        ConfigError: An option is unknown, or has the wrong type or range.
        ValueError: `spec` has no slash, or there is no such camera.

    Example:
        >>> make_env("metaworld/reach-v3", max_episode_steps=100).env_id
        'metaworld/reach-v3'
    """
    name, slash, task = spec.partition("/")
    if not slash or not task:
        raise ValueError(
            f"`env` must read '<name>/<task>', got '{spec}'. Names: {ENVS.names()}, "
            "for example 'metaworld/reach-v3'."
        )
    check_name("environment", name, ENVS)
    config = from_dict(ENVS.config_class(name), {"task": task, **options})
    env: Environment = config.build()
    if not cameras:
        return env
    if hasattr(env, "with_cameras"):  # It has cameras that look by themselves.
        seeing: Environment = env.with_cameras(cameras, image_px)
        return seeing
    from robopref.envs.camera_obs import CameraObs

    return CameraObs(env, cameras, image_px)


def make_vector(spec: str, num_envs: int, **options: Any) -> "VectorEnv[Any, Any, Any]":
    """Return `num_envs` environments called `spec`, stepped together in this process.

    `reset(seed=s)` gives environment i the seed s + i, as everywhere in Gymnasium;
    `reset(seed=[...])` gives each its own, so that equal seeds start equal episodes. A finished
    environment starts its next episode at the next step, which then ignores the action.

    One process, because a step takes a fraction of a millisecond and Gymnasium's AsyncVectorEnv
    spends more than that on passing observations.

    Args:
        spec: As for `make_env`.
        num_envs: How many.
        **options: As for `make_env`.

    Raises:
        ValueError: `num_envs` is below 1.
    """
    from gymnasium.vector import SyncVectorEnv

    from robopref.errors import check_at_least

    check_at_least("num_envs", num_envs, 1)
    return SyncVectorEnv([lambda: make_env(spec, **options) for _ in range(num_envs)])  # type: ignore[misc,return-value]

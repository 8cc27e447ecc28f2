"""Scripted policies: experts, in a style, where there are some; random actions elsewhere."""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robopref.envs.styles import GOAL, OBJECT, PlainStyle, Style
from robopref.errors import UnknownNameError
from robopref.protocols import Environment
from robopref.types import STATE


@runtime_checkable
class ScriptedPolicy(Protocol):
    """Acts from observations by a rule."""

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode with this source of randomness."""
        ...

    def act(self, obs: Mapping[str, np.ndarray]) -> Float[np.ndarray, " Da"]:
        """Return the next action, float32, inside the action space."""
        ...


@runtime_checkable
class Expert(Protocol):
    """Does one task, and keeps nothing between steps but what the observation cannot tell."""

    def get_action(self, state: Float[np.ndarray, " Do"], /) -> Float[np.ndarray, " Da"]:
        """Return the action for an observation; values beyond 1 are clipped later."""
        ...


class ExpertPolicy:
    """An expert for a task, bent by a style.

    Args:
        expert: The expert.
        target: Where the state holds the position that the hand has to reach first.
        style: How to do it; None for the expert as it is.
        noise: Standard deviation of the noise added to each motion, in units of the action.
    """

    def __init__(
        self, expert: Expert, target: slice, style: Style | None = None, noise: float = 0.0
    ) -> None:
        self._expert = expert
        self._target = target
        self._style: Style = PlainStyle() if style is None else style
        self._noise = noise
        self._rng = np.random.default_rng(0)
        self._at_start = True

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._rng = rng
        self._at_start = True

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the expert's action, bent, with noise, clipped to [-1, 1]."""
        state = obs[STATE].astype(np.float64)
        if self._at_start:
            self._style.begin(state, self._target, self._rng)
            self._at_start = False
        with warnings.catch_warnings():  # It warns that its actions will be clipped.
            warnings.simplefilter("ignore")
            action = np.asarray(self._expert.get_action(state), np.float64)
        action = self._style.bend(state, action).clip(-1.0, 1.0)
        action[:3] += self._noise * self._rng.standard_normal(3)
        clipped: np.ndarray = action.clip(-1.0, 1.0).astype(np.float32)
        return clipped


class RandomPolicy:
    """Uniform actions; where a range is unbounded, standard normal.

    Args:
        space: The environment's action space.
    """

    def __init__(self, space: Any) -> None:
        self._space = space
        self._rng = np.random.default_rng(0)

    def reset(self, rng: np.random.Generator) -> None:
        """Begin an episode."""
        self._rng = rng

    def act(self, obs: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return an action that does not depend on `obs`."""
        low, high = self._space.low, self._space.high
        bounded = np.isfinite(low) & np.isfinite(high)
        uniform = self._rng.uniform(np.where(bounded, low, 0.0), np.where(bounded, high, 1.0))
        normal = self._rng.standard_normal(low.shape)
        action: np.ndarray = np.where(bounded, uniform, normal).clip(low, high)
        return action.astype(np.float32)


def has_expert(env_id: str) -> bool:
    """Return whether there is a scripted expert for this environment.

    Example:
        >>> has_expert("metaworld/reach-v3"), has_expert("gymnasium/CartPole-v1")
        (True, False)
    """
    name, _, task = env_id.partition("/")
    if name == "robomimic":
        from robopref.envs.robomimic_experts import JOBS

        return task in JOBS
    return name in ("metaworld", "planar")


def _find_expert(env_id: str) -> tuple[Expert, slice]:
    """Return the expert, and where a state holds what the hand has to reach first."""
    name, _, task = env_id.partition("/")
    if name == "robomimic":
        from robopref.envs import robomimic_scene
        from robopref.envs.robomimic_experts import PickUpExpert

        return PickUpExpert(task), robomimic_scene.OBJECT
    if name == "planar":
        from robopref.envs.planar import styles, tasks

        return styles.expert(tasks.parse(task).kind), tasks.BLOCKS[0]
    from metaworld.policies import ENV_POLICY_MAP

    return ENV_POLICY_MAP[task](), GOAL if task.startswith("reach") else OBJECT


def scripted_policy(
    env: Environment,
    style: Style | None = None,
    rng: np.random.Generator | None = None,
    *,
    noise: float = 0.0,
) -> ScriptedPolicy:
    """Return a scripted policy for `env`: the task's expert if there is one, else random actions.

    Args:
        env: The environment.
        style: How to do it; None for the expert as it is.
        rng: Source of randomness until the first `reset`.
        noise: Standard deviation of the noise added to each motion, in units of the action.

    Raises:
        UnknownNameError: A style was asked for where there is no expert.
    """
    policy: ScriptedPolicy
    if has_expert(env.env_id):
        policy = ExpertPolicy(*_find_expert(env.env_id), style, noise)
    elif style is None:
        policy = RandomPolicy(env.action_space)
    else:
        raise UnknownNameError(
            f"There is no scripted expert for '{env.env_id}' to act in the style '{style.name}'. "
            "Styles exist for: ['metaworld', 'planar', 'robomimic']."
        )
    policy.reset(np.random.default_rng(0) if rng is None else rng)
    return policy

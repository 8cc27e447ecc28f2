"""Scripted policies: experts, in a style, where there are some; random actions elsewhere."""

import warnings
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from robopref.envs import ENVS
from robopref.envs.styles import PlainStyle, Style
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


@runtime_checkable
class HasExperts(Protocol):
    """A config of an environment of which some tasks have a scripted expert."""

    def find_expert(self) -> tuple[Expert, slice] | None:
        """Return the task's expert, and where a state holds what the hand has to reach first."""
        ...

    def sibling_tasks(self) -> tuple[str, ...]:
        """Return the other tasks that have an expert and the same actions."""
        ...


def has_expert(env_id: str) -> bool:
    """Return whether there is a scripted expert for this environment.

    Example:
        >>> has_expert("metaworld/reach-v3"), has_expert("gymnasium/CartPole-v1")
        (True, False)
    """
    return _find_expert(env_id) is not None


def sibling_envs(env_id: str) -> list[str]:
    """Return the other environments of the kind that have an expert and the same actions.

    Example:
        >>> sibling_envs("robomimic/lift")
        ['robomimic/can', 'robomimic/square']
    """
    name, _, task = env_id.partition("/")
    siblings = ENVS.config_class(name)(task=task).sibling_tasks()
    return sorted(f"{name}/{other}" for other in siblings)


def _find_expert(env_id: str) -> tuple[Expert, slice] | None:
    """Return the expert, and where a state holds what the hand has to reach first.

    An adapter says so with a method `find_expert` of its config.
    """
    name, _, task = env_id.partition("/")
    if name not in ENVS or not issubclass(ENVS.config_class(name), HasExperts):
        return None
    found: tuple[Expert, slice] | None = ENVS.config_class(name)(task=task).find_expert()
    return found


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
    found = _find_expert(env.env_id)
    if found is not None:
        policy = ExpertPolicy(*found, style, noise)
    elif style is None:
        policy = RandomPolicy(env.action_space)
    else:
        known = sorted(n for n in ENVS if issubclass(ENVS.config_class(n), HasExperts))
        raise UnknownNameError(
            f"There is no scripted expert for '{env.env_id}' to act in the style '{style.name}'. "
            f"Styles exist for: {known}."
        )
    policy.reset(np.random.default_rng(0) if rng is None else rng)
    return policy

"""Who acts when clips of every quality are wanted: the planar experts, and those who are not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from robopref.align.actors import Actor
from robopref.envs.planar.styles import QUALITIES, quality_style
from robopref.envs.planar.tasks import TASKS, parse
from robopref.errors import check_choice
from robopref.protocols import Environment
from robopref.seeding import make_rng
from robopref.types import Obs


@dataclass(frozen=True)
class QualitySpec:
    """Scripted experts of several qualities, in equal shares; which one acted is recorded.

    Args:
        qualities: Some of `robopref.envs.planar.styles.QUALITIES`.
        noise: Standard deviation of the noise on each motion, in units of the action.
        seed: Decides who acts in which episode, and everything random in it.

    Raises:
        ValueError: There is no such quality, or none is given.
    """

    qualities: tuple[str, ...] = QUALITIES
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the names."""
        if not self.qualities:
            raise ValueError("`qualities` must name at least one quality, got none.")
        for quality in self.qualities:
            check_choice("qualities", quality, QUALITIES)

    def build(self, envs: Sequence[Environment]) -> Actor:
        """Build the actor.

        Raises:
            ValueError: An environment is no planar task.
        """
        for env in envs:
            name, _, task = env.env_id.partition("/")
            if name != "planar" or task not in TASKS:
                raise ValueError(
                    f"Experts of every quality act in planar tasks, such as "
                    f"'planar/avoid-short-v0', and not in '{env.env_id}'."
                )
        return _QualityActor(self, list(envs))


class _QualityActor:
    def __init__(self, spec: QualitySpec, envs: list[Environment]) -> None:
        self.spec = spec
        self.envs = envs
        self._chosen: list[str] = []
        self._policies: list[Any] = []

    def begin(self, seeds: Sequence[int]) -> None:
        from robopref.envs.scripted import scripted_policy

        names = self.spec.qualities
        turns = make_rng(self.spec.seed, "qualities", *seeds).permutation(len(names))
        self._chosen = [names[turns[place % len(names)]] for place in range(len(seeds))]
        self._policies = []
        for env, seed, quality in zip(self.envs, seeds, self._chosen, strict=True):
            style = quality_style(parse(env.env_id.partition("/")[2]).kind, quality)
            policy = scripted_policy(env, style, noise=self.spec.noise)
            policy.reset(make_rng(self.spec.seed, "quality", seed))
            self._policies.append(policy)

    def act(self, obs: Sequence[Obs]) -> np.ndarray:
        actions = [policy.act(one) for policy, one in zip(self._policies, obs, strict=True)]
        return np.stack(actions)

    def describe(self) -> Sequence[Mapping[str, Any]]:
        return [{"quality": quality} for quality in self._chosen]

"""Which environments' observations a behaviour can be measured from."""

from abc import ABC, abstractmethod
from typing import ClassVar

METAWORLD = ("metaworld/", "arm/")
"""Environments with Meta-World's observations: its own, and those that an arm moves in."""


class ReadsObservations(ABC):
    """What behaviours share that are measured from what certain environments' observations mean."""

    readable: ClassVar[str]
    """Whose observations, in words."""

    def check_env(self, env_id: str) -> None:
        """Raise ValueError for an environment whose observations cannot be read."""
        if not self._can_read(env_id):
            from robopref.envs import BEHAVIOURS

            raise ValueError(
                f"The behaviour '{BEHAVIOURS.name_of(type(self))}' is measured from "
                f"{self.readable} observations and cannot judge '{env_id}'. 'high-return' judges "
                "any environment; a behaviour of your own is one class (see docs/environments.md)."
            )

    @abstractmethod
    def _can_read(self, env_id: str) -> bool:
        """Return whether these are observations of such an environment."""


class MetaWorldBehaviour(ReadsObservations):
    """What behaviours share that read Meta-World's observations."""

    readable: ClassVar[str] = "Meta-World's"

    def _can_read(self, env_id: str) -> bool:
        return env_id.startswith(METAWORLD)


class ArmBehaviour(MetaWorldBehaviour):
    """What behaviours share that read robomimic's observations of one arm as well.

    Their thresholds are Meta-World's; elsewhere, give one that fits the task.
    """

    readable: ClassVar[str] = "Meta-World's or robomimic's one-armed"

    def _can_read(self, env_id: str) -> bool:
        name, _, task = env_id.partition("/")
        if name == "robomimic":
            from robopref.envs.robomimic_scene import GOALS

            return task in GOALS
        return super()._can_read(env_id)

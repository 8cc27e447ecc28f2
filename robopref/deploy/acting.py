"""What a session of episodes needs of an arm and of what decides for it.

Shapes: B episodes, Tp actions of a chunk, Da action size.
"""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np

from robopref.align.actors import Actor
from robopref.deploy.dry_run import Preview
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmSpec
from robopref.protocols import Environment
from robopref.types import Obs


@runtime_checkable
class ArmEnvironment(Environment, Protocol):
    """An environment that an arm moves in."""

    @property
    def arm_spec(self) -> ArmSpec:
        """The arm."""
        ...

    @property
    def safety(self) -> SafetyConfig:
        """What it is kept to now."""
        ...

    def set_speed(self, factor: float) -> None:
        """Use this share of the greatest speeds from now on."""
        ...

    def stop(self, reason: str) -> None:
        """Stop the arm; it stays so until the next reset. May be called from any thread."""
        ...

    def set_deadman(self, *, held: bool) -> None:
        """Say whether a person holds the button, where the arm moves only while they do."""
        ...

    @property
    def reach_m(self) -> float:
        """How far an action of 1 moves the tool along an axis [m]."""
        ...

    def preview(self, actions: np.ndarray) -> Preview:
        """Return what an operator should know before a chunk (Tp, Da) is carried out."""
        ...


@runtime_checkable
class ChunkActor(Actor, Protocol):
    """An actor that can say what it would do first."""

    def act_chunk(self, obs: Sequence[Obs]) -> np.ndarray:
        """Return the chunks (B, Tp, Da) that `act` would begin with, without acting."""
        ...

"""Styles: ways to do a task that a scripted expert is bent into.

A style changes the expert's action as a function of what is observed, plus a few numbers drawn at
the start of an episode, so that a policy that sees two observations can imitate it.

Shapes: Do observation size, Da action size. Positions are in the world frame [m]. Every state
begins with the hand; where the object lies depends on whose state it is (`layout_of`).
"""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

HAND = slice(0, 3)
"""Where a state holds the hand's position."""
OBJECT = slice(4, 7)
"""Where a Meta-World state holds the first object's position."""
GOAL = slice(36, 39)
"""Where it holds the goal's position."""
_REACH_GAIN = 20.0
"""Action per metre of distance when a style steers the hand itself; full speed from 5 cm on."""


@dataclass(frozen=True)
class Layout:
    """What one has to know to read hand and object from a state.

    Args:
        object: Where the state holds the position of the first object.
        fps: Steps a second [Hz].
        table_m: Height of what the object stands on [m].
        workspace_m: Lowest and highest place that a style may lead the hand to [m].
        falls: Whether an episode begins with the objects above the table.
    """

    object: slice
    fps: float
    table_m: float
    workspace_m: tuple[tuple[float, float, float], tuple[float, float, float]]
    falls: bool = False


_METAWORLD = Layout(OBJECT, 80.0, 0.0, ((-0.45, 0.42, 0.07), (0.45, 0.95, 0.45)))
_ROBOMIMIC = Layout(slice(9, 12), 20.0, 0.8, ((-0.3, -0.4, 0.87), (0.25, 0.4, 1.25)), falls=True)
_LAYOUTS = {39: _METAWORLD, 19: _ROBOMIMIC, 23: _ROBOMIMIC}
"""By the size of the state: a behaviour gets arrays alone, and says before which environments it
can judge."""


def layout_of(size: int) -> Layout:
    """Return the layout of states of this size.

    Raises:
        ValueError: They are neither Meta-World's nor of one of robomimic's arms with one object.
    """
    if size not in _LAYOUTS:
        raise ValueError(
            f"States must have one of the sizes {sorted(_LAYOUTS)} for hand and object to be found "
            f"in them, got {size}."
        )
    return _LAYOUTS[size]


@runtime_checkable
class Style(Protocol):
    """Bends an expert's actions."""

    name: str

    def begin(
        self, state: Float[np.ndarray, " Do"], target: slice, rng: np.random.Generator
    ) -> None:
        """Draw what the style needs for an episode that starts in `state`.

        Args:
            state: First observation of the episode.
            target: Where the state holds the position that the hand has to reach first.
            rng: Source of randomness.
        """
        ...

    def bend(
        self, state: Float[np.ndarray, " Do"], action: Float[np.ndarray, " Da"]
    ) -> Float[np.ndarray, " Da"]:
        """Return what to do instead of the expert's `action`; values beyond 1 are clipped later."""
        ...


@dataclass
class PlainStyle:
    """The expert as it is."""

    name: str = "plain"

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Need nothing."""

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Return `action`."""
        return action


@dataclass
class ViaStyle:
    """Go through a point off the straight way to the target, then do as the expert does.

    The two legs of the way lie in different places, so the position tells which leg it is.

    Args:
        name: Name of the style.
        offset_m: From a place on the straight way, at the hand's first height, to the point [m].
        along: Where that place is: 0 where the hand begins, 1 above the target.
        at_m: Where that place is instead, x and y in the world [m].
        towards_target: Turn the offset along x to the side on which the target lies.
        spread: Each episode scales the offset by a factor drawn from 1 - spread to 1 + spread.
        radius_m: The point counts as reached at this distance [m].
    """

    name: str
    offset_m: tuple[float, float, float]
    along: float = 0.5
    at_m: tuple[float, float] | None = None
    towards_target: bool = False
    spread: float = 0.15
    radius_m: float = 0.03
    _via: np.ndarray | None = field(default=None, repr=False)

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Choose the point."""
        offset = rng.uniform(1.0 - self.spread, 1.0 + self.spread) * np.asarray(self.offset_m)
        way = state[target] - state[HAND]
        way[2] = 0.0  # The straight way down would lead through the object.
        place = state[HAND] + self.along * way
        if self.at_m is not None:
            place[:2] = self.at_m
        if self.towards_target:
            offset[0] = np.copysign(offset[0], way[0])
        via = place + offset
        self._via = via.clip(*layout_of(len(state)).workspace_m)

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Steer to the point until it is reached."""
        if self._via is None:
            return action
        way = self._via - state[HAND]
        if np.linalg.norm(way) < self.radius_m:
            self._via = None
            return action
        move = _REACH_GAIN * way
        move /= max(1.0, float(np.abs(move).max()))  # Keep the direction when it is too large.
        return np.concatenate([move, action[3:]])


@dataclass
class PaceStyle:
    """Move as the expert does, with another top speed.

    Close to a target the expert is slower than `limit` anyway, so precision does not suffer.

    Args:
        name: Name of the style.
        limit: Largest motion along each axis, in units of the action.
        gain: Factor on the expert's motion; larger keeps the top speed up to nearer to a target.
    """

    name: str
    limit: float = 1.0
    gain: float = 1.0

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Need nothing."""

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Limit the motion and leave the gripper alone."""
        move = np.clip(self.gain * action[:3], -self.limit, self.limit)
        return np.concatenate([move, action[3:]])


@dataclass
class StopAndGoStyle:
    """Move in jerks: slow and quick stretches take turns along the way.

    Where a stretch begins depends on the hand's position alone.

    Args:
        name: Name of the style.
        stretch_m: Length of a slow and a quick stretch together [m].
        slowest: Largest motion along each axis in a slow stretch, in units of the action.
        gain: Factor on the expert's motion before it is limited.
    """

    name: str
    stretch_m: float = 0.04
    slowest: float = 0.1
    gain: float = 2.0
    _phase: float = field(default=0.0, repr=False)

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Choose where the stretches begin."""
        self._phase = rng.uniform(0.0, 0.2)

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Limit the motion in every other stretch."""
        place = float(state[HAND].sum()) / self.stretch_m + self._phase
        limit = self.slowest if place % 1.0 < 0.5 else 1.0
        return np.concatenate([np.clip(self.gain * action[:3], -limit, limit), action[3:]])


@dataclass
class TogetherStyle:
    """Bend the expert's action by one style after the other.

    Args:
        name: Name of the style.
        styles: The styles, in the order in which they bend.
    """

    name: str
    styles: tuple[Style, ...]

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Begin every style."""
        for style in self.styles:
            style.begin(state, target, rng)

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Bend by each in turn."""
        for style in self.styles:
            action = style.bend(state, action)
        return action


@dataclass
class OneOfStyle:
    """Draw one of several styles for each episode, all with the same chance.

    Args:
        name: Name of the style.
        styles: The styles.
    """

    name: str
    styles: tuple[Style, ...]
    _drawn: Style | None = field(default=None, repr=False)

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Draw a style and begin it."""
        self._drawn = self.styles[int(rng.integers(len(self.styles)))]
        self._drawn.begin(state, target, rng)

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Bend by the style that was drawn."""
        return action if self._drawn is None else self._drawn.bend(state, action)

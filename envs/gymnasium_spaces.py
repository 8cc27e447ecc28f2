"""From the spaces of a Gymnasium environment to LeRobot's keys, and from our actions to its own."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from gymnasium import spaces

from robopref.types import IMAGES, STATE


@dataclass(frozen=True)
class ObsMap:
    """How observations of an environment are written with LeRobot's keys.

    Args:
        space: The space of the result, a Dict.
        state_keys: Entries that are flattened and joined to `observation.state`, in this order;
            None stands for an observation that is not a dictionary.
        image_keys: Our key of each entry that is a picture.
    """

    space: Any
    state_keys: tuple[str | None, ...]
    image_keys: dict[str | None, str]

    def convert(self, obs: Any) -> dict[str, np.ndarray]:
        """Return `obs` with LeRobot's keys."""
        made = {}
        if self.state_keys:
            parts = [np.asarray(_entry(obs, key)).ravel() for key in self.state_keys]
            with np.errstate(over="ignore"):
                made[STATE] = np.concatenate(parts).astype(np.float32)
        for key, name in self.image_keys.items():
            made[name] = np.array(_entry(obs, key), np.uint8)
        return made


def map_obs(env_id: str, space: spaces.Space[Any]) -> ObsMap:
    """Return the map for `space`: a Box, or a Dict of boxes.

    Pictures are boxes of uint8 with shape (H, W, 3).

    Raises:
        ValueError: The space has another kind of entry.
    """
    entries: dict[str | None, Any] = {None: space}
    if isinstance(space, spaces.Dict):
        entries = dict(space.items())
    state_keys: list[str | None] = []
    image_keys: dict[str | None, str] = {}
    made: dict[str, spaces.Space[Any]] = {}
    for key, entry in entries.items():
        if not isinstance(entry, spaces.Box):
            raise ValueError(
                f"Observations of '{env_id}' must be a Box or a Dict of Boxes, got {entry}. "
                "Wrap the environment so that they are."
            )
        if entry.dtype == np.uint8 and entry.shape[2:] == (3,):
            image_keys[key] = IMAGES + ("main" if key is None else str(key))
            made[image_keys[key]] = spaces.Box(0, 255, entry.shape, np.uint8)
        else:
            state_keys.append(key)
    if state_keys:
        with np.errstate(over="ignore"):  # A bound beyond float32 becomes infinite.
            low, high = (
                np.concatenate([getattr(entries[key], side).ravel() for key in state_keys])
                for side in ("low", "high")
            )
            made[STATE] = spaces.Box(
                low.astype(np.float32), high.astype(np.float32), dtype=np.float32
            )
    return ObsMap(spaces.Dict(made), tuple(state_keys), image_keys)


def map_action(
    env_id: str, space: spaces.Space[Any]
) -> tuple[spaces.Box, Callable[[np.ndarray], Any]]:
    """Return the flat action space for `space`, and the function back to its own actions.

    A Box is flattened and actions are clipped to it. A Discrete space of n actions becomes n scores
    in [0, 1], of which the largest is executed.

    Raises:
        ValueError: The space is of another kind.
    """
    if isinstance(space, spaces.Box):
        low, high = space.low.ravel(), space.high.ravel()
        flat = spaces.Box(low.astype(np.float32), high.astype(np.float32), dtype=np.float32)

        def unflatten(action: np.ndarray) -> np.ndarray:
            inside: np.ndarray = action.astype(space.dtype).clip(low, high)
            return inside.reshape(space.shape)

        return flat, unflatten
    if isinstance(space, spaces.Discrete):
        first = int(space.start)
        return (
            spaces.Box(0.0, 1.0, (int(space.n),), np.float32),
            lambda action: first + int(action.argmax()),
        )
    raise ValueError(
        f"Actions of '{env_id}' must be a Box or Discrete, got {space}. "
        "Wrap the environment so that they are."
    )


def _entry(obs: Any, key: str | None) -> Any:
    return obs if key is None else obs[key]

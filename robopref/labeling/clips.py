"""Clips of what a query compares: which pictures, from which camera, how fast.

Episodes with simulator states are drawn, at any size, and a candidate's actions are simulated from
the step they were proposed for; recorded cameras are shown as they are.

Shapes: N pictures, L segment length, Tp action chunk, H height, W width.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from robopref.config import replacing
from robopref.data.schema import SIM_STATE, Features, camera_keys, can_be_shown
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.encoding import find_codec, play_rate, write_clip
from robopref.labeling.simulation import Simulators
from robopref.preferences.query import ActionCandidate, Item, Query
from robopref.types import IMAGES

MIN_SECONDS = 3.0
"""A person needs this long to see what happens [s]; shorter segments are played more slowly."""
MAX_FPS = 40.0
"""Pictures a second above which more are not seen [Hz]; of faster data some steps are left out."""
_CHUNK = 64
"""Pictures held in memory at once."""


@dataclass(frozen=True)
class Timing:
    """How the clips of a query are played, all at one rate and for one time.

    Args:
        fps: Pictures a second.
        stride: Steps from one picture to the next.
        num_frames: Pictures of every clip; one that is shorter by itself holds its last.
    """

    fps: float
    stride: int
    num_frames: int

    @classmethod
    def of(cls, counts: Sequence[int], fps: float) -> "Timing":
        """Return the timing of items that have `counts` pictures, recorded at `fps`."""
        rate = min(fps, max(1.0, max(counts) / MIN_SECONDS))
        stride = int(np.ceil(rate / MAX_FPS))
        longest = max(len(shown_steps(count, stride)) for count in counts)
        return cls(float(play_rate(rate / stride)), stride, longest)


def shown_steps(count: int, stride: int) -> np.ndarray:
    """Return which of `count` pictures are shown: every `stride`-th, and always the last.

    Example:
        >>> shown_steps(8, 3)
        array([0, 3, 6, 7])
    """
    steps = np.arange(0, count, stride)
    return steps if steps[-1] == count - 1 else np.append(steps, count - 1)


def num_pictures(item: Item, features: Features) -> int:
    """Return how many pictures an item has, from the simulator one more than actions."""
    if isinstance(item, ActionCandidate):
        return len(item.action) + 1
    # The last action's outcome is seen too.
    return item.length + 1 if SIM_STATE in features else item.length


def find_cameras(item: Item, features: Features, simulated: Sequence[str]) -> dict[str, str]:
    """Return the cameras that show an item, the usual one first.

    Args:
        item: What to show.
        features: Columns of the data set.
        simulated: The simulator's cameras, the usual one first; none if it cannot draw the item.

    Returns:
        For each camera the column that it was recorded in, or "" if the simulator draws it. Where
        both have a camera of one name it is drawn, which shows the same at any size.
    """
    recorded = camera_keys(features) if isinstance(item, Segment) else []
    drawn = list(simulated) if SIM_STATE in features else []
    found = dict.fromkeys(drawn[:1], "")
    for key in recorded:
        name = key.removeprefix(IMAGES)
        if name not in drawn:
            found[name] = key
    return {**found, **dict.fromkeys(drawn[1:], "")}


@runtime_checkable
class ClipQuery(Protocol):
    """What is put before a person: a query, or a single item to be rated."""

    @property
    def id(self) -> str:
        """Its UUID."""
        ...

    @property
    def items(self) -> Sequence[Item]:
        """What is shown."""
        ...


class Pictures:
    """Reads and draws the pictures of items, some at a time.

    Args:
        episodes: Data set that the items are of.
        width: Pixels a row of a drawn picture; even, as the codecs want it.
        height: Rows of a drawn picture; even.

    Raises:
        ValueError: A size is odd or below 2.
    """

    def __init__(self, episodes: EpisodeStore, *, width: int, height: int) -> None:
        check_size(width, height)
        self.episodes = episodes
        self.size = {"width": width, "height": height}
        self.simulators = Simulators()

    def cameras(self, item: Item) -> dict[str, str]:
        """Return the cameras that show an item; see `find_cameras`.

        Raises:
            DataError: There is no such episode, or nothing of it can be shown.
        """
        row, features = self.episodes.row(item.episode_id), self.episodes.features
        drawn = self.simulators.cameras(row.env) if SIM_STATE in features else []
        found = find_cameras(item, features, drawn)
        if not found:
            raise NothingToShowError(nothing_to_show(self.episodes.root, item))
        return found

    def chunks(
        self, item: Item, camera: str, recorded: str, steps: np.ndarray
    ) -> Iterator[np.ndarray]:
        """Yield the pictures of an item at `steps`, in arrays (N, H, W, 3), uint8.

        Args:
            item: What to show.
            camera: From where.
            recorded: The column that the camera was recorded in, or "" to have it drawn.
            steps: Which of the item's pictures, ascending.

        Raises:
            DataError: The episode or its video is missing, damaged, or too short.
            ValueError: There is no such camera.
            MissingExtraError: No OpenGL library works here.
        """
        if recorded:
            assert isinstance(item, Segment)
            for part in _parts(np.minimum(steps, item.length - 1)):
                window = Segment(
                    item.episode_id, item.start + int(part[0]), int(part[-1] - part[0]) + 1
                )
                yield self.episodes.frames(window, recorded)[part - part[0]]
            return
        states, fixed, env_id = self._states(item)
        env = self.simulators.get(env_id)
        for part in _parts(np.minimum(steps, len(states) - 1)):
            yield env.render_states(states[part], fixed, camera=camera, **self.size)

    def warm(self, env_id: str) -> None:
        """Draw a first picture of an environment, which takes longer than others."""
        env = self.simulators.get(env_id)
        env.reset(seed=0)
        state = env.get_state()
        env.render_states(state.step[None], state.episode, camera=env.default_camera, **self.size)

    def close(self) -> None:
        """Free the simulators."""
        self.simulators.close()

    def _states(self, item: Item) -> tuple[np.ndarray, np.ndarray, str]:
        episode = self.episodes.episode(item.episode_id)
        if isinstance(item, ActionCandidate):
            outcome = self.simulators.play(self.episodes, item)
            return outcome.states, outcome.episode, episode.env
        item.cut(episode)  # Raises if the segment does not fit.
        if episode.sim_states is None or episode.sim_episode is None:
            raise NothingToShowError(nothing_to_show(self.episodes.root, item))
        window = episode.sim_states[item.start : item.start + item.length + 1]
        return window, episode.sim_episode, episode.env


class ClipMaker:
    """Writes one clip for each item of a query, for a person who opens them as files.

    Args:
        episodes: Data set that the items are of.
        directory: Where the clips go.
        width: Pixels a row of a drawn clip; even.
        height: Rows of a drawn clip; even.
        camera: Camera of the simulator, or name of a recorded one; None for the usual one.

    Raises:
        ValueError: A size is odd or below 2.
    """

    def __init__(
        self, episodes: EpisodeStore, directory: Path, *, width: int, height: int,
        camera: str | None = None,
    ) -> None:  # fmt: skip
        self.pictures = Pictures(episodes, width=width, height=height)
        self.directory = directory
        self.camera = camera
        self.codec = find_codec()

    def close(self) -> None:
        """Free the simulators."""
        self.pictures.close()

    def write(self, query: Query) -> list[Path]:
        """Write the clips of a query, as `<query id>_a.mp4` and on; return their paths.

        Raises:
            DataError: An item has neither simulator states nor camera pictures.
            ValueError: There is no such camera.
        """
        episodes = self.pictures.episodes
        cameras = [self._choose(self.pictures.cameras(item)) for item in query.items]
        counts = [num_pictures(item, episodes.features) for item in query.items]
        timing = Timing.of(counts, episodes.fps)
        paths = []
        for place, (item, camera, count) in enumerate(
            zip(query.items, cameras, counts, strict=True)
        ):
            path = self.directory / f"{query.id}_{chr(ord('a') + place)}{self.codec.suffix}"
            chunks = self.pictures.chunks(item, *camera, shown_steps(count, timing.stride))
            with replacing(path) as partial:
                write_clip(partial, chunks, timing.fps, self.codec, num_frames=timing.num_frames)
            paths.append(path)
        return paths

    def _choose(self, cameras: Mapping[str, str]) -> tuple[str, str]:
        name = next(iter(cameras)) if self.camera is None else self.camera.removeprefix(IMAGES)
        if name not in cameras:
            raise ValueError(f"`camera` must be one of {list(cameras)}, got '{self.camera}'.")
        return name, cameras[name]


class NothingToShowError(DataError):
    """Raised when no clip can be made of an item, whatever is tried."""


def nothing_to_show(root: Path, item: Item) -> str:
    """Return what is said of an item that no clip can be made of."""
    return (
        f"Nothing of episode {item.episode_id} of '{root}' can be shown: it has no "
        "simulator states, and no recorded camera that would show this query."
    )


def check_can_be_shown(episodes: EpisodeStore) -> None:
    """Check that clips can be made of segments of a data set, before anybody is asked about them.

    Raises:
        NothingToShowError: It has neither simulator states nor pictures.
    """
    if episodes.rows and not can_be_shown(episodes.features):
        raise NothingToShowError(
            f"Nothing of '{episodes.root}' can be shown, so nobody can be asked about it: it has "
            "neither simulator states nor pictures of a camera. Train on the answers that it came "
            "with (robopref train reward), or record episodes of your own (robopref collect)."
        )


def check_size(width: int, height: int) -> None:
    """Raise unless a clip can have this size.

    Raises:
        ValueError: A size is odd or below 2.
    """
    for name, size in (("width", width), ("height", height)):
        if size < 2 or size % 2:
            raise ValueError(f"`{name}` must be even and at least 2, got {size}.")


def _parts(steps: np.ndarray) -> Iterable[np.ndarray]:
    return [steps[k : k + _CHUNK] for k in range(0, len(steps), _CHUNK)]

"""How a query is shown: which clips its items have, how long and how fast, before any is drawn."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from robopref.data.rows import EpisodeRow
from robopref.data.schema import SIM_STATE, Features
from robopref.labeling.clip_jobs import ClipConfig, ClipJob, named
from robopref.labeling.clips import (
    ClipQuery,
    Timing,
    find_cameras,
    nothing_to_show,
    num_pictures,
    shown_steps,
)
from robopref.labeling.clouds import cloud_keys
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate, Item


@dataclass(frozen=True)
class ItemView:
    """How an item is shown.

    Args:
        index: Its place in the query.
        kind: "segment" or "candidate".
        num_frames: Pictures of its clips, as many as of the query's other clips.
        num_moving: Those after which the last one is held.
        num_steps: Actions of the item.
        stride: Steps from one picture to the next; see `step_at`.
        fps: Pictures a second.
        cameras: Those that show it, the usual one first; none for a candidate that only its cloud
            shows.
    """

    index: int
    kind: str
    num_frames: int
    num_moving: int
    num_steps: int
    stride: int
    fps: float
    cameras: tuple[str, ...]

    def step_at(self, frame: int) -> int:
        """Return the action of the item that picture `frame` shows the beginning of."""
        return min(frame * self.stride, self.num_steps - 1)


@dataclass(frozen=True)
class Source:
    """What is known of a query's episodes without reading their arrays.

    Args:
        root: Folder of the data set.
        features: Its columns.
        fps: Steps a second [Hz].
        rows: The episode of each item.
    """

    root: Path
    features: Features
    fps: float
    rows: list[EpisodeRow]


@dataclass(frozen=True)
class Plan:
    """How a query is shown.

    Args:
        query_id: The query.
        items: What it compares.
        views: How each is shown.
        jobs: For each item the clip from each camera.
        hashes: Content of each item's episode.
        timing: How the clips are played.
    """

    query_id: str
    items: tuple[Item, ...]
    views: list[ItemView]
    jobs: list[dict[str, ClipJob]]
    hashes: list[str]
    timing: Timing

    def item(self, index: int) -> Item:
        """Return an item.

        Raises:
            ClipError: There is no such item.
        """
        if not 0 <= index < len(self.items):
            raise ClipError(f"Query '{self.query_id}' has {len(self.items)} items, not {index}.")
        return self.items[index]

    def job(self, index: int, camera: str) -> ClipJob:
        """Return the clip of an item from a camera.

        Raises:
            ClipError: There is no such item or camera.
        """
        self.item(index)
        if camera not in self.jobs[index]:
            raise ClipError(
                f"No camera '{camera}' shows query '{self.query_id}'. "
                f"Cameras: {list(self.jobs[index])}."
            )
        return self.jobs[index][camera]

    def candidates(self) -> tuple[ActionCandidate, ...]:
        """Return the items of a query that compares actions.

        Raises:
            ClipError: It compares segments.
        """
        found = tuple(item for item in self.items if isinstance(item, ActionCandidate))
        if len(found) != len(self.items):
            raise ClipError(f"Query '{self.query_id}' compares segments, and has no point cloud.")
        return found


def make_plan(
    query: ClipQuery, source: Source, config: ClipConfig, drawn: Callable[[str], Sequence[str]]
) -> Plan:
    """Return how a query is shown.

    Args:
        query: The query.
        source: Its episodes.
        config: How clips are drawn.
        drawn: Gives the cameras of an environment's simulator, or raises `ClipError`.

    Raises:
        ClipError: An item does not fit its episode, or nothing can be shown of it.
    """
    items = tuple(query.items)
    cameras = []
    for item, row in zip(items, source.rows, strict=True):
        _check_fits(item, row, source.root)
        cameras.append(_offered(item, row, source, (config, drawn)))
    # All from one side, where they have one in common.
    shared = [name for name in cameras[0] if all(name in others for others in cameras)]
    if shared:
        cameras = [{name: found[name] for name in shared} for found in cameras]
    timing = Timing.of([num_pictures(item, source.features) for item in items], source.fps)
    views = [
        _view(index, item, (timing, source.features), tuple(found))
        for index, (item, found) in enumerate(zip(items, cameras, strict=True))
    ]
    hashes = [row.content_hash for row in source.rows]
    jobs = [
        {
            camera: named(ClipJob("", item, content_hash, camera, recorded, timing), config)
            for camera, recorded in found.items()
        }
        for item, content_hash, found in zip(items, hashes, cameras, strict=True)
    ]
    return Plan(query.id, items, views, jobs, hashes, timing)


def _offered(
    item: Item,
    row: EpisodeRow,
    source: Source,
    how: tuple[ClipConfig, Callable[[str], Sequence[str]]],
) -> dict[str, str]:
    """Return the cameras of an item as `find_cameras` does, those that are wanted."""
    config, drawn = how
    simulated: Sequence[str] = ()
    trouble = None
    if SIM_STATE in source.features:
        try:
            simulated = drawn(row.env)
        except ClipError as error:  # What was recorded can still be shown.
            trouble = error
    found = find_cameras(item, source.features, simulated)
    if not found and trouble is not None:
        raise trouble
    if not found and not (isinstance(item, ActionCandidate) and cloud_keys(source.features)):
        raise ClipError(nothing_to_show(source.root, item))
    if not config.cameras or not found:
        return found
    wanted = {name: found[name] for name in config.cameras if name in found}
    if not wanted:
        raise ClipError(
            f"`cameras` must name some of {list(found)}, got {list(config.cameras)}.", passing=True
        )
    return wanted


def _view(
    index: int, item: Item, how: tuple[Timing, Features], cameras: tuple[str, ...]
) -> ItemView:
    timing, features = how
    is_candidate = isinstance(item, ActionCandidate)
    return ItemView(
        index=index,
        kind="candidate" if is_candidate else "segment",
        num_frames=timing.num_frames,
        num_moving=len(shown_steps(num_pictures(item, features), timing.stride)),
        num_steps=len(item.action) if isinstance(item, ActionCandidate) else item.length,
        stride=timing.stride,
        fps=timing.fps,
        cameras=cameras,
    )


def _check_fits(item: Item, row: EpisodeRow, root: Path) -> None:
    stop = item.step if isinstance(item, ActionCandidate) else item.start + item.length
    if stop > row.length:
        raise ClipError(
            f"An item that ends at step {stop} does not fit episode {row.episode_id} of '{root}', "
            f"which has {row.length} steps."
        )

"""Where a run's figures go: one JSON line a point, and the tracker that the user chose.

`metrics.jsonl` is always written; a tracker of `TRACKERS` shows the same figures. Each training,
such as that of a round, has figures of its own in a folder of its own.
"""

import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

from robopref.config import write_text_atomically
from robopref.errors import RoboprefError
from robopref.progress import Interrupt, Progress, interruptible
from robopref.ranks import get_ranks
from robopref.registry import Registry

TRACKERS = Registry("tracker", "robopref.trackers")
TRACKERS.register(
    "tensorboard", "robopref.tensorboard_tracker:TensorBoardConfig", "Event files of TensorBoard."
)
TRACKERS.register(
    "wandb", "robopref.wandb_tracker:WandbConfig", "Weights & Biases (extra `wandb`)."
)


class TrackerError(RoboprefError):
    """Raised when a tracker does not take figures."""


@dataclass(frozen=True)
class Training:
    """The training that figures are of.

    Args:
        directory: Its folder.
        what: What is done in it, such as "fine-tune".
        resume_at: Steps that were taken before; figures of later ones come again.
        rows: The lines of `metrics.jsonl` up to there.
        run: The folder of the run that it is a part of.
        settings: What the user chose, as plain values.
    """

    directory: Path
    what: str = "train"
    resume_at: int = 0
    rows: Sequence[Mapping[str, float]] = ()
    run: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class Board(Protocol):
    """What shows the figures of one training; `where` tells the user where, or is empty."""

    where: str

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Show finite figures at a step; steps only grow, but for those after `resume_at`."""
        ...

    def close(self) -> None:
        """Hand over all there is."""
        ...


class Place(NamedTuple):
    """Where figures can be looked at: a link, or a command to run."""

    name: str
    url: str
    command: str


@runtime_checkable
class TrackerConfig(Protocol):
    """A tracker of the registry."""

    def check(self) -> None:
        """Raise if it could not take figures, before any work is done for them."""
        ...

    def open(self, training: Training) -> Board:
        """Begin to show a training, or go on."""
        ...

    def find(self, directory: Path) -> list[Place]:
        """Return where the figures of all trainings in a folder are."""
        ...


@dataclass(frozen=True)
class _Use:
    tracker: TrackerConfig
    run: Path | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)


_use: ContextVar[_Use | None] = ContextVar("use", default=None)


@contextmanager
def tracked_by(
    tracker: TrackerConfig, run: Path | None = None, settings: Mapping[str, Any] | None = None
) -> Iterator[None]:
    """Send the figures of all trainings inside to a tracker; without it TensorBoard has them.

    Args:
        tracker: The config of one of `TRACKERS`.
        run: The folder of the run that the trainings are parts of.
        settings: What the user chose, to be shown beside the figures.

    Raises:
        MissingExtraError: Its package is not installed.
        TrackerError: It would take no figures.

    Example:
        >>> from robopref.tensorboard_tracker import TensorBoardConfig
        >>> with tracked_by(TensorBoardConfig()):
        ...     pass  # train_policy(...)
    """
    get_ranks().on_main(tracker.check)
    token = _use.set(_Use(tracker, run, settings or {}))
    try:
        yield
    finally:
        _use.reset(token)


def find_figures(directory: Path) -> list[Place]:
    """Return where the figures of all trainings in a folder are, whichever tracker has them."""
    return [
        place
        for name in ("tensorboard", *(name for name in TRACKERS if name != "tensorboard"))
        for place in TRACKERS.config_class(name)().find(directory)
    ]


class Tracker:
    """Writes scalars to `metrics.jsonl` in `directory`, and to the tracker that is in use.

    Lines of steps that a resumed run computes again are dropped when it starts.
    """

    def __init__(self, directory: Path, *, resume_at: int = 0, what: str = "train") -> None:
        self.path = directory / "metrics.jsonl"
        directory.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(self.path) if row["step"] <= resume_at]
        use = _use.get() or _Use(TRACKERS.config_class("tensorboard")())
        self.board = use.tracker.open(
            Training(directory, what, resume_at, kept, use.run, use.settings)
        )
        write_text_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self.path.open("a")

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Record `figures` at `step`."""
        values = {key: float(value) for key, value in figures.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        self.board.log(step, finite(values))

    def close(self) -> None:
        """Flush and close the files."""
        self._file.close()
        self.board.close()


def finite(figures: Mapping[str, float]) -> dict[str, float]:
    """Return the figures that can be drawn."""
    return {key: value for key, value in figures.items() if math.isfinite(value)}


@dataclass(frozen=True)
class Watch:
    """What a training loop tells its user with.

    Args:
        tracker: Takes the figures; None where nothing is kept.
        bar: Shows how far it is.
        interrupt: Truthy once this process was told to save and stop.
    """

    tracker: Tracker | None
    bar: Progress
    interrupt: Interrupt

    def must_stop(self) -> bool:
        """Return whether to save and stop; asked once a step, it is the same in all ranks."""
        return get_ranks().any(bool(self.interrupt))


@contextmanager
def watch(
    directory: Path | None, description: str, *, total: int, done: int, arithmetic: str = ""
) -> Iterator[Watch]:
    """Track, show and let interrupt a loop of `total` steps of which `done` are taken.

    Of several processes the main one tracks and shows it.

    Args:
        directory: Gets the figures; None keeps none.
        description: What the bar is called.
        total: Steps of the whole loop.
        done: Steps taken before; figures of later ones are dropped.
        arithmetic: What a step is made of, told at the start.
    """
    is_main = get_ranks().is_main
    tracker = None
    if directory is not None and is_main:
        tracker = Tracker(directory, resume_at=done, what=description)
    try:
        with interruptible() as interrupt, Progress(description, total, silent=not is_main) as bar:
            if get_ranks().num > 1 or sys.stderr.isatty():
                bar.tell(arithmetic)
            bar.tell(tracker.board.where if tracker is not None else "")
            bar.advance(done)
            yield Watch(tracker, bar, interrupt)
    finally:
        if tracker is not None:
            tracker.close()


def read_metrics(path: Path) -> list[dict[str, float]]:
    """Return the rows of a `metrics.jsonl`; a last line cut short by a kill is left out."""
    if not path.is_file():
        return []
    rows = []
    for line in path.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows

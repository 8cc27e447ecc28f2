"""Where a run's figures go: one JSON line a point, and TensorBoard."""

import json
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.config import write_text_atomically
from robopref.progress import Interrupt, Progress, interruptible
from robopref.ranks import get_ranks


class Tracker:
    """Writes scalars to `metrics.jsonl` and to TensorBoard event files in `directory`.

    Lines of steps that a resumed run computes again are dropped when it starts.
    """

    def __init__(self, directory: Path, *, resume_at: int = 0) -> None:
        self.directory = directory
        self.path = directory / "metrics.jsonl"
        directory.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(self.path) if row["step"] <= resume_at]
        write_text_atomically(self.path, "".join(json.dumps(row) + "\n" for row in kept))
        self._file = self.path.open("a")
        self._board: Any = None
        self._resume_at = resume_at

    def log(self, step: int, figures: Mapping[str, float]) -> None:
        """Record `figures` at `step`."""
        values = {key: float(value) for key, value in figures.items()}
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        if self._board is None:
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(
                str(self.directory / "tensorboard"), purge_step=self._resume_at + 1
            )
        for key, value in values.items():
            if math.isfinite(value):
                self._board.add_scalar(key, value, step)

    def close(self) -> None:
        """Flush and close the files."""
        self._file.close()
        if self._board is not None:
            self._board.close()


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
    tracker = None if directory is None or not is_main else Tracker(directory, resume_at=done)
    try:
        with interruptible() as interrupt, Progress(description, total, silent=not is_main) as bar:
            if get_ranks().num > 1 or sys.stderr.isatty():
                bar.tell(arithmetic)
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

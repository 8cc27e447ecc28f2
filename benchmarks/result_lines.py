"""Results as a file with one line for each finished run, which may be killed and gone on with."""

import fcntl
import json
import time
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from robopref.align.run import with_null
from robopref.workers import Workers

Row = dict[str, Any]


def read_rows(results: Path) -> list[dict[str, Any]]:
    """Return the finished runs; a last line that a kill cut off is left out."""
    if not results.is_file():
        return []
    lines = results.read_text().split("\n")
    return [json.loads(line) for line in lines[:-1] if line]


def append_row(row: Mapping[str, Any], results: Path) -> None:
    """Add a line, in place of one that a kill cut off."""
    line = json.dumps(row, allow_nan=False) + "\n"
    with results.open("a+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.seek(0)
        text = file.read()
        file.truncate(len(text[: text.rfind("\n") + 1].encode()))
        file.write(line)


def align_groups(
    groups: Iterable[Sequence[Any]],
    do: Callable[[Any, Workers], Row],
    results: Path,
    workers: Workers,
    *,
    minutes: float = 0.0,
) -> None:
    """Do alignments that share what comes before them, a group in each worker at a time.

    Args:
        groups: Items with a `key`, in the order in which they are done.
        do: Aligns for an item and returns its line; it gets workers to record with.
        results: File of finished runs.
        workers: Who runs them; all of them have to see the files.
        minutes: Begin nothing after this long; 0 for no limit.

    Raises:
        RuntimeError: Runs failed; the others are done.
    """
    results.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.time() + 60 * minutes if minutes else float("inf")
    do_group = partial(_do_group, _Queue(do, results, deadline))
    failed: list[str] = []
    with workers:
        for errors in workers.map(do_group, groups, in_order=False):
            for key, error in errors.items():
                print(f"{key} failed:\n{error}", flush=True)
            failed += errors
    if failed:
        raise RuntimeError(
            f"{len(failed)} runs failed, with the errors above; run again to try only these: "
            f"{', '.join(failed)}."
        )


@dataclass(frozen=True)
class _Queue:
    """What `align_groups` was told of all groups."""

    do: Callable[[Any, Workers], Row]
    results: Path
    deadline: float


def _do_group(queue: _Queue, items: Sequence[Any]) -> dict[str, str]:
    """Do the items of a group; return the errors of those that failed."""
    failed: dict[str, str] = {}
    # A worker that was lost may have done some of them.
    done = {row["key"] for row in read_rows(queue.results)}
    with Workers(0) as workers:
        for item in items:
            if time.time() > queue.deadline:
                break
            if item.key in done:
                continue
            try:
                row = with_null(queue.do(item, workers))
            except Exception:
                # The others go on, and this one stays to be done.
                failed[item.key] = traceback.format_exc()
                continue
            append_row(row, queue.results)
            print(f"{item.key}: joint {row['aligned']['joint']['value']:.2f}", flush=True)
    return failed

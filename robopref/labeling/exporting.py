"""Answers written to files, in a process of its own: a million take minutes, and nobody is to wait.

A thread of the server would take turns with those that serve annotators, and make each of them
several times slower.
"""

import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.sidecar import write_sidecar
from robopref.preferences.exchange import read_rating_decisions, read_ratings
from robopref.preferences.records import preference_of, query_of
from robopref.preferences.store import PreferenceStore

EXPORTS = {
    "parquet": ".parquet", "jsonl": ".jsonl", "chosen_rejected": ".jsonl", "lerobot": ".parquet",
}  # fmt: skip
"""Forms in which answers are written, with the ending of the file."""


class Exporter:
    """Writes the answers of a project to files, one after another.

    Args:
        location: The preference store.
        data: The data set that answers and ratings are about.
    """

    def __init__(self, location: str | Path, data: Path) -> None:
        self._location, self._data = location, data
        # Not threads that requests share: who waits for a file keeps nobody from answering.
        self._pool = ThreadPoolExecutor(1)
        self._process: Any = None
        self._is_closed = False

    def submit(self, form: str, path: Path) -> "Future[None]":
        """Write all answers to a file in one of `EXPORTS`, when others are done with theirs.

        The future raises a `DataError` where that could not be done.
        """
        return self._pool.submit(self._write, form, path)

    def close(self) -> None:
        """Give up what is being written, and begin no more."""
        self._is_closed = True
        process = self._process
        if process is not None:
            process.kill()
        self._pool.shutdown(cancel_futures=True)

    def _write(self, form: str, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        receiver, sender = context.Pipe(duplex=False)
        process = context.Process(
            target=_work, args=(sender, form, path, self._location, self._data), daemon=True
        )
        process.start()
        self._process = process
        if self._is_closed:
            process.kill()
        sender.close()
        try:
            fault = receiver.recv()
        except EOFError:
            fault = "The process that wrote the answers was ended before it was done."
        finally:
            receiver.close()
            process.join()
            self._process = None
        if fault is not None:
            raise DataError(fault)


def export(form: str, path: Path, location: str | Path, data: Path) -> None:
    """Write all answers to a file in one of `EXPORTS`.

    Args:
        form: Which one.
        path: The file.
        location: The preference store.
        data: The data set that answers and ratings are about.

    Raises:
        DataError: The store or the data set cannot be read.
    """
    with PreferenceStore(location, create=False) as store:
        if form == "lerobot":
            answers = store.database.answers(None, None)
            preferences = (preference_of(row, query_of(query)) for row, query in answers)
            write_sidecar(
                path, EpisodeStore.open(data), preferences, read_ratings(store.database),
                read_rating_decisions(store.database),
            )  # fmt: skip
            return
        write: Callable[[Path], int] = getattr(store, f"export_{form}")
        write(path)


def _work(sender: Any, form: str, path: Path, location: str | Path, data: Path) -> None:
    """Write, and tell what went wrong; None if nothing did."""
    os.nice(10)
    try:
        export(form, path, location, data)
    except (DataError, OSError) as error:
        sender.send(str(error))
    else:
        sender.send(None)

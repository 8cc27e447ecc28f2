"""Folders that appear complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from robopref.config import sync_to_disk
from robopref.errors import DataError


@contextlib.contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a folder that takes the place of `path` when the block ends, and goes if it raises.

    At `path` there may be nothing but an empty folder.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.mkdir()
    try:
        yield partial
        sync_to_disk(partial)
        partial.rename(path)
        sync_to_disk(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def is_free(path: Path) -> bool:
    """Return whether a new folder can take this place: nothing is there, or an empty folder."""
    return not path.exists() or (path.is_dir() and not any(path.iterdir()))


def check_is_free(path: Path) -> None:
    """Raise unless a new data set can take this place.

    Raises:
        DataError: There is something already.
    """
    if not is_free(path):
        raise DataError(f"'{path}' holds files already, and no data set. Give another folder.")

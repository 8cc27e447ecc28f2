"""Opening HDF5 files of other projects, with errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import DataError


@contextmanager
def hdf5_file(path: Path) -> Iterator[Any]:
    """Open a file for reading.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is not HDF5, or it is damaged.
    """
    import h5py

    if not path.is_file():
        raise FileNotFoundError(f"No file at '{path}'.")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        reason = str(error).strip().splitlines()[0].rstrip(".")
        raise DataError(f"'{path}' is not readable as HDF5: {reason}.") from error


def read_dataset(group: Any, name: str, where: str) -> np.ndarray:
    """Return a dataset of a group.

    Raises:
        DataError: The group has none of that name, or a group in its place; the message starts
            with `where`.
    """
    if name not in group:
        raise DataError(f"{where}: it has no '{name}'. It has {sorted(group)}.")
    found = group[name]
    if not hasattr(found, "dtype"):
        raise DataError(f"{where}: '{name}' has parts {sorted(found)}, and must be one array.")
    values: np.ndarray = found[:]
    return values

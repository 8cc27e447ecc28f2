"""Reading HDF5 files of other projects, with errors that name the file and what in it is wrong.

`where` names the file, and the place in it, at the start of every message.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import EllipsisType
from typing import Any

import numpy as np

from robopref.errors import DataError, first_line_of, reason_of

Shape = tuple[int | str | EllipsisType, ...]
"""Sizes that an array must have: a letter is any size, and `...` any number of them."""


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
    except (OSError, RuntimeError, UnicodeDecodeError) as error:
        # The last two are what h5py raises where a table of names is damaged.
        reason = first_line_of(error)
        raise DataError(f"'{path}' is not readable as HDF5: {reason}.") from error


def read_group(group: Any, name: str, where: str) -> Any:
    """Return a group of a group.

    Raises:
        DataError: The group has none of that name, or an array in its place.
    """
    found = _find(group, name, where)
    if not hasattr(found, "keys"):
        raise DataError(f"{where}: '{name}' is one array, and must be a group.")
    return found


def read_dataset(group: Any, name: str, where: str, shape: Shape = (...,)) -> np.ndarray:
    """Return a dataset of a group, once its shape was found right.

    Raises:
        DataError: The group has none of that name, a group in its place, or one that is empty, of
            another shape, or of a type that numpy does not have.
    """
    found = _find(group, name, where)
    if hasattr(found, "keys"):
        raise DataError(f"{where}: '{name}' has parts {sorted(found)}, and must be one array.")
    if getattr(found, "shape", None) is None:
        raise DataError(f"{where}: '{name}' is empty.")
    if not _fits(found.shape, shape):
        sizes = ", ".join("..." if size is ... else str(size) for size in shape)
        wanted = f"({sizes},)" if len(shape) == 1 else f"({sizes})"
        raise DataError(f"{where}: '{name}' must have shape {wanted}, got {found.shape}.")
    try:
        return np.asarray(found[()])
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{where}: '{name}' is of a type that numpy does not have: {reason_of(error)}."
        ) from error


def read_numbers(group: Any, name: str, where: str, shape: Shape = (...,)) -> np.ndarray:
    """Return a dataset of numbers.

    Raises:
        DataError: As `read_dataset`, or it holds something else.
    """
    values = read_dataset(group, name, where, shape)
    if values.dtype.kind not in "biuf":
        raise DataError(f"{where}: '{name}' must hold numbers, got the type {values.dtype}.")
    return values


def read_names(group: Any, name: str, where: str) -> list[str]:
    """Return a list of names.

    Raises:
        DataError: As `read_dataset`, or it holds something else.
    """
    values = read_dataset(group, name, where, ("N",))
    if values.dtype.kind not in "SO":
        raise DataError(f"{where}: '{name}' must list names, got the type {values.dtype}.")
    return [value.decode(errors="replace") for value in values]


def read_text(node: Any, name: str, where: str) -> str:
    """Return an attribute that is text.

    Raises:
        DataError: It is something else.
    """
    value = node.attrs[name]
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if not isinstance(value, str):
        raise DataError(
            f"{where}: the attribute '{name}' must be text, got {type(value).__name__}."
        )
    return value


def read_json(node: Any, name: str, where: str) -> dict[str, Any]:
    """Return an attribute that is a JSON object.

    Raises:
        DataError: It is something else.
    """
    try:
        value = json.loads(read_text(node, name, where))
        reason = f"it is a {type(value).__name__}"
    except (ValueError, RecursionError) as error:
        value, reason = None, str(error)
    if not isinstance(value, dict):
        raise DataError(
            f"{where}: the attribute '{name}' must be a JSON object, and is not: {reason}."
        )
    return value


def _find(group: Any, name: str, where: str) -> Any:
    found = group.get(name)  # None for a link that leads nowhere, too.
    if found is None:
        raise DataError(f"{where}: it has no '{name}'. It has {sorted(map(str, group))}.")
    return found


def _fits(shape: tuple[int, ...], wanted: Shape) -> bool:
    if wanted[-1] is ...:
        wanted = wanted[:-1]
        shape = shape[: len(wanted)]
    return len(shape) == len(wanted) and all(
        isinstance(size, str) or size == found for size, found in zip(wanted, shape, strict=True)
    )

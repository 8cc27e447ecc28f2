"""Arrays and plain values as bytes: msgpack, in the form that openpi's clients speak.

Nothing that is read can run code: an array is its type, its shape and its bytes, and only numbers
are let in. (openpi, `packages/openpi-client/src/openpi_client/msgpack_numpy.py`.)
"""

import importlib
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from robopref.errors import MissingExtraError, RoboprefError

KINDS = "biuf"
"""Kinds of numbers that an array may hold: truth values, integers, floating point."""
MAX_AXES = 8
_ARRAY, _NUMBER = b"__ndarray__", b"__npgeneric__"


class WireError(RoboprefError, ValueError):
    """A message is damaged, or holds what may not be sent."""


def pack(message: Mapping[str, Any]) -> bytes:
    """Return a message as bytes.

    Args:
        message: Plain values, and arrays of numbers, by name.

    Raises:
        WireError: It holds something else.
    """
    try:
        packed: bytes = need("msgpack").packb(message, default=_encode)
    except (TypeError, ValueError, OverflowError) as error:
        raise WireError(f"The message cannot be sent: {error}.") from error
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """Return the message that some bytes hold; its arrays may be written to.

    Raises:
        WireError: They hold none.
    """
    msgpack = need("msgpack")
    try:
        message = msgpack.unpackb(data, object_hook=_decode, strict_map_key=False)
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise WireError(f"The message cannot be read: {reason}.") from error
    if not isinstance(message, dict) or not all(isinstance(key, str) for key in message):
        raise WireError("A message must be a map with names as keys.")
    return message


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        if value.dtype.kind not in KINDS:
            raise WireError(f"Only numbers can be sent, got {value.dtype}.")
        if isinstance(value, np.generic):
            return {_NUMBER: True, b"data": value.item(), b"dtype": value.dtype.str}
        return {
            _ARRAY: True, b"data": value.tobytes(), b"dtype": value.dtype.str,
            b"shape": value.shape,
        }  # fmt: skip
    raise WireError(f"Only numbers, texts and arrays can be sent, got a {type(value).__name__}.")


def _decode(value: dict[Any, Any]) -> Any:
    if _ARRAY in value:
        return _array(value)
    if _NUMBER in value:
        return _dtype(value).type(value.get(b"data"))
    return value


def _array(value: dict[Any, Any]) -> np.ndarray:
    dtype, shape, data = _dtype(value), value.get(b"shape"), value.get(b"data")
    if (
        not isinstance(shape, list)
        or len(shape) > MAX_AXES
        or not all(type(n) is int and n >= 0 for n in shape)
        or not isinstance(data, bytes)
        or len(data) != math.prod(shape) * dtype.itemsize
    ):
        raise WireError("An array is not what its shape and type say")
    return np.frombuffer(data, dtype).reshape(shape).copy()


def _dtype(value: dict[Any, Any]) -> "np.dtype[Any]":
    text = value.get(b"dtype")
    try:
        dtype = np.dtype(text) if isinstance(text, str) else None
    except TypeError:
        dtype = None
    if dtype is None or dtype.kind not in KINDS or dtype.shape:
        raise WireError(f"An array must hold numbers, got {text!r}")
    return dtype


def need(module: str) -> Any:
    """Return a module of the packages that the network needs.

    Raises:
        MissingExtraError: They are not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            "Policies over the network need msgpack and websockets. Install them: "
            "pip install 'robopref[serve]'"
        ) from error

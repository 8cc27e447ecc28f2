"""Why a request is refused: it cannot be, what it names is not there, or it comes too late."""

import contextlib
from collections.abc import Iterator

from robopref.errors import DataError


class RefusedError(DataError):
    """Raised when a request says something that cannot be."""


class UnknownError(DataError):
    """Raised when what a request names is not there."""


class ConflictError(DataError):
    """Raised when a write comes too late; `code` says in one word what is in the way."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def refusing() -> Iterator[None]:
    """Turn the `ValueError` of what is made of a request into a refusal of that.

    Raised anywhere else, a `ValueError` is a fault of the server and no refusal.
    """
    try:
        yield
    except ValueError as error:
        raise RefusedError(str(error)) from error

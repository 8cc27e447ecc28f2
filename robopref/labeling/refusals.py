"""Why a well-formed request is refused: what it names is not there, or it comes too late."""

from robopref.errors import DataError


class UnknownError(DataError):
    """Raised when what a request names is not there."""


class ConflictError(DataError):
    """Raised when a write comes too late; `code` says in one word what is in the way."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code

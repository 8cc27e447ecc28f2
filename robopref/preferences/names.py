"""What annotators and criteria may be called."""

from typing import Any

MAX_NAME = 64
"""Letters of an annotator's name or a criterion."""
TRANSFERRED = "transferred"
"""Annotator of answers that were carried over from another task, which no person gave."""


def check_name_text(argument: str, name: Any) -> None:
    """Raise `ValueError` unless `name` can name an annotator or a criterion.

    Raises:
        ValueError: It is no text, empty, too long, or has characters that cannot be printed.

    Example:
        >>> check_name_text("annotator", "")
        Traceback (most recent call last):
        ValueError: `annotator` must be 1 to 64 printable characters, got ''.
    """
    is_name = isinstance(name, str) and name.isprintable() and name == name.strip()
    if not is_name or not 0 < len(name) <= MAX_NAME:
        raise ValueError(
            f"`{argument}` must be 1 to {MAX_NAME} printable characters, got {repr(name)[:80]}."
        )

"""Errors that robopref raises, and the wording they share.

Python's own errors are used where they fit (`ValueError`, `FileNotFoundError`); the classes here
are for what a caller may want to catch by kind. Every message says what was wrong, what was
expected and, where there is one, the way out.
"""

import difflib
from collections.abc import Iterable

MAX_LISTED = 20
"""Names of which a message lists all."""
NUM_NEAREST = 5
"""Names that it lists of more."""


class RoboprefError(Exception):
    """Root of robopref's own errors."""


class DataError(RoboprefError):
    """Raised when episodes or preferences on disk are not what they should be."""


class NothingLearnedError(DataError):
    """The answers put nothing in an order, so that there is no reward to learn."""


class CheckpointError(RoboprefError):
    """Raised when a checkpoint is damaged, or belongs to another model."""


class ConfigError(RoboprefError, ValueError):
    """Raised when a saved config does not fit its class."""


class UnknownNameError(RoboprefError, LookupError):
    """Raised when a name is not among those known."""


class MissingExtraError(RoboprefError, ImportError):
    """Raised when an optional package is needed and not installed."""


class HardwareError(RoboprefError):
    """Root of what goes wrong on an arm."""


class SafetyStop(HardwareError):  # noqa: N818 - a stop is the outcome, not a fault of the program
    """Raised when the supervisor has stopped the arm."""


class Unattended(HardwareError):  # noqa: N818
    """Raised when nobody beside a real arm lets it begin."""


class NotConnected(HardwareError):  # noqa: N818
    """Raised when a driver is used before `connect()`."""


class StaleState(HardwareError):  # noqa: N818
    """Raised when the newest state of an arm is too old to act on."""


def reason_of(error: Exception) -> str:
    """Return what an error of another package says, in one line without its full stop."""
    return (" ".join(str(error).split()) or type(error).__name__).rstrip(".")


def first_line_of(error: Exception) -> str:
    """Return the first line of what an error of another package says, without its full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".")


def did_you_mean(name: str, choices: Iterable[str]) -> str:
    """Return ` Did you mean 'x'?` for the nearest of `choices`, or an empty string.

    Example:
        >>> did_you_mean("mpl", ["mlp", "zero"])
        " Did you mean 'mlp'?"
        >>> did_you_mean("rapl", ["mlp", "zero"])
        ''
    """
    nearest = difflib.get_close_matches(name, list(choices), n=1)
    return f" Did you mean '{nearest[0]}'?" if nearest else ""


def check_name(kind: str, name: str, known: Iterable[str], *, heading: str = "Registered") -> None:
    """Raise `UnknownNameError` unless `name` is known.

    Args:
        kind: What it is a name of, in the singular.
        name: What was given.
        known: The names that there are.
        heading: What stands before their list in the message.

    Raises:
        UnknownNameError: `name` is not among them; the message suggests the nearest.

    Example:
        >>> check_name("arm", "urr", ["ur"], heading="Known")
        Traceback (most recent call last):
        robopref.errors.UnknownNameError: No arm named 'urr'. Did you mean 'ur'? Known: ['ur'].
    """
    known = list(known)
    if name not in known:
        hint = did_you_mean(name, known)
        listed = f"{heading}: {sorted(known)}"
        if len(known) > MAX_LISTED:
            nearest = difflib.get_close_matches(name, known, n=NUM_NEAREST, cutoff=0.0)
            listed = f"{heading}, the nearest of {len(known)}: {nearest}"
        raise UnknownNameError(f"No {kind} named '{name}'.{hint} {listed}.")


def check_choice(argument: str, value: str, choices: Iterable[str]) -> None:
    """Raise `ValueError` unless `value` is one of `choices`.

    Raises:
        ValueError: `value` is not one of `choices`; the message lists them.

    Example:
        >>> check_choice("link", "ipo", ["hinge", "sigmoid"])
        Traceback (most recent call last):
        ValueError: `link` must be one of ['hinge', 'sigmoid'], got 'ipo'.
    """
    allowed = sorted(choices)
    if value not in allowed:
        hint = did_you_mean(value, allowed)
        raise ValueError(f"`{argument}` must be one of {allowed}, got '{value}'.{hint}")


def check_at_least(argument: str, value: float, minimum: float) -> None:
    """Raise `ValueError` unless `value >= minimum`.

    Raises:
        ValueError: `value` is smaller, or not a number.

    Example:
        >>> check_at_least("depth", 0, 1)
        Traceback (most recent call last):
        ValueError: `depth` must be at least 1, got 0.
    """
    if not value >= minimum:
        raise ValueError(f"`{argument}` must be at least {minimum}, got {value}.")


def check_above(argument: str, value: float, bound: float) -> None:
    """Raise `ValueError` unless `value > bound`.

    Raises:
        ValueError: `value` is not larger, or not a number.

    Example:
        >>> check_above("temperature", 0, 0)
        Traceback (most recent call last):
        ValueError: `temperature` must be above 0, got 0.
    """
    if not value > bound:
        raise ValueError(f"`{argument}` must be above {bound}, got {value}.")


def check_between(argument: str, value: float, low: float, high: float) -> None:
    """Raise `ValueError` unless `low <= value <= high`.

    Raises:
        ValueError: `value` is outside, or not a number.

    Example:
        >>> check_between("dropout", 1.5, 0, 1)
        Traceback (most recent call last):
        ValueError: `dropout` must be between 0 and 1, got 1.5.
    """
    if not low <= value <= high:
        raise ValueError(f"`{argument}` must be between {low} and {high}, got {value}.")

"""The one check that every environment makes of an action."""

import numpy as np


def checked_action(action: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return `action` as float32, after checking it.

    Raises:
        ValueError: The shape is another one, or a value is not finite.

    Example:
        >>> checked_action(np.zeros(3), (4,))
        Traceback (most recent call last):
        ValueError: `action` must have shape (4,), got (3,).
    """
    checked = np.asarray(action, np.float32)
    if checked.shape != shape:
        raise ValueError(f"`action` must have shape {shape}, got {checked.shape}.")
    if not np.isfinite(checked).all():
        raise ValueError(f"`action` must be finite, got {checked.tolist()}.")
    return checked

"""What a reward asks of segments and preferences, checked where they come in."""

import numpy as np

from robopref.errors import DataError
from robopref.preferences.preference import PairwiseView
from robopref.types import STATE, SegmentBatch


def check_segments(segments: SegmentBatch, obs_dim: int, action_dim: int) -> None:
    """Check that a reward for these sizes can score `segments`.

    Raises:
        ValueError: The state observation is missing, or a size is another one.
    """
    if STATE not in segments.obs:
        raise ValueError(f"`segments.obs` must hold '{STATE}', got {sorted(segments.obs)}.")
    check_sizes(segments.obs[STATE].shape[-1], segments.action.shape[-1], obs_dim, action_dim)


def check_sizes(got_obs: int, got_action: int, obs_dim: int, action_dim: int) -> None:
    """Check sizes against those that a reward was built for.

    Raises:
        ValueError: They differ.
    """
    if (got_obs, got_action) != (obs_dim, action_dim):
        raise ValueError(
            f"This reward was built for observations of size {obs_dim} and actions of size "
            f"{action_dim}, got {got_obs} and {got_action}. Use the data it was trained for, or "
            "train another one."
        )


def check_preferences(preferences: PairwiseView, obs_dim: int, action_dim: int) -> None:
    """Check that something can be learned from `preferences`.

    Raises:
        ValueError: There are no pairs, or only ties, or a probability outside [0, 1], or sizes of
            another reward.
        DataError: A real step holds a number that is not finite.
    """
    if len(preferences) == 0:
        raise ValueError(
            "`preferences` must hold at least 1 pair, got 0. Answer more queries; skips and "
            "'cannot tell' do not count."
        )
    prefers_b = preferences.prefers_b
    if not ((prefers_b >= 0) & (prefers_b <= 1)).all():
        worst = int(np.flatnonzero(~((prefers_b >= 0) & (prefers_b <= 1)))[0])
        raise ValueError(
            f"`prefers_b` must be between 0 and 1, got {prefers_b[worst]} for pair {worst}."
        )
    if (prefers_b == 0.5).all():
        raise ValueError(
            f"`preferences` must hold at least 1 pair with a winner, got {len(preferences)} ties. "
            "Answer more queries."
        )
    check_segments(preferences.segments, obs_dim, action_dim)
    for name, values in (
        (STATE, preferences.segments.obs[STATE]),
        ("action", preferences.segments.action),
    ):
        wrong = ~np.isfinite(values).all(axis=-1) & preferences.segments.mask
        if wrong.any():
            segment, step = np.argwhere(wrong)[0]
            raise DataError(
                f"'{name}' is not finite at step {step} of segment {segment}, which is of episode "
                f"{preferences.episode_ids[segment]}."
            )

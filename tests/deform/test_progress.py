import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.deform.progress import Progress, StopConfig
from robopref.envs.deformable.goals import circle

GOAL = circle(1.2, 64)


def cloud(stretch):
    """Return a ring that is stretched along x: a circle for 1."""
    flat = GOAL * np.array([stretch, 1 / stretch])
    return np.concatenate([flat, np.zeros((64, 1))], axis=1).astype(np.float32)


def first_stop(clouds, **options):
    progress = Progress(StopConfig(**options), GOAL)
    stopped = [progress.has_stopped(one) for one in clouds]
    return stopped.index(True) if any(stopped) else None


@given(st.integers(1, 5))
def test_without_progress_it_stops_once_patience_is_over(patience):
    assert first_stop([cloud(1.6)] * 8, patience=patience) == patience


def test_as_long_as_it_comes_nearer_it_goes_on():
    assert first_stop([cloud(s) for s in np.linspace(1.8, 1.05, 12)], patience=1) is None


def test_what_got_worse_has_to_become_better_than_the_best():
    stretches = [1.6, 1.3, 1.6, 1.5, 1.4, 1.3]
    assert first_stop([cloud(s) for s in stretches], patience=4) == 5


def test_a_place_and_a_turn_are_no_progress():
    turn = np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], np.float32)
    clouds = [cloud(1.6), cloud(1.6) @ turn.T, cloud(1.6) + np.array([0.1, 0, 0], np.float32)]
    assert first_stop(clouds, patience=2) == 2


def test_no_patience_at_all_never_stops():
    assert first_stop([cloud(1.6)] * 30, patience=0) is None


def test_settings_are_checked():
    with pytest.raises(ValueError) as error:
        StopConfig(least_gain=2)
    assert str(error.value) == "`least_gain` must be between 0 and 1, got 2."

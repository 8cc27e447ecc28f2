"""Tests for statistics.py."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest

from robopref.statistics import even_chance, expected_calibration_error, wilson


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))),
       st.sampled_from([0.5, 0.9, 0.95, 0.99]))  # fmt: skip
def test_wilson_agrees_with_scipy(counts, confidence):
    successes, num = counts
    ours = wilson(successes, num, confidence=confidence)
    theirs = binomtest(successes, num).proportion_ci(confidence, method="wilson")
    assert ours.low == pytest.approx(theirs.low, abs=1e-9)
    assert ours.high == pytest.approx(theirs.high, abs=1e-9)
    assert 0 <= ours.low <= ours.value <= ours.high <= 1


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_mirrors_when_successes_and_failures_change_places(counts):
    successes, num = counts
    one, other = wilson(successes, num), wilson(num - successes, num)
    assert one.low == pytest.approx(1 - other.high)
    assert one.high == pytest.approx(1 - other.low)


def test_wilson_without_trials_knows_nothing():
    nothing = wilson(0, 0)
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high) == (0, 1)
    assert str(nothing) == "undefined (0/0)"


def test_wilson_refuses_impossible_counts():
    with pytest.raises(ValueError) as error:
        wilson(6, 5)
    assert str(error.value) == "`successes` must be between 0 and 5, got 6."
    with pytest.raises(ValueError) as error:
        wilson(1, 5, confidence=1.5)
    assert str(error.value) == "`confidence` must be between 0 and 1, got 1.5."


def test_calibration_of_a_constant_forecast_is_its_bias():
    outcome = np.array([1.0, 0.0, 0.0, 1.0, 1.0])  # Frequency 0.6.
    assert expected_calibration_error(np.full(5, 0.6), outcome) == pytest.approx(0.0)
    assert expected_calibration_error(np.full(5, 0.9), outcome) == pytest.approx(0.3)
    assert expected_calibration_error(np.full(5, 1.0), outcome) == pytest.approx(0.4)


def test_calibration_weighs_bins_by_their_samples():
    # Three samples off by 0.2 and one off by 0.5: (3 * 0.2 + 1 * 0.5) / 4.
    probability = np.array([0.8, 0.8, 0.8, 0.5])
    outcome = np.array([1.0, 1.0, 1.0, 0.0])
    assert expected_calibration_error(probability, outcome) == pytest.approx(0.275)


def test_calibration_counts_a_tie_as_half():
    assert expected_calibration_error(np.full(4, 0.5), np.full(4, 0.5)) == 0


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0])), min_size=1))
def test_calibration_error_is_symmetric_and_bounded(samples):
    probability, outcome = (np.array(column) for column in zip(*samples, strict=True))
    error = expected_calibration_error(probability, outcome)
    assert 0 <= error <= 1
    # Swapping the two sides of every comparison changes which bin a boundary falls into, no more.
    inside = np.all(np.abs(probability * 10 - np.round(probability * 10)) > 1e-9)
    if inside:
        mirrored = expected_calibration_error(1 - probability, 1 - outcome)
        assert mirrored == pytest.approx(error)


def test_calibration_needs_samples():
    with pytest.raises(ValueError) as error:
        expected_calibration_error(np.zeros(0), np.zeros(0))
    assert str(error.value) == (
        "`probability` and `outcome` must have one equal length of at least 1, got 0 and 0."
    )


@pytest.mark.parametrize(
    ("successes", "num"), [(4, 4), (3, 10), (50, 100), (2400, 5000), (0, 5000)]
)
def test_even_chance_agrees_with_scipy(successes, num):
    found = even_chance(successes, num)
    assert found == pytest.approx(binomtest(successes, num, 0.5).pvalue)
    assert found == even_chance(num - successes, num)


def test_even_chance_of_no_trials_is_certain():
    assert even_chance(0, 0) == 1

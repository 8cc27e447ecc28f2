"""Tests for preferences/correctness.py: mistakes are found, honest annotators are left alone."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.preferences.correctness import estimate_correctness


def answers(rates, num, seed, *, scale=2.0):
    """Return margins, annotators and which labels are right, drawn as the model says."""
    rng = np.random.default_rng(seed)
    annotator = np.repeat(np.arange(len(rates)), num)
    gap = rng.normal(scale=scale, size=len(annotator))
    truth = rng.random(len(gap)) < 1 / (1 + np.exp(-gap))
    right = rng.random(len(gap)) >= np.array(rates)[annotator]
    said = np.where(right, truth, ~truth)
    return np.where(said, gap, -gap), annotator, right


@pytest.mark.parametrize("seed", range(3))
def test_error_rates_are_recovered(seed):
    margin, annotator, _ = answers([0.0, 0.1, 0.3], 3000, seed, scale=4.0)
    found = estimate_correctness(margin, annotator)
    np.testing.assert_allclose(found.error_rate, [0.0, 0.1, 0.3], atol=0.03)


def test_probabilities_are_calibrated():
    margin, annotator, right = answers([0.05, 0.3], 20_000, 0, scale=4.0)
    probability = estimate_correctness(margin, annotator).probability
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (probability >= low) & (probability < low + 0.25)
        assert right[inside].mean() == pytest.approx(probability[inside].mean(), abs=0.03)


@given(st.lists(st.floats(-20, 20), min_size=1, max_size=30), st.integers(0, 100))
def test_a_label_that_agrees_more_is_never_less_likely_right(margins, seed):
    annotator = np.zeros(len(margins), int)
    found = estimate_correctness(np.array(margins), annotator)
    order = np.argsort(margins)
    assert (np.diff(found.probability[order]) >= -1e-12).all()
    assert 0 < found.error_rate[0] <= 0.5


def test_a_reward_that_knows_nothing_changes_little():
    found = estimate_correctness(np.zeros(20), np.zeros(20, int))
    assert found.error_rate[0] == pytest.approx(0.1, abs=1e-6)
    np.testing.assert_allclose(found.probability, 0.9, atol=1e-6)


def test_bad_input_is_refused():
    for margin in (np.zeros(0), np.array([np.nan])):
        with pytest.raises(ValueError) as error:
            estimate_correctness(margin, np.zeros(len(margin), int))
        assert str(error.value) == (
            "`margin` must hold a finite number for each of one or more labels, and `annotator` "
            f"one for each, got {len(margin)} and {len(margin)}."
        )

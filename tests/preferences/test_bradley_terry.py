"""Tests for Bradley-Terry scores, against the example of a textbook."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.preferences.bradley_terry import fit_bradley_terry, fit_crowd

# Agresti, Categorical data analysis (2nd edition, 2002), table 10.10: who won how often against
# whom in the American League of 1987: Milwaukee, Detroit, Toronto, New York, Boston, Cleveland,
# Baltimore.
WON = np.array([
    [0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12], [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6], [2, 4, 1, 3, 1, 7, 0],
])  # fmt: skip


def test_the_example_of_the_textbook():
    winners, losers = np.nonzero(WON)
    found = fit_bradley_terry(
        losers, winners, np.ones(len(winners)), num_items=7, weight=WON[winners, losers] * 1.0,
        prior_scale=1e3,
    )  # fmt: skip
    # Section 10.6.1 of the book, Baltimore at 0; errors as R's BradleyTerry2 prints them.
    np.testing.assert_allclose(
        found.score - found.score[6], [1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0], atol=0.001
    )
    errors = []
    for team in range(6):
        _, low, high = found.difference(team, 6)
        errors.append((high - low) / (2 * 1.959964))
    np.testing.assert_allclose(errors, [0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319], atol=1e-4)


def test_a_closed_form_for_two():
    a, b = np.zeros(10, int), np.ones(10, int)
    found = fit_bradley_terry(a, b, np.array([1.0] * 7 + [0.0] * 3), num_items=2, prior_scale=1e3)
    value, low, high = found.difference(1, 0)
    assert value == pytest.approx(np.log(7 / 3), abs=1e-4)
    assert high - low == pytest.approx(2 * 1.959964 / np.sqrt(10 * 0.7 * 0.3), abs=1e-3)
    low, high = found.intervals()[1]
    assert low < value / 2 < high


def test_who_won_everything_has_a_finite_score():
    found = fit_bradley_terry(np.zeros(5, int), np.ones(5, int), np.ones(5), num_items=2)
    assert np.isfinite(found.score).all()
    assert found.difference(1, 0)[1] < found.difference(1, 0)[0] < 60


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(1, 3), st.sampled_from([0.0, 0.5, 1.0])),
        min_size=1, max_size=30,
    )
)  # fmt: skip
def test_turning_comparisons_around_changes_nothing(rows):
    a = np.array([x for x, _, _ in rows])
    b = np.array([(x + d) % 4 for x, d, _ in rows])
    prefers_b = np.array([p for _, _, p in rows])
    found = fit_bradley_terry(a, b, prefers_b, num_items=4)
    turned = fit_bradley_terry(b, a, 1 - prefers_b, num_items=4)
    np.testing.assert_allclose(found.score, turned.score, atol=1e-6)
    assert found.score.mean() == pytest.approx(0, abs=1e-9)


def test_an_annotator_who_guesses_is_told_from_one_who_knows(rng):
    truth = np.linspace(-4, 4, 9)
    a, b = np.array([(i, j) for i in range(9) for j in range(9) if i < j] * 2).T
    right = (truth[b] > truth[a]).astype(float)
    who = np.repeat([0, 1], len(a) // 2)
    guesses = rng.integers(2, size=len(a)).astype(float)
    found = fit_crowd(a, b, np.where(who == 0, right, guesses), who, num_items=9)
    assert found.reliability is not None
    assert found.reliability[0] > 0.9
    assert found.reliability[1] < 0.75
    assert np.corrcoef(found.score, truth)[0, 1] > 0.95


def test_bad_comparisons_are_named():
    with pytest.raises(ValueError) as error:
        fit_bradley_terry(np.array([0]), np.array([0]), np.array([1.0]), num_items=2)
    assert str(error.value) == "`a` and `b` must name two different of 2 items each time."
    with pytest.raises(ValueError, match="one equal length of at least 1, got 0, 0 and 0"):
        fit_bradley_terry(np.zeros(0, int), np.zeros(0, int), np.zeros(0), num_items=2)

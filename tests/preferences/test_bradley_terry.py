"""Tests for Bradley-Terry scores and their intervals."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.stats import binom

from robopref.preferences.bradley_terry import count_wins, fit_bradley_terry
from robopref.preferences.crowd import fit_with_prior

# Agresti, Categorical data analysis (2nd edition, 2002), table 10.10: who won how often against
# whom in the American League of 1987: Milwaukee, Detroit, Toronto, New York, Boston, Cleveland,
# Baltimore.
WON = np.array([
    [0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12], [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6], [2, 4, 1, 3, 1, 7, 0],
])  # fmt: skip


def play(wins, losses):
    """Fit scores to two items, the second of which won `wins` times."""
    num = wins + losses
    prefers_b = np.array([1.0] * wins + [0.0] * losses)
    return fit_bradley_terry(np.zeros(num, int), np.ones(num, int), prefers_b, num_items=2)


def test_the_example_of_the_textbook():
    """With a dozen games a pair, the penalty and the shape of the interval change little."""
    winners, losers = np.nonzero(WON)
    weight = WON[winners, losers] * 1.0
    found = fit_bradley_terry(losers, winners, np.ones(len(winners)), num_items=7, weight=weight)
    # Section 10.6.1 of the book, Baltimore at 0; errors as R's BradleyTerry2 prints them.
    scores = np.array([1.581, 1.436, 1.294, 1.248, 1.108, 0.684, 0])
    np.testing.assert_allclose(found.score - found.score[6], scores, atol=0.04)
    for team, error in enumerate([0.3433, 0.3396, 0.3367, 0.3359, 0.3339, 0.3319]):
        _, low, high = found.difference(team, 6)
        np.testing.assert_allclose(
            [low, high], scores[team] + np.array([-1.96, 1.96]) * error, atol=0.05
        )
    likely = fit_with_prior(count_wins(losers, winners, np.ones(len(winners)), weight, 7), 1e3)
    np.testing.assert_allclose(likely - likely[6], scores, atol=0.001)


@pytest.mark.parametrize(("wins", "losses"), [(7, 3), (10, 0), (9, 1), (5, 5), (1000, 0), (1, 0)])
def test_two_items_are_compared_as_by_their_closed_form(wins, losses):
    """Of two items, Jeffreys' prior is half a win more for each (Firth 1993, section 3.3)."""
    value, low, high = play(wins, losses).difference(1, 0)
    assert value == pytest.approx(np.log((wins + 0.5) / (losses + 0.5)), abs=1e-5)

    def twice_log(x):
        return -2 * ((wins + 0.5) * np.logaddexp(0, -x) + (losses + 0.5) * np.logaddexp(0, x))

    for bound in (low, high):
        assert twice_log(value) - twice_log(bound) == pytest.approx(3.841459, abs=1e-3)
    lows = play(wins, losses).intervals()
    # The mean is 0: each score is half of the difference.
    np.testing.assert_allclose(lows[1], [low / 2, high / 2], atol=1e-4)
    np.testing.assert_allclose(lows[0], [-high / 2, -low / 2], atol=1e-4)


def test_an_independent_computation_of_four_items_agrees(rng):
    """One item won everything; searched without derivatives, item 0 held at 0."""
    a, b = np.array([(i, j) for i in range(4) for j in range(4) if i < j] * 6).T
    prefers_b = (rng.random(len(a)) < 0.6).astype(float)
    prefers_b[rng.random(len(a)) < 0.2] = 0.5
    prefers_b[a == 2], prefers_b[b == 2] = 0.0, 1.0

    def twice_log(others):
        score = np.concatenate([[0.0], others])
        p = 1 / (1 + np.exp(score[a] - score[b]))
        design = np.eye(4)[b] - np.eye(4)[a]
        information = (design * (p * (1 - p))[:, None]).T @ design
        likely = prefers_b * np.log(p) + (1 - prefers_b) * np.log(1 - p)
        return 2 * likely.sum() + np.log(np.linalg.det(information[1:, 1:]))

    def best(fixed=None):
        """Return the highest value; with `fixed`, where item 2 is that far ahead of item 1."""

        def negative(x):
            others = x if fixed is None else np.array([x[0], x[0] + fixed, x[1]])
            return -twice_log(others)

        options = {"xatol": 1e-8, "fatol": 1e-10, "maxiter": 10_000, "maxfev": 10_000}
        found = minimize(
            negative, np.zeros(3 if fixed is None else 2), method="Nelder-Mead", options=options
        )
        return -found.fun, found.x

    found = fit_bradley_terry(a, b, prefers_b, num_items=4)
    highest, others = best()
    np.testing.assert_allclose(found.score[1:] - found.score[0], others, atol=1e-4)
    value, low, high = found.difference(2, 1)
    assert 0 < low < value < high < 20
    for bound in (low, high):
        assert highest - best(bound)[0] == pytest.approx(3.841459, abs=1e-3)


def test_who_won_everything_is_told_apart_no_less_surely_than_who_nearly_did():
    """A Wald interval is widest there (Hauck and Donner 1977)."""
    for num in (6, 10, 30):
        bounds = [play(wins, num - wins).difference(1, 0)[1:] for wins in range(num + 1)]
        assert bounds[num][0] > max(0, bounds[num - 1][0])
        assert (np.diff(bounds, axis=0) > 0).all(), "more wins, higher bounds"
        np.testing.assert_allclose(bounds, -np.array(bounds)[::-1, ::-1], atol=1e-4)
    lows = [play(wins, 0).difference(1, 0)[1] for wins in (1, 2, 5, 10, 100)]
    assert (np.diff(lows) > 0).all()
    assert lows[0] < 0 < lows[2]


@pytest.mark.parametrize("difference", [0.0, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("num", [10, 20, 40])
def test_intervals_of_two_items_hold_as_often_as_they_say(num, difference):
    """Over all outcomes, each as often as it happens; few games come in coarse steps."""
    probability = binom.pmf(np.arange(num + 1), num, 1 / (1 + np.exp(-difference)))
    inside = [
        low <= difference <= high
        for wins in range(num + 1)
        for _, low, high in [play(wins, num - wins).difference(1, 0)]
    ]
    assert 0.92 <= probability @ inside <= 0.985


def test_intervals_of_three_items_hold_as_often_as_they_say():
    num, pairs = 4, np.array([(0, 1), (0, 2), (1, 2)])
    a, b = np.repeat(pairs, 2, axis=0).T
    outcomes = list(np.ndindex(num + 1, num + 1, num + 1))
    bounds = np.empty((len(outcomes), 2, 2))
    for row, wins in enumerate(outcomes):
        weight = np.stack([wins, num - np.array(wins)], axis=1).ravel().astype(float)
        found = fit_bradley_terry(a, b, np.tile([1.0, 0.0], 3), num_items=3, weight=weight)
        bounds[row] = [found.difference(other, 0)[1:] for other in (1, 2)]
    for truth in ((0.0, 0.0, 0.0), (0.0, 1.0, 2.5), (0.0, 3.0, 0.0)):
        score = np.array(truth)
        chance = 1 / (1 + np.exp(score[pairs[:, 0]] - score[pairs[:, 1]]))
        probability = binom.pmf(outcomes, num, chance).prod(axis=1)
        inside = (bounds[..., 0] <= score[1:]) & (score[1:] <= bounds[..., 1])
        covered = probability @ inside
        assert (covered >= 0.92).all(), truth
        assert (covered <= 0.985).all(), truth


def test_renaming_items_changes_nothing(rng):
    a, b = np.array([(i, j) for i in range(4) for j in range(4) if i != j] * 3).T
    prefers_b = rng.integers(3, size=len(a)) / 2
    prefers_b[a == 3], prefers_b[b == 3] = 0.0, 1.0
    new = np.array([2, 0, 3, 1])
    found = fit_bradley_terry(a, b, prefers_b, num_items=4)
    named = fit_bradley_terry(new[a], new[b], prefers_b, num_items=4)
    np.testing.assert_allclose(named.score[new], found.score, atol=1e-5)
    np.testing.assert_allclose(named.intervals()[new], found.intervals(), atol=1e-3)
    turned = np.array(found.difference(0, 3))[[0, 2, 1]]
    np.testing.assert_allclose(-turned, found.difference(3, 0), atol=1e-3)


def test_groups_that_never_met_are_not_compared():
    a, b, prefers_b = np.array([0, 0, 2]), np.array([1, 1, 3]), np.array([1.0, 1.0, 0.5])
    found = fit_bradley_terry(a, b, prefers_b, num_items=5)
    assert found.difference(1, 0) == play(2, 0).difference(1, 0)
    value, low, high = found.difference(1, 2)
    assert np.isnan(value)
    assert (low, high) == (-np.inf, np.inf)
    assert found.intervals()[4].tolist() == [-np.inf, np.inf], "it was compared with nothing"
    sums = [found.score[:2].sum(), found.score[2:4].sum(), found.score[4]]
    np.testing.assert_allclose(sums, 0, atol=1e-12)


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


def test_bad_comparisons_are_named():
    with pytest.raises(ValueError) as error:
        fit_bradley_terry(np.array([0]), np.array([0]), np.array([1.0]), num_items=2)
    assert str(error.value) == "`a` and `b` must name two different of 2 items each time."
    with pytest.raises(ValueError, match="one equal length of at least 1, got 0, 0 and 0"):
        fit_bradley_terry(np.zeros(0, int), np.zeros(0, int), np.zeros(0), num_items=2)


def test_bounds_hold_where_the_best_for_the_others_has_several_peaks():
    """Few comparisons of many items; a search from one place stops too early here."""
    rng = np.random.default_rng(2)
    items, num = int(rng.integers(2, 8)), int(rng.integers(1, 60))
    a = rng.integers(items, size=num)
    b = (a + 1 + rng.integers(items - 1, size=num)) % items
    truth = 3 * rng.normal(size=items)
    prefers_b = (rng.random(num) < 1 / (1 + np.exp(truth[a] - truth[b]))) * 1.0
    prefers_b[rng.random(num) < 0.1] = 0.5
    found = fit_bradley_terry(a, b, prefers_b, num_items=items)

    def twice_log(score):
        p = 1 / (1 + np.exp(score[a] - score[b]))
        design = np.eye(items)[b] - np.eye(items)[a]
        information = (design * (p * (1 - p))[:, None]).T @ design
        likely = prefers_b * np.log(p) + (1 - prefers_b) * np.log(1 - p)
        return 2 * likely.sum() + np.linalg.slogdet(information[1:, 1:])[1]

    def best(ahead):
        """Return the highest value with item 1 that far ahead of item 2, searched for 20 times."""
        others = [i for i in range(items) if i != 1]

        def negative(x):
            score = np.zeros(items)
            score[others] = x
            score[1] = score[2] + ahead
            return -twice_log(score)

        starts = np.random.default_rng(0).normal(scale=3, size=(20, items - 1))
        return max(-minimize(negative, start).fun for start in starts)

    _, _, high = found.difference(1, 2)
    assert twice_log(found.score) - best(high) == pytest.approx(3.841459, abs=1e-2)

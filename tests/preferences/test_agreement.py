"""Tests for annotator agreement, against published worked examples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.data.segment import Segment
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.agreement import cohen_kappa, krippendorff_alpha, measure_agreement

N = np.nan
# Krippendorff, Computing Krippendorff's alpha-reliability, 2011, section C: four observers,
# twelve units, with missing ratings.
KRIPPENDORFF_2011 = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, N, N, N],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, N, 3],
        [N, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, N],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, N],
    ]
)


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_krippendorffs_own_example(level, alpha):
    assert krippendorff_alpha(KRIPPENDORFF_2011, level=level) == pytest.approx(alpha, abs=5e-4)


def test_a_published_example_with_three_coders():
    """The computational example of Wikipedia's article on Krippendorff's alpha."""
    ratings = np.array(
        [
            [N, N, N, N, N, 3, 4, 1, 2, 1, 1, 3, 3, N, 3],
            [1, N, 2, 1, 3, 3, 4, 3, N, N, N, N, N, N, N],
            [N, N, 2, 1, 3, 4, 4, N, 2, 1, 1, 3, 3, N, 4],
        ]
    )
    assert krippendorff_alpha(ratings) == pytest.approx(0.691, abs=5e-4)
    assert krippendorff_alpha(ratings, level="interval") == pytest.approx(0.811, abs=5e-4)


def test_cohens_kappa_on_its_textbook_examples():
    """Cohen 1960, table 1: 200 diagnoses of two psychologists; and Wikipedia's grant proposals."""
    table = np.array([[88, 10, 2], [14, 40, 6], [18, 10, 12]])
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i, j])]
    first, second = zip(*pairs, strict=True)
    assert cohen_kappa(first, second) == pytest.approx(0.492, abs=5e-4)
    yes_no = [("y", "y")] * 20 + [("y", "n")] * 5 + [("n", "y")] * 10 + [("n", "n")] * 15
    assert cohen_kappa(*zip(*yes_no, strict=True)) == pytest.approx(0.4)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=2, max_size=40))
def test_agreement_is_symmetric_and_at_most_one(pairs):
    first, second = zip(*pairs, strict=True)
    kappa = cohen_kappa(first, second)
    np.testing.assert_allclose(kappa, cohen_kappa(second, first))
    ratings = np.array([first, second], float)
    for level in ("nominal", "ordinal", "interval"):
        alpha = krippendorff_alpha(ratings, level=level)
        np.testing.assert_allclose(alpha, krippendorff_alpha(ratings[::-1], level=level))
        assert not alpha > 1 + 1e-12
        if len(set(first)) > 1 and first == second:
            assert alpha == pytest.approx(1)


def test_chance_is_zero():
    rng = np.random.default_rng(0)
    ratings = rng.integers(3, size=(4, 5000)).astype(float)
    assert krippendorff_alpha(ratings) == pytest.approx(0, abs=0.02)
    assert cohen_kappa(ratings[0].tolist(), ratings[1].tolist()) == pytest.approx(0, abs=0.05)


def test_where_there_is_nothing_to_agree_on_the_result_is_undefined():
    assert np.isnan(cohen_kappa([1, 1], [1, 1]))
    assert np.isnan(krippendorff_alpha(np.ones((2, 5))))
    assert np.isnan(krippendorff_alpha(np.array([[1.0, N], [N, 2.0]])))
    with pytest.raises(ValueError) as error:
        cohen_kappa([1], [1, 2])
    assert str(error.value) == (
        "`first` and `second` must have one equal length of at least 1, got 1 and 2."
    )
    with pytest.raises(ValueError) as error:
        krippendorff_alpha(np.ones((2, 2)), level="ratio")
    assert str(error.value) == (
        "`level` must be one of ['interval', 'nominal', 'ordinal'], got 'ratio'."
    )


@pytest.mark.parametrize("num", range(1, 41))
def test_one_category_has_no_kappa_however_many_units(num):
    """Shares of 1 / n do not add up to 1 exactly for every n."""
    assert np.isnan(cohen_kappa(["a"] * num, ["a"] * num))


def answer_pairs(judged, *, best_first):
    """Let annotators say of each pair whether its better item wins.

    Names sort so that the better item is always the first one, or so in every second pair.
    """
    answers = []
    for annotator, right in judged.items():
        for i, is_right in enumerate(right):
            good, bad = ("a", "b") if best_first or i % 2 else ("b", "a")
            pair = Segment(f"e{i}{good}", 0, 5), Segment(f"e{i}{bad}", 0, 5)
            name = f"{annotator}{i}"
            ranking = Ranking.prefer(0 if is_right else 1)
            answers.append(Preference(name, Query(name, pair), ranking, annotator))
    return answers


def test_agreement_does_not_hang_on_which_item_of_a_pair_sorts_first(rng):
    judged = {name: rng.random(200) < 0.9 for name in ("anna", "ben", "cleo")}
    first, mixed = (
        measure_agreement(answer_pairs(judged, best_first=best_first))
        for best_first in (True, False)
    )
    assert first.alpha == pytest.approx(mixed.alpha)
    for pair, kappa in first.kappa.items():
        assert kappa == pytest.approx(mixed.kappa[pair])
        alike = np.mean(judged[pair[0]] == judged[pair[1]])
        assert kappa == pytest.approx(2 * alike - 1)
    assert 0.5 < first.alpha < 0.8


def test_annotators_are_compared_whichever_way_round_the_items_stood():
    s = [Segment(f"e{i}", 0, 5) for i in range(6)]
    answers: list[Preference] = []

    def say(annotator, a, b, ranking):
        name = f"{len(answers)}"
        answers.append(Preference(name, Query(name, (a, b)), ranking, annotator))

    for i in range(0, 6, 2):
        say("anna", s[i], s[i + 1], Ranking.prefer(0))
        say("ben", s[i + 1], s[i], Ranking.prefer(1))  # the same winner
    say("anna", s[1], s[0], Ranking.prefer(1))  # asked again, says the same
    say("anna", s[3], s[2], Ranking.prefer(0))  # asked again, says the opposite
    say("ben", s[0], s[5], Ranking.skipped())
    agreement = measure_agreement(answers)
    assert agreement.annotators == ("anna", "ben")
    assert agreement.consistency == {"anna": 0.5}
    assert agreement.kappa["anna", "ben"] == 1.0
    assert agreement.alpha == pytest.approx(1.0)


def test_where_all_pairs_are_equal_there_is_nothing_to_agree_on():
    pair = Segment("e0", 0, 5), Segment("e1", 0, 5)
    answers = [Preference(name, Query("q", pair), Ranking.tie(), name) for name in ("anna", "ben")]
    agreement = measure_agreement(answers)
    assert np.isnan(agreement.kappa["anna", "ben"])
    assert np.isnan(agreement.alpha)

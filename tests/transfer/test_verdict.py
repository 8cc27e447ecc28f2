"""Tests for the verdict, with the figures that real transfers had."""

import math

import pytest

from robopref.rewards.transfer import Transferred
from robopref.transfer.accuracy import Accuracy
from robopref.transfer.verdict import NAMES, judge

GOOD = {
    "expected_accuracy": 0.84, "wrong_way": 0.0, "agreement": 0.95, "abstained": 0.0,
    "meaning": 0.93, "source": 0.9,
}  # fmt: skip


def accuracy(value, num=1000):
    return Accuracy("m", "the recorded rewards", value, 0.1, 0.05, 1.0, num)


def test_every_figure_has_a_name(rng):
    half = rng.random((5, 5))
    preferred = 0.5 + (half - half.T) / 2
    found = Transferred(preferred, preferred, preferred[None]).diagnose()
    assert set(found) <= set(NAMES)


@pytest.mark.parametrize(
    ("changed", "measured", "level", "words"),
    [
        ({}, [], "care", "nothing in the data tells whether what is preferred in the source"),
        ({}, [accuracy(0.88)], "trust", "foretells 88% of the pairs that the recorded rewards"),
        ({}, [accuracy(0.46)], "distrust", "the recorded rewards say the opposite"),
        ({}, [accuracy(0.88), accuracy(0.65)], "care", "88% of the pairs that the recorded rewards "
         "decide and 65% of the pairs that the recorded rewards decide. That is better than"),
        ({}, [accuracy(0.6, 10)], "care", "as far as the recorded rewards tell"),
        ({}, [accuracy(0.0, 3)], "care", "nothing in the data tells"),
        ({}, [accuracy(0.9, 10)], "trust", "foretells 90% of the pairs that the recorded rewards "
         "decide, and the votes agree"),
        ({"agreement": 0.05, "wrong_way": 0.5, "expected_accuracy": 1.0}, [], "distrust",
         "the votes contradict each other (agreement 0.05, 50% the wrong way round)"),
        ({"meaning": -0.9, "agreement": 0.9}, [], "distrust", "the mirror image"),
        ({"meaning": -0.9}, [accuracy(0.9, 10)], "distrust", "(meaning -0.90)"),
        ({"meaning": -0.9, "agreement": 0.1}, [accuracy(0.9, 60)], "trust", "foretells 90%"),
        ({"meaning": 0.4}, [], "care", "some features change their meaning (0.40)"),
        ({"source": 0.44}, [], "distrust", "foretells 44% of the source's own answers"),
        ({"source": 0.44}, [accuracy(0.9, 10)], "care", "only 44% of the source's own answers"),
        ({"source": 0.6}, [], "care", "only 60% of the source's own answers are foretold"),
        ({"source": math.nan}, [], "care", "has too few answers, or no features"),
        ({"source": math.nan}, [accuracy(0.9, 10)], "care", "the source has too few answers"),
        ({"across": 0.5}, [], "distrust", "the sources foretell 50% of each other's answers"),
        ({"across": 0.5}, [accuracy(0.9, 10)], "care", "the sources foretell only 50% of each"),
        ({"across": math.nan}, [], "care", "the votes agree, but"),
        ({"agreement": 0.7}, [], "care", "the votes agree by 0.70 only"),
        ({"wrong_way": 0.1}, [], "care", "10% of the votes order the target the other way"),
        ({"expected_accuracy": 0.6}, [], "care", "little better than chance"),
        ({"abstained": 0.84}, [], "care", "it says nothing about most pairs"),
        ({"agreement": math.nan}, [], "care", "there is one vote only"),
        ({"agreement": math.nan, "wrong_way": math.nan, "meaning": math.nan,
          "expected_accuracy": math.nan, "abstained": 1.0}, [], "care", "one vote only"),
    ],
)  # fmt: skip
def test_what_is_known_decides(changed, measured, level, words):
    verdict = judge(GOOD | changed, measured)
    assert verdict.level == level
    assert words in verdict.text

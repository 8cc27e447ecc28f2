"""Tests for benchmarks/robust_rewards.py."""

import numpy as np
import pytest

from benchmarks.robust_rewards import ENSEMBLE, FLIPS, SOFT, Judged, answer, summarise
from robopref.data.segment import Segment

NUM = 4000


@pytest.fixture(scope="module")
def pairs():
    returns = np.random.default_rng(0).standard_normal(2 * NUM)
    return Judged([Segment(f"e{i}", 0, 25) for i in range(2 * NUM)], returns)


def says_b(answers):
    return np.array([answer.ranking.pairs()[0][2] for answer in answers.preferences])


@pytest.mark.parametrize("kind", FLIPS)
def test_as_many_answers_are_wrong_as_the_kind_says(pairs, kind):
    answers = answer(pairs, kind, np.random.default_rng(1))
    truth = pairs.returns[NUM:] > pairs.returns[:NUM]
    assert (says_b(answers) != truth).mean() == pytest.approx(FLIPS[kind], abs=0.02)
    assert answers.soft is None
    first = answers.preferences[0].query.items
    assert first == (pairs.segments[0], pairs.segments[NUM])


def test_soft_labels_are_as_unsure_as_they_ought_to_be(pairs):
    answers = answer(pairs, SOFT, np.random.default_rng(1))
    assert answers.soft is not None
    truth = pairs.returns[NUM:] > pairs.returns[:NUM]
    assert ((answers.soft > 0.5) != truth).mean() == pytest.approx(0.2, abs=0.02)
    assert np.array_equal(answers.soft > 0.5, says_b(answers) == 1)
    for low in np.arange(0, 1, 0.2):
        inside = (answers.soft >= low) & (answers.soft < low + 0.2)
        assert truth[inside].mean() == pytest.approx(answers.soft[inside].mean(), abs=0.05)


def test_a_gain_counts_once_for_each_recording():
    def scores(accuracy):
        return {"accuracy": accuracy, "rank correlation": 0.0}

    found = [
        {
            (name, f"{num} labels, {kind}"): scores(base + extra)
            for name, extra in ((ENSEMBLE, 0.0), ("mlp", gain))
            for num, kind in ((40, "all right"), (40, SOFT), (100, SOFT))
        }
        for base, gain in ((0.7, 0.1), (0.5, 0.3))
    ]
    figures = summarise(found)
    for num in (40, 100):
        figure = figures[f"mlp, {num} labels, accuracy over the ensemble's"]
        assert figure["value"] == pytest.approx(0.2)
        assert figure["n"] == 2
    assert figures[f"ensemble, 40 labels, {SOFT}, accuracy"]["value"] == pytest.approx(0.6)
    assert not [name for name in figures if "transformer" in name]

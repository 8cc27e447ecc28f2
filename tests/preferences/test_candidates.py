import uuid

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences.candidates import CandidateView, levels_of
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.ranking import Ranking


def make_answer(step, ranking, size=2, *, num=None):
    items = tuple(
        ActionCandidate(f"episode {step}", step, ((float(i),) * size,))
        for i in range(num or ranking.num_items)
    )
    return Preference(str(uuid.uuid4()), Query(str(uuid.uuid4()), items), ranking)


def observe(candidate):
    return {"seen": np.full(3, candidate.step, np.float32)}


def test_levels_count_from_the_bottom():
    assert levels_of(Ranking(3, ((1,), (0,), (2,)))) == [1, 2, 0]
    assert levels_of(Ranking(3, ((1,), (0, 2)))) == [0, 1, 0]
    assert levels_of(Ranking(4, ((1,), (0,)))) == [1, 2, 0, 0]
    assert levels_of(Ranking.tie(3)) == [0, 0, 0]


def test_shorter_rankings_are_filled_up():
    answers = [
        make_answer(1, Ranking(2, ((1,), (0,)))),
        make_answer(2, Ranking(3, ((2,),))),
        make_answer(3, Ranking.tie(2)),
        make_answer(4, Ranking.skipped(2)),
        Preference("x", Query("q", (Segment("a", 0, 5), Segment("b", 0, 5))), Ranking.prefer(0)),
    ]
    view = CandidateView.from_preferences(answers, observe)
    assert len(view) == 2
    np.testing.assert_array_equal(view.levels, np.array([[0, 1, np.nan], [0, 0, 1]]))
    np.testing.assert_array_equal(view.obs["seen"][:, 0], [1, 2])
    assert view.candidates.shape == (2, 3, 1, 2)
    assert view.candidates[1, 2].tolist() == [[2, 2]]
    assert view.episode_ids == ("episode 1", "episode 2")


def test_without_an_order_there_is_nothing_to_learn():
    with pytest.raises(DataError) as error:
        CandidateView.from_preferences([make_answer(1, Ranking.tie(2))], observe)
    assert str(error.value) == (
        "No answer orders two action candidates: there is nothing to learn from. Answer more "
        "queries about candidates; skips and 'cannot tell' do not count."
    )


def test_candidates_of_two_sizes_are_refused():
    answers = [make_answer(i, Ranking.prefer(0), size=i) for i in (2, 3)]
    with pytest.raises(DataError) as error:
        CandidateView.from_preferences(answers, observe)
    assert str(error.value) == "Candidates must all be of one size, got [(1, 2), (1, 3)]."


@pytest.fixture
def many(rng):
    levels = rng.integers(0, 4, (30, 5)).astype(np.float32)
    return CandidateView(
        {"seen": np.arange(30)[:, None]}, np.zeros((30, 5, 1, 2), np.float32), levels,
        tuple(f"episode {i // 3}" for i in range(30)),
    )  # fmt: skip


@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.5, 1.0])
def test_held_out_rankings_share_no_episode(many, rng, fraction):
    training, validation = many.split(fraction, rng)
    assert not set(training.episode_ids) & set(validation.episode_ids)
    assert len(training) + len(validation) == 30
    assert len(validation) == min(round(fraction * 30), 27)


def test_pair_accuracy_counts_ordered_pairs_only(many, rng):
    assert many.pair_accuracy(many.levels) == 1.0
    assert many.pair_accuracy(-many.levels) == 0.0
    assert many.pair_accuracy(np.zeros((30, 5))) == 0.5
    assert abs(many.pair_accuracy(rng.normal(size=(30, 5))) - 0.5) < 0.15
    assert np.isnan(many.take(np.array([], int)).pair_accuracy(np.zeros((0, 5))))


def test_numbers_that_are_not_finite_are_refused(many):
    candidates = many.candidates.copy()
    candidates[2, 1] = np.inf
    with pytest.raises(ValueError) as error:
        CandidateView(many.obs, candidates, many.levels, many.episode_ids)
    assert str(error.value) == "`candidates` hold values that are not finite."

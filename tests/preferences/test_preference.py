"""Tests for rankings, preferences, and the pairwise view that losses are computed from."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import (
    ActionCandidate,
    Answer,
    PairwiseView,
    Preference,
    Query,
    Ranking,
)
from robopref.preferences.splits import hold_out_episodes
from robopref.types import STATE, SegmentBatch


@given(st.lists(st.integers(0, 4), min_size=2, max_size=5))
def test_pairs_follow_from_the_levels(levels):
    """Items at level 4 are left out of the order."""
    groups = [[i for i, at in enumerate(levels) if at == level] for level in range(4)]
    order = tuple(tuple(group) for group in groups if group) or (tuple(range(len(levels))),)
    ranking = Ranking(len(levels), order)
    level = {item: i for i, group in enumerate(ranking.order) for item in group}
    pairs = {(a, b): p for a, b, p in ranking.pairs()}
    for a, b in itertools.combinations(range(ranking.num_items), 2):
        if a not in level and b not in level:
            assert (a, b) not in pairs, "the unranked tail is not compared with itself"
        else:
            x, y = level.get(a, 9), level.get(b, 9)
            assert pairs[a, b] == (0.5 if x == y else float(y < x))
    assert ranking.num_labels == ranking.num_items - 1


@pytest.mark.parametrize("answer", [Ranking.skipped(3), Ranking.incomparable(3)])
def test_what_was_not_ordered_gives_no_pair_and_no_label(answer):
    assert answer.pairs() == []
    assert answer.num_labels == 0


def test_order_inside_a_tie_means_nothing():
    assert Ranking(3, ((2, 0), (1,))) == Ranking(3, ((0, 2), (1,)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"num_items": 1}, "`num_items` must be at least 2, got 1."),
        ({"num_items": 2, "order": ((0,), ())}, "`order` must not hold an empty group."),
        (
            {"num_items": 2, "order": ((0,), (0,))},
            "`order` must name each of the items 0 to 1 at most once, got ((0,), (0,)).",
        ),
        (
            {"num_items": 2, "order": ((2,),)},
            "`order` must name each of the items 0 to 1 at most once, got ((2,),).",
        ),
        ({"num_items": 2}, "An answer 'ranked' does not go with order ()."),
        (
            {"num_items": 2, "order": ((0,),), "answer": Answer.SKIPPED},
            "An answer 'skipped' does not go with order ((0,),).",
        ),
    ],
)
def test_impossible_rankings_are_refused(fields, message):
    with pytest.raises(ValueError) as error:
        Ranking(**fields)
    assert str(error.value) == message


A, B = Segment("a", 0, 5), Segment("b", 0, 5)
C = ActionCandidate("a", 0, ((0.0,),))


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ((A,), "`items` must hold at least 2 items, got 1."),
        ((A, C), "`items` must be all segments or all action candidates."),
        ((A, B, A), "`items` must differ from each other; the same item stands twice."),
        (
            (C, ActionCandidate("a", 1, ((0.0,),))),
            "Action candidates of one query must be for the same observation.",
        ),
    ],
)
def test_impossible_queries_are_refused(items, message):
    with pytest.raises(ValueError) as error:
        Query("q", items)
    assert str(error.value) == message


def test_impossible_preferences_are_refused():
    with pytest.raises(ValueError) as error:
        Preference("p", Query("q", (A, B)), Ranking.tie(3))
    assert str(error.value) == "`ranking` is of 3 items, the query has 2."
    with pytest.raises(ValueError) as error:
        Preference("p", Query("q", (A, B)), Ranking.tie(), strength=4)
    assert str(error.value) == "`strength` must be between 1 and 3, got 4."
    with pytest.raises(ValueError) as error:
        Preference("p", Query("q", (A, B)), Ranking.tie(), confidence=0.4)
    assert str(error.value) == "`confidence` must be between 0.5 and 1, got 0.4."


@pytest.mark.parametrize(
    "details", [{"shown": (1, 0)}, {"a": {1: "b"}}, {"a": float("nan")}, {"a": A}]
)
def test_details_are_what_json_gives_back(details):
    with pytest.raises(ValueError) as error:
        Preference("p", Query("q", (A, B)), Ranking.tie(), details=details)
    assert str(error.value) == (
        f"`details` must be an object of plain JSON values, got {details!r}: lists instead of "
        "tuples, text for keys, numbers that are finite."
    )
    assert len({Preference("p", Query("q", (A, B)), Ranking.tie(), details={"a": [1]})}) == 1


def test_confidence_softens_what_is_ordered_and_not_ties():
    items = tuple(Segment(f"e{i}", 0, 5) for i in range(4))
    answer = Preference("p", Query("q", items), Ranking(4, ((1,), (0, 2))), confidence=0.9)
    soft = {(a, b): p for a, b, p in answer.pairs()}
    assert soft == pytest.approx(
        {(0, 1): 0.9, (0, 2): 0.5, (0, 3): 0.1, (1, 2): 0.1, (1, 3): 0.1, (2, 3): 0.1}
    )
    assert answer.segment_pairs()[0] == (items[0], items[1], 0.9)
    view = PairwiseView.from_preferences([answer], cut)
    assert view.prefers_b.tolist() == [np.float32(p) for p in soft.values()]
    sure = Preference("p", Query("q", items), answer.ranking)
    assert sure.pairs() == answer.ranking.pairs()


def cut(segment):
    """Mark each segment's arrays with its episode, so that a mix-up shows."""
    number = float(segment.episode_id.removeprefix("e"))
    state = np.full((segment.length, 1), number, np.float32)
    return {STATE: state}, np.full((segment.length, 1), number, np.float32)


def view_of(pairs):
    """A view of pairs of episodes; the second is preferred."""
    answers = []
    for i, (a, b) in enumerate(pairs):
        query = Query(f"q{i}", (Segment(f"e{a}", 2 * i, 3), Segment(f"e{b}", 2 * i + 1, 3)))
        answers.append(Preference(f"p{i}", query, Ranking.prefer(1)))
    return PairwiseView.from_preferences(answers, cut)


def test_a_view_holds_each_segment_once_and_skips_what_was_not_ordered():
    segments = [Segment(f"e{i}", 0, i + 1) for i in range(3)]
    answers = [
        Preference("1", Query("1", (segments[0], segments[1])), Ranking.prefer(0)),
        Preference("2", Query("2", (segments[1], segments[2])), Ranking.tie()),
        Preference("3", Query("3", (segments[0], segments[2])), Ranking.skipped()),
        Preference("4", Query("4", (C, ActionCandidate("a", 0, ((1.0,),)))), Ranking.prefer(0)),
    ]
    view = PairwiseView.from_preferences(answers, cut)
    assert view.episode_ids == ("e0", "e1", "e2")
    assert view.segments.lengths.tolist() == [1, 2, 3]
    assert (view.a.tolist(), view.b.tolist()) == ([0, 1], [1, 2])
    assert view.prefers_b.tolist() == [0.0, 0.5]
    with pytest.raises(DataError) as error:
        PairwiseView.from_preferences(answers[2:], cut)
    assert str(error.value) == (
        "No answer orders two segments: there is nothing to learn from. "
        "Answer more queries; skips and 'cannot tell' do not count."
    )


episode_pairs = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=40)


@settings(max_examples=50, deadline=None)
@given(episode_pairs, st.floats(0, 1), st.integers(0, 100))
def test_training_and_validation_share_no_episode(pairs, fraction, seed):
    view = view_of(pairs)
    training, held_out = view.split(fraction, np.random.default_rng(seed))
    assert set(training.episode_ids).isdisjoint(held_out.episode_ids)
    assert len(training) >= len(view) / 2
    assert len(training) + len(held_out) <= len(view)
    again = view.split(fraction, np.random.default_rng(seed))
    assert again[0].episode_ids == training.episode_ids
    originals = {(f"e{a}", f"e{b}") for a, b in pairs}
    for part in (training, held_out):
        assert set(part.a) | set(part.b) == set(range(len(part.episode_ids)))
        for a, b in zip(part.a, part.b, strict=True):
            assert (part.episode_ids[a], part.episode_ids[b]) in originals
            # The arrays went along with the indices.
            assert part.segments.action[a, 0, 0] == float(part.episode_ids[a][1:])
            assert part.segments.obs[STATE][b, 0, 0] == float(part.episode_ids[b][1:])


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 30), st.floats(0.01, 0.5), st.integers(0, 100))
def test_disjoint_pairs_are_split_without_loss(num_pairs, fraction, seed):
    view = view_of([(2 * i, 2 * i + 1) for i in range(num_pairs)])
    training, held_out = view.split(fraction, np.random.default_rng(seed))
    assert len(training) + len(held_out) == num_pairs
    wanted = max(1.0, fraction * num_pairs)
    assert abs(len(held_out) - wanted) < max(1.0, wanted / 10) + 1
    assert len(held_out) >= 1


@pytest.mark.parametrize(("fraction", "sizes"), [(0.2, (4, 1)), (0.4, (3, 2)), (0.0, (5, 0))])
def test_five_pairs_of_ten_episodes_are_enough_to_validate(fraction, sizes):
    view = view_of([(2 * i, 2 * i + 1) for i in range(5)])
    training, held_out = view.split(fraction, np.random.default_rng(0))
    assert (len(training), len(held_out)) == sizes


def test_ten_pairs_among_twenty_episodes_lose_at_most_two():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        view = view_of(rng.integers(20, size=(10, 2)))
        training, held_out = view.split(0.2, rng)
        assert len(held_out) == 2
        assert len(training) >= 6


def test_where_every_pair_shares_an_episode_nothing_is_held_out():
    view = view_of([(0, i) for i in range(1, 9)])
    training, held_out = view.split(0.25, np.random.default_rng(0))
    assert (len(training), len(held_out)) == (8, 0)
    assert isinstance(held_out.segments, SegmentBatch)


def test_held_out_pairs_are_not_always_the_same():
    pairs = np.arange(20).reshape(10, 2)
    chosen = {hold_out_episodes(pairs, 0.2, np.random.default_rng(s)).tobytes() for s in range(10)}
    assert len(chosen) > 3


def test_a_fraction_out_of_range_is_refused():
    with pytest.raises(ValueError) as error:
        view_of([(0, 1)]).split(1.5, np.random.default_rng(0))
    assert str(error.value) == "`fraction` must be between 0 and 1, got 1.5."

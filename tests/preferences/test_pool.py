"""Tests for the pool of candidate pairs."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import Query
from robopref.preferences.pool import (
    CandidatePool,
    sample_segments,
    segment_features,
    standardise,
)
from robopref.types import STATE, SegmentBatch


def make_batch(num, length=4, rng=None):
    rng = rng or np.random.default_rng(0)
    state = rng.normal(size=(num, length, 3)).astype(np.float32)
    action = rng.normal(size=(num, length, 2)).astype(np.float32)
    return SegmentBatch({STATE: state}, action, np.ones((num, length), bool))


def make_segments(num, per_episode=1):
    return [Segment(f"e{i // per_episode}", 4 * (i % per_episode), 4) for i in range(num)]


def unordered(pairs):
    return {tuple(sorted(pair)) for pair in pairs.tolist()}


@settings(max_examples=60, deadline=None)
@given(st.integers(2, 30), st.integers(1, 60), st.integers(0, 10), st.integers(0, 1000))
def test_sampled_pairs_are_different_fresh_and_do_not_overlap(num, num_pairs, num_asked, seed):
    rng = np.random.default_rng(seed)
    starts = rng.integers(0, 6, size=num)
    segments = list({Segment(f"e{i % 5}", int(start), 4) for i, start in enumerate(starts)})
    asked = [
        Query(f"q{i}", (segments[a], segments[b]))
        for i, (a, b) in enumerate(rng.integers(len(segments), size=(num_asked, 2)))
        if a != b
    ]
    pool = CandidatePool.build(
        segments, make_batch(len(segments)), rng=rng, num_pairs=num_pairs, asked=asked
    )
    assert len(pool.pairs) <= num_pairs
    assert len(unordered(pool.pairs)) == len(pool.pairs)
    for a, b in pool.pairs:
        assert a != b
        first, second = segments[a], segments[b]
        assert first.episode_id != second.episode_id or abs(first.start - second.start) >= 4
        assert not any({first, second} == set(query.items) for query in asked)


def test_every_pair_is_there_when_few_are_possible():
    pool = CandidatePool.build(make_segments(6), make_batch(6), rng=np.random.default_rng(0))
    assert len(pool.pairs) == 15
    flipped = pool.pairs[:, 0] > pool.pairs[:, 1]
    assert 0 < flipped.sum() < 15, "which one stands first is drawn"


def test_ten_thousand_pairs_are_found_among_many_segments():
    segments = make_segments(1000, per_episode=10)
    pool = CandidatePool.build(segments, make_batch(1000), rng=np.random.default_rng(0))
    assert pool.pairs.shape == (10_000, 2)


@pytest.mark.parametrize("num_pairs", [10, 300, 2000])
@pytest.mark.parametrize("num_groups", [1, 2, 7])
def test_pairs_are_within_groups_if_there_are_any(num_pairs, num_groups):
    segments = make_segments(120)
    groups = [f"group {i % num_groups}" for i in range(120)]
    pool = CandidatePool.build(
        segments, make_batch(120), rng=np.random.default_rng(0), num_pairs=num_pairs, groups=groups
    )
    possible = sum(n * (n - 1) // 2 for n in (groups.count(g) for g in set(groups)))
    assert len(pool.pairs) == min(num_pairs, possible)
    assert all(groups[a] == groups[b] for a, b in pool.pairs)
    if num_pairs > 10:
        assert len({groups[a] for a, _ in pool.pairs}) == num_groups


def test_one_group_is_as_none():
    pools = [
        CandidatePool.build(
            make_segments(200), make_batch(200), rng=np.random.default_rng(0), num_pairs=100,
            groups=groups,
        )
        for groups in (None, ["all"] * 200)
    ]  # fmt: skip
    np.testing.assert_array_equal(pools[0].pairs, pools[1].pairs)


def test_a_group_is_needed_for_each_segment():
    with pytest.raises(ValueError, match="must be one for each of 6 segments, got 5"):
        CandidatePool.build(
            make_segments(6), make_batch(6), rng=np.random.default_rng(0), groups=["a"] * 5
        )


def test_given_pairs_are_kept_but_for_doubles_and_asked_ones():
    segments = make_segments(4)
    pairs = np.array([[0, 1], [1, 0], [2, 3], [0, 2], [3, 2]])
    asked = [Query("q", (segments[2], segments[0], segments[3]))]
    pool = CandidatePool.build(
        segments, make_batch(4), rng=np.random.default_rng(0), pairs=pairs, asked=asked
    )
    assert pool.pairs.tolist() == [[0, 1]]
    assert unordered(pool.asked) == {(0, 2), (2, 3), (0, 3)}


@pytest.mark.parametrize("pairs", [[[0, 0]], [[0, 4]], [[-1, 2]]])
def test_impossible_pairs_are_refused(pairs):
    with pytest.raises(ValueError) as error:
        CandidatePool.build(
            make_segments(4), make_batch(4), rng=np.random.default_rng(0), pairs=np.array(pairs)
        )
    assert str(error.value) == (
        "`pairs` must have shape (P, 2) and name two different of 4 segments in each row, "
        "got shape (1, 2)."
    )


def test_lengths_must_agree():
    with pytest.raises(ValueError) as error:
        CandidatePool.build(make_segments(4), make_batch(5), rng=np.random.default_rng(0))
    assert str(error.value) == (
        "`segments` must be different and as many as in `batch`, got 4 (4 different) and 5."
    )
    with pytest.raises(ValueError) as error:
        CandidatePool.build(
            make_segments(4), make_batch(4), rng=np.random.default_rng(0), features=np.zeros((3, 2))
        )
    assert str(error.value) == "`features` must have shape (4, F), got (3, 2)."


class Counting:
    """A reward of two members that counts how many segments it was asked about."""

    num_scored = 0

    def member_returns(self, segments):
        self.num_scored += len(segments)
        total = segments.action.sum(axis=(1, 2))
        return np.stack([total, -total])


def test_each_segment_is_scored_once():
    batch, reward = make_batch(3000), Counting()
    pool = CandidatePool.build(make_segments(3000), batch, rng=np.random.default_rng(0))
    returns = pool.member_returns(reward)
    assert returns is not None
    assert reward.num_scored == 3000
    np.testing.assert_allclose(returns[0], batch.action.sum(axis=(1, 2)), rtol=1e-6)
    assert pool.member_returns(None) is None
    given_returns = pool.member_returns(returns)
    assert given_returns is not None
    assert given_returns.tolist() == returns.tolist()
    with pytest.raises(ValueError) as error:
        pool.member_returns(np.zeros((5, 10)))
    assert str(error.value) == (
        "The reward's member returns must have shape (M, 3000), got (5, 10)."
    )


def test_features_look_at_real_steps_only():
    batch = make_batch(2)
    mask = np.array([[True] * 4, [True, True, False, False]])
    padded = SegmentBatch(batch.obs, batch.action, mask)
    state = batch.obs[STATE][1, :2]
    expected = np.concatenate([state.mean(0), state[1] - state[0], batch.action[1, :2].mean(0)])
    np.testing.assert_allclose(segment_features(padded)[1], expected, rtol=1e-5)


def test_standardised_features_have_unit_spread_and_constants_are_left_out():
    features = np.random.default_rng(0).normal(3, [1, 100, 0], size=(50, 3))
    scaled = standardise(features)
    assert scaled.shape == (50, 2)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(axis=0), 1)


@settings(max_examples=50, deadline=None)
@given(
    st.dictionaries(st.text("ab", min_size=1, max_size=3), st.integers(1, 12), min_size=1),
    st.integers(1, 8),
    st.integers(1, 50),
)
def test_sampled_segments_are_different_and_inside_their_episodes(num_steps, length, num):
    rng = np.random.default_rng(0)
    possible = sum(max(0, steps - length + 1) for steps in num_steps.values())
    if not possible:
        with pytest.raises(DataError) as error:
            sample_segments(num_steps, length, num, rng)
        assert str(error.value) == (
            f"No episode has {length} steps: the longest of {len(num_steps)} has "
            f"{max(num_steps.values())}. Ask for shorter segments "
            "(--segment-length)."
        )
        return
    segments = sample_segments(num_steps, length, num, rng)
    assert len(set(segments)) == len(segments) == min(num, possible)
    assert all(s.length == length for s in segments)
    assert all(s.start + length <= num_steps[s.episode_id] for s in segments)

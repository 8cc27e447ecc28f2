"""Tests for triplets.py."""

import itertools

import numpy as np
import pytest

from robopref.preferences.query import Item, Query
from robopref.preferences.triplets import TripletsConfig, compute_triplet_gain
from tests.preferences.test_strategies import make_pool


def test_nothing_is_told_where_members_agree_or_all_find_it_close():
    agreeing = np.tile(np.array([0.0, 5.0, 9.0]), (4, 1))
    close = np.zeros((4, 3))
    for returns in (agreeing, close):
        assert compute_triplet_gain(returns, np.array([[0, 1, 2]])) == pytest.approx([0], abs=1e-9)


def test_sure_members_that_disagree_tell_the_logarithm_of_their_number():
    returns = np.array([[0.0, 50.0, 100.0], [100.0, 50.0, 0.0]])
    assert compute_triplet_gain(returns, np.array([[0, 1, 2]])) == pytest.approx([np.log(2)])


def test_the_order_of_a_triplet_does_not_matter(rng):
    returns = rng.standard_normal((5, 3))
    found = compute_triplet_gain(returns, np.array([[0, 1, 2], [2, 0, 1], [1, 0, 2]]))
    assert found == pytest.approx(np.full(3, found[0]))


@pytest.mark.parametrize("num_disputed", [3, 30])
def test_what_members_disagree_on_is_asked_and_no_segment_twice_too_soon(num_disputed):
    returns = np.tile(10.0 * np.arange(90), (4, 1))
    returns[:, -num_disputed:] = 20 * np.random.default_rng(0).standard_normal((4, num_disputed))
    pool = make_pool(90)
    place: dict[Item, int] = {segment: i for i, segment in enumerate(pool.segments)}
    queries = TripletsConfig().build().propose(pool, returns, 10, np.random.default_rng(0))
    chosen = [[place[item] for item in query.items] for query in queries]
    assert len(set(np.ravel(chosen))) == 30
    assert min(chosen[0]) >= 90 - num_disputed or num_disputed == 3
    assert any(i >= 90 - num_disputed for i in chosen[0])
    assert queries[0].reason.startswith("The order is expected to tell ")


def test_the_place_of_a_segment_tells_nothing_of_its_return():
    returns = np.random.default_rng(0).normal(size=(3, 40))
    pool = make_pool()
    place: dict[Item, int] = {segment: i for i, segment in enumerate(pool.segments)}
    firsts = [
        np.argmax([returns.mean(0)[place[item]] for item in query.items])
        for seed in range(20)
        for query in TripletsConfig()
        .build()
        .propose(pool, returns, 10, np.random.default_rng(seed))
    ]
    assert np.bincount(firsts, minlength=3).min() > 45


def test_segments_that_were_compared_do_not_meet_again_while_others_are_left():
    queries: list[Query] = []
    for seed in range(3):
        pool = make_pool(30, asked=queries)
        queries += TripletsConfig().build().propose(pool, None, 12, np.random.default_rng(seed))
    pairs = [frozenset(p) for query in queries for p in itertools.combinations(query.items, 2)]
    assert len(set(pairs)) == len(pairs) == 3 * 36

"""Tests for triplets.py."""

import numpy as np
import pytest

from robopref.rewards.triplets import choose_triplets, is_sure, triplet_doubt


def test_nothing_is_told_where_members_agree_or_all_find_it_close():
    agreeing = np.tile(np.array([0.0, 5.0, 9.0]), (4, 1))
    close = np.zeros((4, 3))
    for returns in (agreeing, close):
        assert triplet_doubt(returns, np.array([[0, 1, 2]])) == pytest.approx([0], abs=1e-9)


def test_sure_members_that_disagree_tell_the_logarithm_of_their_number():
    returns = np.array([[0.0, 50.0, 100.0], [100.0, 50.0, 0.0]])
    assert triplet_doubt(returns, np.array([[0, 1, 2]])) == pytest.approx([np.log(2)])


def test_the_order_of_a_triplet_does_not_matter(rng):
    returns = rng.standard_normal((5, 3))
    found = triplet_doubt(returns, np.array([[0, 1, 2], [2, 0, 1], [1, 0, 2]]))
    assert found == pytest.approx(np.full(3, found[0]))


def test_what_members_disagree_on_is_asked_and_no_clip_twice_too_soon(rng):
    returns = np.tile(10.0 * np.arange(9), (4, 1))
    returns[:, 6:] = 20 * rng.standard_normal((4, 3))
    chosen = choose_triplets(returns, 3, np.random.default_rng(0))
    assert sorted(chosen.ravel().tolist()) == list(range(9))
    assert set(chosen[0]) & {6, 7, 8}
    again = choose_triplets(returns, 3, np.random.default_rng(0))
    assert np.array_equal(chosen, again)


def test_more_than_there_are_is_refused(rng):
    with pytest.raises(ValueError) as error:
        choose_triplets(np.zeros((2, 2)), 1, rng)
    assert str(error.value) == "`member_returns` must be of at least 3 clips, got 2."
    with pytest.raises(ValueError) as error:
        choose_triplets(np.zeros((2, 3)), 2, rng)
    assert str(error.value) == "`num` must be at most 1 for 3 clips, got 2."


def test_it_abstains_where_members_differ_more_than_the_clips():
    returns = np.array([[0.0, 1.0, 5.0], [0.0, -1.2, 4.0]])
    a, b = np.array([0, 0, 2]), np.array([1, 2, 0])
    assert is_sure(returns, a, b).tolist() == [False, True, True]
    assert is_sure(returns[:1], a, b).all()

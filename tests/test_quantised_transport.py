"""Tests for quantised_transport.py: parts, plans of known answer, and sets of 10,000."""

import resource
import time

import numpy as np
import pytest
import torch

from robopref.quantised_transport import align_large_sets, cut_into_parts


def cloud(num, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((num, 3)))


def rotated(x):
    turn, _ = np.linalg.qr(np.random.default_rng(7).standard_normal((3, 3)))
    return x @ torch.from_numpy(turn)


def test_parts_do_not_depend_on_order_or_rotation():
    x = cloud(80)
    order = np.random.default_rng(1).permutation(80)
    plain, other = cut_into_parts(x, 9), cut_into_parts(rotated(x)[order], 9)
    assert order[other.representative].tolist() == plain.representative.tolist()
    assert other.part.tolist() == plain.part[order].tolist()
    assert plain.mass.sum() == pytest.approx(1)
    for number, members in enumerate(plain.members()):
        assert members[0] == plain.representative[number]
        assert (np.diff(plain.distance[members]) >= 0).all()
    assert len(cut_into_parts(torch.ones(5, 2), 4).representative) == 1


def test_a_rotated_and_shuffled_copy_is_recognised():
    x = cloud(300)
    order = np.random.default_rng(1).permutation(300)
    plan = align_large_sets(x, rotated(x)[order], np.random.default_rng(2), num_parts=40)
    assert plan.sum() == pytest.approx(1)
    assert np.asarray(plan.sum(axis=0)) == pytest.approx(1 / 300)
    assert np.asarray(plan.sum(axis=1)) == pytest.approx(1 / 300)
    matched = plan.toarray().argmax(axis=0)
    assert (matched == order).mean() > 0.99


def test_sets_of_different_sizes_share_their_mass():
    plan = align_large_sets(cloud(50), cloud(35, 3), np.random.default_rng(2), num_parts=10)
    assert plan.shape == (50, 35)
    assert np.asarray(plan.sum(axis=0)) == pytest.approx(1 / 35)
    assert np.asarray(plan.sum(axis=1)) == pytest.approx(1 / 50)


def test_what_cannot_be_told_apart_is_refused():
    with pytest.raises(ValueError) as error:
        align_large_sets(torch.ones(6, 3), cloud(6), np.random.default_rng(0))
    assert str(error.value) == "All items of `first` are the same, so nothing tells them apart."
    with pytest.raises(ValueError) as error:
        cut_into_parts(cloud(4), 0)
    assert str(error.value) == "`num_parts` must be at least 1, got 0."


@pytest.mark.slow
def test_ten_thousand_items_are_aligned_in_minutes_within_4_gb():
    x = cloud(10_000)
    order = np.random.default_rng(1).permutation(10_000)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    plan = align_large_sets(x, rotated(x)[order], np.random.default_rng(2))
    assert time.monotonic() - start < 180
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4e6  # In KiB.
    assert np.mean(plan.tocsc().argmax(axis=0) == order) > 0.9

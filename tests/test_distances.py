"""Tests for distances.py: against plain references, and for what is refused."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robopref import distances
from robopref.distances import vector_distances, warped_distances


def warp(a, b):
    """Return the distance of two sequences by the recursion as it is written in the textbook."""
    table = np.full((len(a) + 1, len(b) + 1), np.inf)
    table[0, 0] = 0
    for i in range(len(a)):
        for j in range(len(b)):
            before = min(table[i, j], table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = np.linalg.norm(a[i] - b[j]) + before
    return table[-1, -1]


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 99))
def test_warping_is_that_of_the_textbook(num, size, seed):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((num, size, 2))
    lengths = rng.integers(1, size + 1, num)
    found = warped_distances(torch.from_numpy(x), torch.from_numpy(lengths))
    for i in range(num):
        for j in range(num):
            expected = warp(x[i, : lengths[i]], x[j, : lengths[j]])
            assert float(found[i, j]) == pytest.approx(expected)


def test_a_pause_costs_nothing_and_parts_are_put_together(monkeypatch):
    line = torch.linspace(0, 1, 6, dtype=torch.float64)
    paused = torch.cat([line[:3], line[2:3].repeat(3), line[3:]])
    x = torch.stack([torch.cat([line, line[-1:].repeat(3)]), paused, paused + 1])[..., None]
    found = warped_distances(x)
    assert float(found[0, 1]) == pytest.approx(0)
    assert float(found[0, 2]) > 1
    monkeypatch.setattr(distances, "CELLS_AT_ONCE", 1)
    torch.testing.assert_close(warped_distances(x), found)


def test_vectors():
    x = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    torch.testing.assert_close(vector_distances(x, x), torch.tensor([[0.0, 5.0], [5.0, 0.0]]))
    torch.testing.assert_close(vector_distances(x, 2 * x, "cosine"), 1 - torch.eye(2))


def test_what_has_no_distance_is_refused():
    with pytest.raises(ValueError) as error:
        vector_distances(torch.ones(2, 3), torch.tensor([[1.0, 0, 0], [0, 0, 0]]), "cosine")
    assert str(error.value) == (
        "`y` has a vector of length 0 in row 1, whose angle is not defined. Take the euclidean "
        "metric."
    )
    with pytest.raises(ValueError) as error:
        warped_distances(torch.zeros(2, 3, 1), torch.tensor([0, 3]))
    assert str(error.value) == "`lengths` must be between 1 and 3, got 0 to 3."

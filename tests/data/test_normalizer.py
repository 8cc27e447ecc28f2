import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from robopref.data.normalizer import (
    compute_statistics,
    describe,
    describe_images,
    merge_statistics,
)
from robopref.errors import DataError

KEYS = {"min", "max", "mean", "std", "count", "q01", "q10", "q50", "q90", "q99"}


@given(
    rows=hnp.arrays(np.float32, st.tuples(st.integers(2, 40), st.just(3)),
                    elements=st.floats(-1e3, 1e3, width=32)),
    cut=st.floats(0, 1),
)  # fmt: skip
@settings(deadline=None)
def test_parts_merge_into_the_whole(rows, cut):
    place = min(max(1, int(cut * len(rows))), len(rows) - 1)
    merged = merge_statistics([describe(rows[:place]), describe(rows[place:])])
    whole = describe(rows)
    assert merged.keys() == whole.keys() == KEYS
    for key in ("min", "max", "count"):
        np.testing.assert_array_equal(merged[key], whole[key])
    for key in ("mean", "std"):
        np.testing.assert_allclose(merged[key], whole[key], atol=1e-8)
    assert (whole["min"] <= merged["q01"]).all()
    assert (merged["q99"] <= whole["max"]).all()


def test_merging_is_the_same_in_any_grouping(rng):
    parts = [describe(rng.normal(size=(n, 2))) for n in (1, 5, 30)]
    flat = merge_statistics(parts)
    nested = merge_statistics([parts[0], merge_statistics(parts[1:])])
    for key, value in flat.items():
        np.testing.assert_allclose(nested[key], value, rtol=1e-12)


def test_statistics_of_a_known_column():
    found = describe(np.arange(101, dtype=np.float32)[:, None])
    assert [float(found[key][0]) for key in ("min", "max", "mean", "q01", "q50", "q99")] == [
        0, 100, 50, 1, 50, 99,
    ]  # fmt: skip
    np.testing.assert_allclose(found["std"], np.sqrt((101**2 - 1) / 12))


def test_statistics_of_episodes_leave_out_the_last_observation(make_episode):
    episodes = [make_episode(i, steps=4 + i, camera=True) for i in range(3)]
    found = compute_statistics(episodes)
    assert found.keys() == {"observation.state", "action"}
    states = np.concatenate([episode.state[:-1] for episode in episodes])
    np.testing.assert_allclose(found["observation.state"]["q90"], np.quantile(states, 0.9, axis=0))
    assert found["action"]["count"] == 15


def test_pictures_have_statistics_by_colour_in_the_unit_range():
    frames = np.zeros((5, 8, 10, 3), np.uint8)
    frames[..., 1] = 255
    frames[:, :4, :, 2] = 51
    found = describe_images(frames)
    assert found["mean"].shape == (3, 1, 1)
    np.testing.assert_allclose(found["mean"][:, 0, 0], [0, 1, 0.1])
    assert found["count"] == 5


def test_large_pictures_are_sampled_without_a_pattern(rng):
    frames = np.zeros((60, 100, 100, 3), np.uint8)
    frames[:, :, 0] = 255  # One column in a hundred; a stride of 3 over 100 meets all columns.
    np.testing.assert_allclose(describe_images(frames)["mean"][:, 0, 0], 0.01, rtol=0.05)


def test_messages():
    for make in (lambda: describe(np.zeros((0, 2))), lambda: merge_statistics([])):
        with pytest.raises(DataError) as error:
            make()
        assert str(error.value) == "Statistics need at least one row, got none."
    with pytest.raises(DataError) as error:
        compute_statistics([])
    assert str(error.value) == "Statistics need at least one episode, got none."

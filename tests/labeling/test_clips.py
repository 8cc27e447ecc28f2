"""Which pictures a clip has, from where, and how fast they are played."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.data.schema import Feature
from robopref.data.segment import Segment
from robopref.data.video import Clip, decode_video
from robopref.errors import DataError
from robopref.labeling.clips import (
    MAX_FPS,
    MIN_SECONDS,
    ClipMaker,
    Pictures,
    Timing,
    find_cameras,
    num_pictures,
    shown_steps,
)
from robopref.preferences.query import ActionCandidate, Query
from tests.labeling.clip_data import brightness, record_real, record_simulated

SIMULATED = {"sim.state": Feature("float64", (9,))}
RECORDED = {
    "observation.images.front": Feature("video", (48, 64, 3)),
    "observation.images.wrist": Feature("video", (48, 64, 3)),
}
SEGMENT = Segment("id", 0, 8)
CANDIDATE = ActionCandidate("id", 0, ((0.0,), (1.0,)))


@given(
    counts=st.lists(st.integers(1, 1200), min_size=1, max_size=5),
    fps=st.floats(1, 500),
)
def test_all_clips_of_a_query_last_equally_long_and_can_be_followed(counts, fps):
    timing = Timing.of(counts, fps)
    assert timing.num_frames == max(len(shown_steps(count, timing.stride)) for count in counts)
    assert timing.fps <= MAX_FPS + 0.01
    # Never faster than it was, and long enough to be seen, unless that would be a slide show.
    assert timing.fps * timing.stride <= fps * 1.001
    if timing.stride == 1 and timing.fps > 1:
        assert timing.num_frames / timing.fps >= min(MIN_SECONDS, max(counts) / fps) * 0.99


@given(count=st.integers(1, 500), stride=st.integers(1, 20))
def test_pictures_are_left_out_evenly_but_never_the_last(count, stride):
    steps = shown_steps(count, stride)
    assert steps[0] == 0
    assert steps[-1] == count - 1
    assert (np.diff(steps)[:-1] == stride).all()
    assert (np.diff(steps)[-1:] <= stride).all()


def test_short_segments_are_slowed_and_fast_data_is_thinned():
    assert Timing.of([9, 5], 80) == Timing(fps=3.0, stride=1, num_frames=9)
    assert Timing.of([501], 80) == Timing(fps=40.0, stride=2, num_frames=251)
    assert Timing.of([301, 20], 30) == Timing(fps=30.0, stride=1, num_frames=301)


def test_the_usual_camera_is_first_and_recordings_come_before_other_views():
    found = find_cameras(SEGMENT, {**SIMULATED, **RECORDED}, ["corner", "front", "top"])
    assert list(found.items()) == [
        ("corner", ""), ("wrist", "observation.images.wrist"), ("front", ""), ("top", ""),
    ]  # fmt: skip
    assert find_cameras(SEGMENT, RECORDED, []) == {
        "front": "observation.images.front", "wrist": "observation.images.wrist",
    }  # fmt: skip
    assert find_cameras(CANDIDATE, RECORDED, []) == {}, "the future was not recorded"
    assert find_cameras(CANDIDATE, {**SIMULATED, **RECORDED}, ["top"]) == {"top": ""}


def test_a_simulator_shows_the_last_outcome_too():
    assert num_pictures(SEGMENT, SIMULATED) == 9
    assert num_pictures(SEGMENT, RECORDED) == 8
    assert num_pictures(CANDIDATE, SIMULATED) == 3


def test_recorded_pictures_are_shown_as_they_are(tmp_path):
    store = record_real(tmp_path / "data")
    item = Segment(store.ids[0], 6, 12)
    pictures = Pictures(store, width=96, height=64)
    assert pictures.cameras(item) == {"wrist": "observation.images.wrist"}
    column = "observation.images.wrist"
    (found,) = pictures.chunks(item, "wrist", column, np.array([0, 3, 6, 11]))
    expected = brightness(25)[[6, 9, 12, 17]]
    assert np.abs(found.astype(int) - expected).mean() < 3
    (beyond,) = pictures.chunks(item, "wrist", column, np.array([11, 12]))
    np.testing.assert_array_equal(beyond[0], beyond[1], "the last one is held")


def test_long_clips_come_in_parts(tmp_path):
    store = record_real(tmp_path / "data", num_steps=150)
    pictures = Pictures(store, width=96, height=64)
    item = Segment(store.ids[1], 0, 150)
    parts = list(pictures.chunks(item, "wrist", "observation.images.wrist", np.arange(150)))
    assert [len(part) for part in parts] == [64, 64, 22]
    levels = np.concatenate(parts).mean(axis=(1, 2, 3))
    assert np.abs(levels - brightness(151)[:150].mean(axis=(1, 2, 3))).max() < 2


def test_a_person_gets_files_of_equal_length(tmp_path):
    store = record_simulated(tmp_path / "data", 1, cameras=[("eye", "top")])
    maker = ClipMaker(store, tmp_path, width=96, height=64, camera="observation.images.eye")
    query = Query("q", (Segment(store.ids[0], 0, 3), Segment(store.ids[0], 5, 7)))
    short, long = maker.write(query)
    decoded = decode_video(Clip(short, 0, 8), 8 / 3)
    assert np.abs(decoded[3:].astype(int) - decoded[2]).mean() < 2
    assert decode_video(Clip(long, 0, 8), 8 / 3).shape == (8, 48, 64, 3), "as it was recorded"
    unknown = ClipMaker(store, tmp_path, width=96, height=64, camera="moon")
    with pytest.raises(ValueError) as error:
        unknown.write(query)
    for each in (maker, unknown):
        each.close()
    assert str(error.value).startswith("`camera` must be one of ['front', 'eye', ")
    assert str(error.value).endswith("], got 'moon'.")


def test_a_segment_beyond_its_episode_is_refused(tmp_path):
    store = record_simulated(tmp_path / "data", 1, num_steps=4)
    pictures = Pictures(store, width=96, height=64)
    with pytest.raises(DataError, match=r"Segment \[2, 6\) does not fit episode"):
        list(pictures.chunks(Segment(store.ids[0], 2, 4), "front", "", np.arange(3)))

import numpy as np
import pytest

from robopref.data.video import Clip, count_frames, decode_video, encode_mp4, join_videos
from robopref.errors import DataError


@pytest.fixture
def frames():
    """Pictures of one brightness each: the codec cannot mix them up unnoticed."""
    levels = np.arange(30, 230, 9, dtype=np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (len(levels), 16, 32, 3)).copy()


@pytest.mark.parametrize("fps", [10, 12.5, 30, 80, 240])
def test_every_picture_is_where_it_was(tmp_path, frames, fps):
    path = tmp_path / "a.mp4"
    path.write_bytes(encode_mp4(frames, fps))
    assert count_frames(path) == len(frames)
    whole = decode_video(Clip(path, 0, len(frames)), fps)
    assert np.abs(whole.astype(int) - frames).max() <= 4
    for start, length in ((0, 1), (5, 3), (6, 4), (len(frames) - 1, 1)):
        part = decode_video(Clip(path, start, length), fps)
        np.testing.assert_array_equal(part, whole[start : start + length])


@pytest.mark.parametrize("fps", [10, 12.5, 80])
def test_joined_pictures_are_those_of_the_parts(tmp_path, frames, fps):
    paths = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    paths[0].write_bytes(encode_mp4(frames[:9], fps))
    paths[1].write_bytes(encode_mp4(frames[::-1], fps))
    clips = [Clip(paths[0], 0, 9), Clip(paths[1], 4, 6), Clip(paths[0], 0, 9)]
    joined = tmp_path / "joined.mp4"
    joined.write_bytes(join_videos(clips, fps))
    expected = np.concatenate([decode_video(clip, fps) for clip in clips])
    np.testing.assert_array_equal(decode_video(Clip(joined, 0, 24), fps), expected)
    again = tmp_path / "again.mp4"
    again.write_bytes(join_videos([Clip(joined, 15, 9)], fps))
    np.testing.assert_array_equal(decode_video(Clip(again, 0, 9), fps), expected[15:])


def test_joining_more_than_there_is(tmp_path, frames):
    path = tmp_path / "a.mp4"
    path.write_bytes(encode_mp4(frames[:4], 10))
    with pytest.raises(DataError) as error:
        join_videos([Clip(path, 0, 6)], 10)
    assert str(error.value) == f"'{path}' has 4 of 6 frames of an episode."

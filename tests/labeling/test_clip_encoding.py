"""Clips are written by the real encoders and read back by the real decoders."""

import dataclasses
import errno
import itertools
from pathlib import Path

import av
import numpy as np
import pytest

from robopref.errors import DataError
from robopref.labeling import encoding
from robopref.labeling.encoding import CODECS, KEY_EVERY, find_codec, write_clip
from tests.labeling.clip_data import brightness

BOTH = pytest.mark.parametrize("codec", CODECS.values(), ids=list(CODECS))


def write(path, chunks, fps, codec, *, num_frames):
    write_clip(path, chunks, fps, codec, num_frames=num_frames)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [packet for packet in container.demux(stream) if packet.size]
    with av.open(str(path)) as container:
        pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    return packets, np.stack(pictures)


@BOTH
def test_the_pictures_come_back(tmp_path, codec):
    pictures = brightness(11)
    _, found = write(tmp_path / "a", [pictures[:4], pictures[4:]], 10, codec, num_frames=11)
    assert found.shape == pictures.shape
    assert np.abs(found.astype(int) - pictures).mean() < 3, "but for the codec's loss"


@BOTH
def test_every_fourth_picture_is_a_key_and_none_is_reordered(tmp_path, codec):
    packets, _ = write(tmp_path / "a", [brightness(10)], 10, codec, num_frames=10)
    keys = [number for number, packet in enumerate(packets) if packet.is_keyframe]
    assert set(range(0, 10, KEY_EVERY)) <= set(keys)
    times = [packet.pts or 0 for packet in packets]
    assert times == sorted(times)


@BOTH
def test_a_player_can_go_to_any_picture(tmp_path, codec):
    fps, pictures = 80 / 3, brightness(23)
    path = tmp_path / "a"
    write_clip(path, [pictures], fps, codec, num_frames=23)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        for number in (22, 0, 7, 8, 3, 21):
            container.seek(int((number + 0.5) / fps / float(stream.time_base or 0)), stream=stream)
            pictures_from_key = list(itertools.islice(container.decode(stream), KEY_EVERY))
            frame = next(f for f in pictures_from_key if f.time > (number - 0.5) / fps)
            level = frame.to_ndarray(format="rgb24").mean()
            assert abs(level - pictures[number].mean()) < 4


@pytest.mark.parametrize("num_frames", [1, 9, 1500])
def test_what_a_player_needs_first_is_at_the_front(tmp_path, num_frames):
    pictures = [brightness(num_frames, height=16, width=16)]
    write_clip(tmp_path / "a.mp4", pictures, 10, CODECS["h264"], num_frames=num_frames)
    data = (tmp_path / "a.mp4").read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    write_clip(tmp_path / "a.webm", pictures, 10, CODECS["vp9"], num_frames=num_frames)
    data = (tmp_path / "a.webm").read_bytes()
    cues, cluster = b"\x1c\x53\xbb\x6b", b"\x1f\x43\xb6\x75"
    # First in the list of contents, then the table itself.
    assert data[: data.index(cluster)].count(cues) == 2


@BOTH
def test_a_short_clip_holds_its_last_picture(tmp_path, codec):
    pictures = brightness(5)
    _, found = write(tmp_path / "a", [pictures], 10, codec, num_frames=9)
    assert len(found) == 9
    assert np.abs(found[4:].astype(int) - pictures[-1]).mean() < 3


@BOTH
def test_rate_size_and_format_are_what_browsers_play(tmp_path, codec):
    # Recorded pictures may have an odd size, which neither codec takes.
    write_clip(tmp_path / "a", [brightness(6, height=49, width=67)], 80 / 3, codec, num_frames=6)
    with av.open(str(tmp_path / "a")) as container:
        stream = container.streams.video[0]
        assert (stream.height, stream.width) == (48, 66)
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert float(stream.average_rate or 0) == pytest.approx(80 / 3, rel=0.02)


def test_another_codec_serves_where_the_first_is_missing(monkeypatch):
    assert find_codec().name == "h264"
    missing = dataclasses.replace(CODECS["h264"], encoder="libnothing")
    monkeypatch.setitem(encoding.CODECS, "h264", missing)
    assert (find_codec().name, find_codec().suffix, find_codec().media_type) == (
        "vp9", ".webm", "video/webm",
    )  # fmt: skip
    with pytest.raises(DataError) as error:
        find_codec("h264")
    assert str(error.value) == (
        "PyAV has no encoder libnothing here, and clips cannot be written. Install its wheel: "
        "pip install --force-reinstall av."
    )


def test_bad_requests_are_named(tmp_path):
    with pytest.raises(ValueError) as error:
        find_codec("av1")
    assert str(error.value) == "`codec` must be one of ['auto', 'h264', 'vp9'], got 'av1'."
    with pytest.raises(DataError) as empty:
        write_clip(tmp_path / "a", [], 10, CODECS["h264"], num_frames=3)
    assert str(empty.value) == "A clip needs at least one picture."


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no /dev/full.")
@BOTH
def test_a_full_disk_is_noticed(codec):
    noise = np.random.default_rng(0).integers(0, 256, (60, 96, 128, 3), np.uint8)
    with pytest.raises(OSError, match="No space left") as error:
        write_clip(Path("/dev/full"), [noise], 10, codec, num_frames=60)
    assert error.value.errno == errno.ENOSPC

"""Camera streams as H.264 in MP4: encode, decode, and copy without encoding again.

Every second picture is a key picture and none refers to a later one, so that any step is reached
quickly, and the pictures of one episode can be moved to another file packet by packet.

Shapes: N frames, H height, W width.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8

from robopref.data.schema import REMEDY
from robopref.errors import DataError

_ENCODER = {"crf": "18", "preset": "veryfast", "g": "2", "bf": "0"}
MAX_SECONDS = 500.0
"""Longest video file [s]: LeRobot compares float32 times to within 1e-4 s, which fails later on."""


class Clip(NamedTuple):
    """A run of frames in a video file.

    Args:
        path: The file.
        start: First frame.
        length: Number of frames.
    """

    path: Path
    start: int
    length: int


def encode_mp4(frames: UInt8[np.ndarray, "N H W 3"], fps: float) -> bytes:
    """Return `frames` as the content of an MP4 file."""
    import av

    sink = io.BytesIO()
    with av.open(sink, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=_rate(fps), options=_ENCODER)
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for frame in frames:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")
            container.mux(stream.encode(picture))
        container.mux(stream.encode())
    return sink.getvalue()


def decode_video(clip: Clip, fps: float) -> UInt8[np.ndarray, "N H W 3"]:
    """Return the frames of `clip`.

    Raises:
        DataError: The file is missing or damaged, or has fewer frames.
    """
    pictures = []
    with _opened(clip.path) as container:
        stream = container.streams.video[0]
        stream.thread_type = "SLICE"
        container.seek(int(clip.start / _rate(fps) / stream.time_base), stream=stream)
        for frame in container.decode(stream):
            number = round(frame.pts * stream.time_base * _rate(fps))
            if number >= clip.start:
                pictures.append(frame.to_ndarray(format="rgb24"))
            if len(pictures) == clip.length:
                return np.stack(pictures)
    raise DataError(
        f"'{clip.path}' ends after frame {clip.start + len(pictures)}; "
        f"an episode needs frames up to {clip.start + clip.length}."
    )


def join_videos(clips: Sequence[Clip], fps: float) -> bytes:
    """Return an MP4 file that holds `clips` one after the other, every picture unchanged.

    Raises:
        DataError: A file is missing or damaged, or has fewer frames than its clip says.
    """
    import av

    sink = io.BytesIO()
    count = 0
    with av.open(sink, "w", format="mp4") as container:
        target: Any = None
        for clip in clips:
            with _opened(clip.path) as source:
                if target is None:
                    target = container.add_stream_from_template(source.streams.video[0])
                    target.time_base = source.streams.video[0].time_base
                for packet in _packets(source, clip, fps):
                    ticks = count / _rate(fps) / packet.time_base
                    packet.pts = packet.dts = round(ticks)
                    packet.stream = target
                    container.mux(packet)
                    count += 1
    return sink.getvalue()


def joinable(path: Path) -> bytes:
    """Return the stream's parameters: only videos for which they are equal may be joined."""
    with _opened(path) as container:
        stream = container.streams.video[0]
        settings = f"{stream.codec_context.name} {stream.time_base} ".encode()
        return settings + (stream.codec_context.extradata or b"")


def count_frames(path: Path) -> int:
    """Return the number of frames of a video file.

    Raises:
        DataError: The file is missing or damaged.
    """
    with _opened(path) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _packets(source: Any, clip: Clip, fps: float) -> Iterator[Any]:
    stream = source.streams.video[0]
    found = 0
    source.seek(int(clip.start / _rate(fps) / stream.time_base), stream=stream)
    for packet in source.demux(stream):
        if packet.pts is None or found == clip.length:
            break
        number = round(packet.pts * packet.time_base * _rate(fps))
        if clip.start <= number < clip.start + clip.length:
            found += 1
            yield packet
    if found != clip.length:
        raise DataError(f"'{clip.path}' has {found} of {clip.length} frames of an episode.")


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import av
    from av.error import FFmpegError

    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise DataError(f"'{path}' holds no video.")
            yield container
    except FileNotFoundError as error:
        raise DataError(f"'{path}' is missing.{REMEDY}") from error
    except FFmpegError as error:
        raise DataError(f"'{path}' is not readable as video: {error.strerror}.{REMEDY}") from error


def _rate(fps: float) -> Fraction:
    return Fraction(fps).limit_denominator(1000)

"""Clips as video files that a browser plays at once and reaches any picture of.

H.264 in MP4, or VP9 in WebM where this installation of PyAV has no H.264 encoder. The tables that a
player needs stand at the front of the file, and every fourth picture is a key picture, so that
stepping and scrubbing decode four pictures at most.

Shapes: N pictures, H height, W width.
"""

import io
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import DataError, check_choice

KEY_EVERY = 4
"""Pictures from one key picture to the next."""
_TABLE_BYTES, _ENTRY_BYTES = 4096, 32
"""Room that a player's tables take at most: by themselves, and for each picture."""

_ALONE = (("threads", "1"),)
"""With more threads, x264 now and then writes a block of the same pictures otherwise."""


@dataclass(frozen=True)
class Codec:
    """How clips are written.

    Args:
        name: Short name, as in `find_codec`.
        encoder: The encoder's name in FFmpeg.
        container: The format's name in FFmpeg, which is also the file's ending.
        options: For the encoder.
        reserve: The container's option by which room is kept for its tables at the front.
    """

    name: str
    encoder: str
    container: str
    options: tuple[tuple[str, str], ...]
    reserve: str

    @property
    def suffix(self) -> str:
        """The ending of a file's name."""
        return f".{self.container}"

    @property
    def media_type(self) -> str:
        """What a server calls it."""
        return f"video/{self.container}"


CODECS = {
    "h264": Codec(
        "h264", "libx264", "mp4",
        (("crf", "20"), ("preset", "veryfast"), ("g", str(KEY_EVERY)), ("bf", "0"), *_ALONE),
        "moov_size",
    ),
    "vp9": Codec(
        "vp9", "libvpx-vp9", "webm",
        (("crf", "28"), ("b", "0"), ("g", str(KEY_EVERY)), ("deadline", "realtime"),
         ("cpu-used", "8"), *_ALONE),
        "reserve_index_space",
    ),
}  # fmt: skip


def find_codec(name: str = "auto") -> Codec:
    """Return a codec; "auto" is the first of `CODECS` that can be written here.

    Raises:
        ValueError: There is no such codec.
        DataError: PyAV has no encoder for it.
    """
    check_choice("codec", name, ["auto", *CODECS])
    wanted = list(CODECS.values()) if name == "auto" else [CODECS[name]]
    for codec in wanted:
        if _can_encode(codec):
            return codec
    raise DataError(
        f"PyAV has no encoder {' or '.join(codec.encoder for codec in wanted)} here, and clips "
        "cannot be written. Install its wheel: pip install --force-reinstall av."
    )


def play_rate(fps: float) -> Fraction:
    """Return the rate that a file can state which is nearest to `fps`."""
    return Fraction(fps).limit_denominator(1000)


def tables_first(codec: Codec, num_frames: int) -> dict[str, str]:
    """Return the container's options that put a player's tables at the front of the file."""
    return {codec.reserve: str(_TABLE_BYTES + _ENTRY_BYTES * num_frames)}


def write_clip(
    path: Path, chunks: Iterable[np.ndarray], fps: float, codec: Codec, *, num_frames: int
) -> None:
    """Write `num_frames` pictures as they come; where there are fewer the last one is held.

    The file is made in memory: FFmpeg keeps files open that it could not write.

    Args:
        path: The file.
        chunks: Pictures in arrays (N, H, W, 3), uint8, all of one size; an odd row or column at
            the end is left out, since neither codec takes it.
        fps: Pictures a second.
        codec: How.
        num_frames: Number of pictures.

    Raises:
        DataError: There is no picture.
        OSError: The file cannot be written; `errno` says why.
    """
    import av

    sink = io.BytesIO()
    layout = tables_first(codec, num_frames)
    with av.open(sink, "w", format=codec.container, options=layout) as container:
        stream: Any = None
        for picture in _held(chunks, num_frames):
            if stream is None:
                options = dict(codec.options)
                stream = container.add_stream(codec.encoder, rate=play_rate(fps), options=options)
                stream.height, stream.width = picture.shape[:2]
                stream.pix_fmt = "yuv420p"
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            container.mux(stream.encode(frame))
        if stream is None:
            raise DataError("A clip needs at least one picture.")
        container.mux(stream.encode())
    path.write_bytes(sink.getbuffer())


def _held(chunks: Iterable[np.ndarray], num_frames: int) -> Iterator[np.ndarray]:
    """Yield the pictures, cut to an even size, and the last one again as often as needed."""
    count, picture = 0, None
    for chunk in chunks:
        height, width = (size - size % 2 for size in chunk.shape[1:3])
        for whole in chunk[: num_frames - count]:
            picture = np.ascontiguousarray(whole[:height, :width])
            yield picture
            count += 1
    if picture is not None:
        yield from itertools.repeat(picture, num_frames - count)


def _can_encode(codec: Codec) -> bool:
    import av

    try:
        av.Codec(codec.encoder, "w")
    except ValueError:  # PyAV's UnknownCodecError is one
        return False
    return True

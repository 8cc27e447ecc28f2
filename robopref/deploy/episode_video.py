"""What a camera sees during an episode, as a video that shows it at its own pace.

The pictures of a data set are one a step, and a step of a slow arm takes long. This is for people:
pictures come at a steady rate, and one that is missing is the last one again. A thread that stands
back behind everything else encodes them, outside the control loop's process.
"""

import io
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from robopref.config import write_bytes_atomically
from robopref.errors import DataError
from robopref.hardware.camera import stand_back
from robopref.hardware.driver import CameraDriver
from robopref.labeling.encoding import Codec, find_codec, play_rate, tables_first

RECORDINGS = "recordings"
"""Folder of a data set with a video of each episode and camera, for people."""
ANY_AGE_MS = float("inf")
"""A frozen camera's last picture is shown; whether it is too old is not asked here."""
MAX_FPS = 30.0
"""More pictures a second make a video no clearer."""


class EpisodeVideo:
    """Records one camera while used with `with`; the video is there afterwards.

    Args:
        camera: The camera, open.
        codec: How; None for the best that can be written here.
    """

    def __init__(self, camera: CameraDriver, codec: Codec | None = None) -> None:
        self.codec = codec or find_codec()
        self._camera = camera
        self._fps = min(MAX_FPS, camera.info().fps)
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._packets = io.BytesIO()
        self._failure: Exception | None = None
        self._ended_s = 0.0
        self.num_frames = 0

    def __enter__(self) -> "EpisodeVideo":
        """Begin, and return it."""
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End."""
        self._ended_s = time.monotonic()
        self._ending.set()
        self._thread.join()

    def content(self) -> bytes:
        """Return the content of the video file, whose tables stand at the front.

        Raises:
            DataError: It could not be encoded, or nothing was seen.
        """
        import av

        if self._failure is not None or not self.num_frames:
            raise DataError(
                f"What the camera saw could not be encoded: {self._failure or 'no picture came'}."
            )
        # How much room the tables need is known only now: the packets are copied behind it.
        sink, codec = io.BytesIO(), self.codec
        options = tables_first(codec, self.num_frames)
        self._packets.seek(0)
        source: Any = av.open(self._packets)
        with source, av.open(sink, "w", format=codec.container, options=options) as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in source.demux(video=0):
                if packet.size:
                    packet.stream = stream
                    target.mux(packet)
        return sink.getvalue()

    def _run(self) -> None:
        stand_back()
        try:
            self._encode()
        except Exception as error:  # Whoever asks for the content is told.
            self._failure = error

    def _encode(self) -> None:
        import av

        codec = self.codec
        with av.open(self._packets, "w", format=codec.container) as container:
            stream: Any = None
            begun_s = time.monotonic()
            while not self._ending.is_set() or self._is_short(begun_s):
                picture = _even(self._camera.read_latest(ANY_AGE_MS).colour)
                if stream is None:
                    stream = container.add_stream(
                        codec.encoder, rate=play_rate(self._fps), options=dict(codec.options)
                    )
                    stream.height, stream.width = picture.shape[:2]
                    stream.pix_fmt = "yuv420p"
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
                self.num_frames += 1
                self._ending.wait(begun_s + self.num_frames / self._fps - time.monotonic())
            if stream is not None:
                container.mux(stream.encode())

    def _is_short(self, begun_s: float) -> bool:
        """Return whether pictures are still missing: it shall last as long as what it shows."""
        return self.num_frames < (self._ended_s - begun_s) * self._fps


def _even(picture: np.ndarray) -> np.ndarray:
    """Return a picture without an odd row or column at its end, which no codec takes."""
    height, width = (size - size % 2 for size in picture.shape[:2])
    return np.ascontiguousarray(picture[:height, :width])


@contextmanager
def recorded(env: Any) -> Iterator[Mapping[str, EpisodeVideo]]:
    """Record what the cameras of an environment see meanwhile."""
    eyes = getattr(env, "eyes", None)
    drivers = {} if eyes is None else eyes.drivers
    videos = {name: EpisodeVideo(driver) for name, driver in drivers.items()}
    with ExitStack() as stack:
        for video in videos.values():
            stack.enter_context(video)
        yield videos


def save_videos(folder: Path, episode_id: str, videos: Mapping[str, EpisodeVideo]) -> None:
    """Write what the cameras saw in an episode, as `<episode>.<camera>.mp4`."""
    for name, video in videos.items():
        path = folder / f"{episode_id}.{name}{video.codec.suffix}"
        write_bytes_atomically(path, video.content())

"""A camera that shows a recorded video: a file, or the stream of a camera in a data set.

It keeps the file's rate, so that what reads it is tried at the speed of a real camera.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import HardwareError, check_at_least
from robopref.hardware.camera import WAIT_S, Camera
from robopref.hardware.driver import CameraInfo, Frame


@dataclass(frozen=True)
class FileCameraConfig:
    """A camera that shows a video."""

    path: Path = Path()
    """Video file, such as one under `videos` of a data set; it has to be named."""
    start: int = 0
    """Number of the first picture."""
    length: int | None = None
    """Pictures that are shown; None for all that there are."""
    fps: float | None = None
    """Pictures a second [Hz]; None for the file's own rate."""
    loop: bool = True
    """Whether it begins again at the end; else nothing comes any more."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("start", self.start, 0)
        if self.length is not None:
            check_at_least("length", self.length, 1)
        if self.fps is not None:
            check_at_least("fps", self.fps, 0.1)

    def build(self) -> Camera:
        """Return the camera."""
        return Camera(FileSource(self), self.path.name, is_exact=True)

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """Return none: a file is named, not found."""
        return []


class FileSource:
    """Shows a video at a steady rate.

    Args:
        config: Which, and how.
    """

    def __init__(self, config: FileCameraConfig) -> None:
        self.config = config
        self._container: Any = None
        self._pictures: Iterator[np.ndarray] = iter(())
        self._next_s = 0.0
        self._period_s = 0.0

    def open(self) -> CameraInfo:
        """Open the file.

        Raises:
            FileNotFoundError: There is no such file.
            HardwareError: It holds no video, or fewer pictures than `start`.
        """
        import av
        from av.error import FFmpegError

        path = self.config.path
        if not path.is_file():
            raise FileNotFoundError(f"There is no video at '{path}'.")
        try:
            self._container = av.open(str(path))
        except FFmpegError as error:
            raise HardwareError(f"'{path}' is not readable as video: {error.strerror}.") from error
        if not self._container.streams.video:
            raise HardwareError(f"'{path}' holds no video.")
        stream = self._container.streams.video[0]
        fps = self.config.fps or float(stream.average_rate)
        self._period_s, self._next_s = 1 / fps, time.monotonic()
        self._pictures = self._decode()
        return CameraInfo(str(path), stream.width, stream.height, fps)

    def grab(self) -> Frame | None:
        """Wait until the next picture is due."""
        now = time.monotonic()
        if now < self._next_s:
            time.sleep(min(WAIT_S, self._next_s - now))
            return None
        picture = next(self._pictures, None)
        if picture is None:
            time.sleep(WAIT_S)
            return None
        self._next_s = max(self._next_s + self._period_s, now)
        return Frame(now, picture)

    def close(self) -> None:
        """Close the file."""
        if self._container is not None:
            self._container.close()
        self._container = None

    def _decode(self) -> Iterator[np.ndarray]:
        """Yield the pictures, again and again where that is asked for."""
        first, length = self.config.start, self.config.length
        while True:
            num = 0
            for number, frame in enumerate(self._container.decode(video=0)):
                if number >= first and (length is None or num < length):
                    num += 1
                    yield frame.to_ndarray(format="rgb24")
                elif num:
                    break
            if not num:
                raise HardwareError(
                    f"'{self.config.path}' has no picture number {first}, with which to begin."
                )
            if not self.config.loop:
                return
            self._container.seek(0)

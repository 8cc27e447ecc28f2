"""A camera that OpenCV can open: a USB camera, a network stream, a GStreamer pipeline.

Set-up on Linux: `v4l2-ctl --list-devices` lists cameras, and who reads them has to be in the group
`video`. Turn automatic exposure off where light changes: a long exposure halves the rate. OpenCV
says nothing of lenses: calibrate before points are made of pictures.
"""

import glob
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from robopref.errors import HardwareError, check_at_least
from robopref.hardware.camera import Camera
from robopref.hardware.driver import CameraInfo, Frame
from robopref.registry import import_extra

LOST = 50
"""So many reads one after the other that fail mean that the camera is gone."""


@dataclass(frozen=True)
class OpenCVCameraConfig:
    """A camera that OpenCV can open."""

    device: str = "0"
    """Number of a camera, a path such as /dev/video0, an address, a file, or a pipeline."""
    backend: str = "any"
    """any, v4l2, gstreamer, ffmpeg, dshow or avfoundation: through what OpenCV opens it."""
    width: int | None = None
    """Pixels a row; None for the camera's own."""
    height: int | None = None
    """Rows; None for the camera's own."""
    fps: float | None = None
    """Pictures a second [Hz]; None for the camera's own."""
    fourcc: str = ""
    """Format on the wire; MJPG lets most USB cameras send large pictures at full rate."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("width", "height"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1)
        if self.fps is not None:
            check_at_least("fps", self.fps, 0.1)
        if len(self.fourcc) not in (0, 4):
            raise ValueError(f"`fourcc` must have four letters, such as MJPG, got '{self.fourcc}'.")

    def build(self) -> Camera:
        """Return the camera."""
        return Camera(OpenCVSource(self), self.device)

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """Return the cameras that the system lists."""
        found = []
        for path in sorted(glob.glob("/sys/class/video4linux/video*")):
            name = (Path(path) / "name").read_text().strip()
            found.append({"id": f"/dev/{Path(path).name}", "name": name})
        return found


class OpenCVSource:
    """Reads one camera.

    Args:
        config: Which, and how.
    """

    def __init__(self, config: OpenCVCameraConfig) -> None:
        self.config = config
        self._capture: Any = None
        self._num_lost = 0

    def open(self) -> CameraInfo:
        """Open the camera and set what was asked for.

        Raises:
            HardwareError: It cannot be opened, or has no such size or rate.
        """
        cv2 = import_extra("cv2", purpose="The OpenCV camera", extra="camera")
        config = self.config
        device: Any = int(config.device) if config.device.isdecimal() else config.device
        backend = getattr(cv2, f"CAP_{config.backend.upper()}", None)
        if backend is None:
            raise HardwareError(f"OpenCV knows no `backend` '{config.backend}'.")
        capture = cv2.VideoCapture(device, backend)
        if not capture.isOpened():
            raise HardwareError(
                f"OpenCV cannot open '{config.device}'. 'robopref camera list' shows what is "
                "attached; is it used by another program, and may you read it (group video)?"
            )
        self._capture, self._cv2 = capture, cv2
        # One picture is kept, so that the newest is not behind older ones.
        capture.set(cv2.CAP_PROP_BUFFERSIZE, 1)
        if config.fourcc:
            capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*config.fourcc))
        return self._configure()

    def grab(self) -> Frame | None:
        """Wait for the next picture."""
        is_there, picture = self._capture.read()
        if not is_there:
            self._num_lost += 1
            if self._num_lost > LOST:
                raise HardwareError("it gives no pictures any more; is it unplugged?")
            time.sleep(0.01)
            return None
        self._num_lost = 0
        return Frame(time.monotonic(), self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2RGB))

    def close(self) -> None:
        """Close the camera."""
        if self._capture is not None:
            self._capture.release()
        self._capture = None

    def _configure(self) -> CameraInfo:
        """Set size and rate, and return what the camera made of it."""
        cv2, capture, config = self._cv2, self._capture, self.config
        asked = {
            "width": (cv2.CAP_PROP_FRAME_WIDTH, config.width),
            "height": (cv2.CAP_PROP_FRAME_HEIGHT, config.height),
            "fps": (cv2.CAP_PROP_FPS, config.fps),
        }
        for code, value in asked.values():
            if value is not None:
                capture.set(code, value)
        got = {name: capture.get(code) for name, (code, _) in asked.items()}
        for name, (_, value) in asked.items():
            # Some cameras do not tell their rate.
            if value is not None and got[name] > 0 and abs(got[name] - value) > 0.05 * value:
                raise HardwareError(
                    f"it cannot have `{name}` {value:g}, it keeps {got[name]:g}. "
                    "'v4l2-ctl --list-formats-ext' shows what it can."
                )
        return CameraInfo(
            config.device, int(got["width"]), int(got["height"]), got["fps"] or config.fps or 30.0
        )

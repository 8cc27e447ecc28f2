"""Intel RealSense cameras, by pyrealsense2: colour, and depth in the colour camera's view.

Set-up on Linux: the wheel brings the library; it needs `libusb-1.0-0` and the udev rules of
librealsense (`99-realsense-libusb.rules`), and a USB 3 port: on USB 2 the rates are low and frames
do not arrive. A recording of the vendor's tools (.db3) is played where `recording` names one.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import HardwareError, check_at_least
from robopref.hardware.camera import WAIT_S, Camera
from robopref.hardware.driver import CameraInfo, Frame, Intrinsics
from robopref.registry import import_extra


@dataclass(frozen=True)
class RealSenseCameraConfig:
    """An Intel RealSense camera."""

    serial: str = ""
    """Its serial number; empty takes the first one that is attached."""
    width: int = 640
    """Pixels a row."""
    height: int = 480
    """Rows."""
    fps: int = 30
    """Pictures a second [Hz]."""
    depth: bool = True
    """Whether distances are measured."""
    recording: Path | None = None
    """Recording that is played instead of a camera."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("width", "height", "fps"):
            check_at_least(name, getattr(self, name), 1)

    def build(self) -> Camera:
        """Return the camera."""
        return Camera(RealSenseSource(self), self.serial or "realsense")

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """Return the cameras that are attached."""
        rs = _sdk()
        return [
            {
                "id": device.get_info(rs.camera_info.serial_number),
                "name": device.get_info(rs.camera_info.name),
                "usb": device.get_info(rs.camera_info.usb_type_descriptor),
            }
            for device in rs.context().query_devices()
        ]


class RealSenseSource:
    """Reads one camera.

    Args:
        config: Which, and how.
    """

    def __init__(self, config: RealSenseCameraConfig) -> None:
        self.config = config
        self._pipeline: Any = None
        self._align: Any = None
        self._scale_m = 0.0
        self._number = -1

    def open(self) -> CameraInfo:
        """Start the streams.

        Raises:
            HardwareError: There is no such camera, or it has no such streams.
        """
        rs = _sdk()
        wanted, pipeline = self._streams(rs), rs.pipeline()
        try:
            profile = pipeline.start(wanted)
        except RuntimeError as error:
            raise HardwareError(
                f"the streams cannot be started: {error}. 'robopref camera list' shows what is "
                "attached; 'rs-enumerate-devices' shows sizes and rates."
            ) from error
        self._pipeline = pipeline
        device = profile.get_device()
        if self.config.depth:
            self._scale_m = device.first_depth_sensor().get_depth_scale()
            self._align = rs.align(rs.stream.color)
        colour = profile.get_stream(rs.stream.color).as_video_stream_profile()
        return CameraInfo(
            device.get_info(rs.camera_info.serial_number), colour.width(), colour.height(),
            colour.fps(), _intrinsics(colour.get_intrinsics()), self.config.depth,
        )  # fmt: skip

    def grab(self) -> Frame | None:
        """Wait for the next picture."""
        is_there, frames = self._pipeline.try_wait_for_frames(int(1e3 * WAIT_S))
        if not is_there:
            return None
        if self._align is not None:
            frames = self._align.process(frames)
        colour, depth = frames.get_color_frame(), frames.get_depth_frame()
        # A hub that hangs hands out the same frame again.
        if not colour or colour.get_frame_number() == self._number:
            return None
        self._number = colour.get_frame_number()
        now, picture = time.monotonic(), np.asanyarray(colour.get_data()).copy()
        if self._align is None:
            return Frame(now, picture)
        if not depth:
            return None
        measured = np.asanyarray(depth.get_data()).astype(np.float32)
        return Frame(now, picture, measured * np.float32(self._scale_m))

    def close(self) -> None:
        """Stop the streams."""
        if self._pipeline is not None:
            self._pipeline.stop()
        self._pipeline = None

    def _streams(self, rs: Any) -> Any:
        config, wanted = self.config, rs.config()
        if config.recording is not None:
            if not config.recording.is_file():
                raise FileNotFoundError(f"There is no recording at '{config.recording}'.")
            wanted.enable_device_from_file(str(config.recording), True)
            return wanted
        # The SDK would wait long for one that is not there.
        serials = [each["id"] for each in RealSenseCameraConfig.find_cameras()]
        if not serials or config.serial not in ("", *serials):
            raise HardwareError(
                f"no RealSense camera {config.serial or 'is attached'}; there are {serials}. Check "
                "cable and udev rules."
            )
        wanted.enable_device(config.serial or serials[0])
        size = (config.width, config.height)
        wanted.enable_stream(rs.stream.color, *size, rs.format.rgb8, config.fps)
        if config.depth:
            wanted.enable_stream(rs.stream.depth, *size, rs.format.z16, config.fps)
        return wanted


def _intrinsics(found: Any) -> Intrinsics:
    return Intrinsics(
        found.width, found.height, (found.fx, found.fy), (found.ppx, found.ppy),
        tuple(found.coeffs) if any(found.coeffs) else (),
    )  # fmt: skip


def _sdk() -> Any:
    try:
        return import_extra("pyrealsense2", purpose="The RealSense camera", extra="realsense")
    except ImportError as error:
        if "libusb" not in str(error):
            raise
        raise HardwareError(
            "pyrealsense2 needs a system library. Install it: apt-get install libusb-1.0-0"
        ) from error

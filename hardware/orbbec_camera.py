"""Orbbec cameras (Gemini, Femto, Astra 2), by pyorbbecsdk: colour, and depth in the same view.

Set-up on Linux: `pip install pyorbbecsdk2`, the udev rules of the SDK (`99-obsensor-libusb.rules`),
and a USB 3 port. A recording of the vendor's viewer (.bag) is played where `recording` names one.
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
class OrbbecCameraConfig:
    """An Orbbec camera."""

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
        return Camera(OrbbecSource(self), self.serial or "orbbec")

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """Return the cameras that are attached."""
        ob = _sdk()
        devices = ob.Context().query_devices()
        return [
            {
                "id": devices.get_device_serial_number_by_index(number),
                "name": devices.get_device_name_by_index(number),
                "usb": devices.get_device_connection_type_by_index(number),
            }
            for number in range(devices.get_count())
        ]


class OrbbecSource:
    """Reads one camera.

    Args:
        config: Which, and how.
    """

    def __init__(self, config: OrbbecCameraConfig) -> None:
        self.config = config
        self._pipeline: Any = None
        self._align: Any = None
        self._converters: dict[Any, Any] = {}
        self._ob: Any = None

    def open(self) -> CameraInfo:
        """Start the streams.

        Raises:
            HardwareError: There is no such camera, or it has no such streams.
        """
        ob = self._ob = _sdk()
        config = self.config
        device = self._device()
        pipeline, wanted = ob.Pipeline(device), ob.Config()
        try:
            colour = self._profile(pipeline, ob.OBSensorType.COLOR_SENSOR)
            wanted.enable_stream(colour)
            if config.depth:
                wanted.enable_stream(self._profile(pipeline, ob.OBSensorType.DEPTH_SENSOR))
                # A picture and its depth are of one moment, and in one view.
                wanted.set_frame_aggregate_output_mode(
                    ob.OBFrameAggregateOutputMode.FULL_FRAME_REQUIRE
                )
                pipeline.enable_frame_sync()
                self._align = ob.AlignFilter(align_to_stream=ob.OBStreamType.COLOR_STREAM)
            pipeline.start(wanted)
        except ob.OBError as error:
            raise HardwareError(f"the streams cannot be started: {error}") from error
        self._pipeline = pipeline
        return CameraInfo(
            device.get_device_info().get_serial_number(), colour.get_width(), colour.get_height(),
            colour.get_fps(), _intrinsics(colour), config.depth,
        )  # fmt: skip

    def grab(self) -> Frame | None:
        """Wait for the next picture."""
        frames = self._pipeline.wait_for_frames(int(1e3 * WAIT_S))
        if frames is None:
            return None
        if self._align is not None:
            aligned = self._align.process(frames)
            if aligned is None:
                return None
            frames = aligned.as_frame_set()
        return self._frame_of(frames)

    def close(self) -> None:
        """Stop the streams."""
        if self._pipeline is not None:
            self._pipeline.stop()
        self._pipeline = None

    def _frame_of(self, frames: Any) -> Frame | None:
        """Return what a set of frames of one view shows; None where a part is missing."""
        colour, depth = frames.get_color_frame(), frames.get_depth_frame()
        if colour is None or (depth is None and self.config.depth):
            return None
        now, picture = time.monotonic(), self._rgb(colour)
        if not self.config.depth:
            return Frame(now, picture)
        measured = np.frombuffer(depth.get_data(), np.uint16).astype(np.float32)
        scale_m = np.float32(1e-3 * depth.get_depth_scale())
        return Frame(now, picture, scale_m * measured.reshape(depth.get_height(), -1))

    def _device(self) -> Any:
        ob, config = self._ob, self.config
        if config.recording is not None:
            if not config.recording.is_file():
                raise FileNotFoundError(f"There is no recording at '{config.recording}'.")
            return ob.PlaybackDevice(str(config.recording))
        devices = ob.Context().query_devices()
        serials = [
            devices.get_device_serial_number_by_index(number)
            for number in range(devices.get_count())
        ]
        if not serials or config.serial not in ("", *serials):
            raise HardwareError(
                f"no Orbbec camera {config.serial or 'is attached'}; there are {serials}. Check "
                "cable and udev rules."
            )
        return devices.get_device_by_serial_number(config.serial or serials[0])

    def _profile(self, pipeline: Any, sensor: Any) -> Any:
        """Return the stream of the asked size and rate; a recording has its own."""
        ob, config = self._ob, self.config
        profiles = pipeline.get_stream_profile_list(sensor)
        if config.recording is not None:
            return profiles.get_default_video_stream_profile()
        return profiles.get_video_stream_profile(
            config.width, config.height, ob.OBFormat.UNKNOWN_FORMAT, config.fps
        )

    def _rgb(self, frame: Any) -> np.ndarray:
        """Return a picture in RGB, whatever comes over the wire."""
        ob, kind = self._ob, frame.get_format()
        if kind != ob.OBFormat.RGB:
            if kind not in self._converters:
                self._converters[kind] = self._converter(kind)
            frame = self._converters[kind].process(frame)
        shape = (frame.get_height(), -1, 3)
        return np.frombuffer(frame.get_data(), np.uint8).reshape(shape).copy()

    def _converter(self, kind: Any) -> Any:
        ob = self._ob
        ways = {
            ob.OBFormat.MJPG: ob.OBConvertFormat.MJPG_TO_RGB888,
            ob.OBFormat.YUYV: ob.OBConvertFormat.YUYV_TO_RGB888,
            ob.OBFormat.UYVY: ob.OBConvertFormat.UYVY_TO_RGB888,
            ob.OBFormat.NV12: ob.OBConvertFormat.NV12_TO_RGB888,
            ob.OBFormat.NV21: ob.OBConvertFormat.NV21_TO_RGB888,
            ob.OBFormat.I420: ob.OBConvertFormat.I420_TO_RGB888,
            ob.OBFormat.BGR: ob.OBConvertFormat.BGR_TO_RGB,
        }
        if kind not in ways:
            raise HardwareError(f"pictures come as {kind}, which is not known.")
        converter = ob.FormatConvertFilter()
        converter.set_format_convert_format(ways[kind])
        return converter


def _intrinsics(profile: Any) -> Intrinsics:
    lens, bent = profile.get_intrinsic(), profile.get_distortion()
    values = (bent.k1, bent.k2, bent.p1, bent.p2, bent.k3, bent.k4, bent.k5, bent.k6)
    return Intrinsics(
        lens.width, lens.height, (lens.fx, lens.fy), (lens.cx, lens.cy),
        values if any(values) else (),
    )  # fmt: skip


def _sdk() -> Any:
    ob = import_extra("pyorbbecsdk", purpose="The Orbbec camera", extra="orbbec")
    # Else it leaves a folder of logs wherever one happens to stand.
    ob.Context.set_logger_to_file(ob.OBLogLevel.NONE, "")
    return ob

"""The RealSense driver, on a recording that the SDK makes of a device in memory."""

import time

import numpy as np
import pytest

pytest.importorskip("pyrealsense2", reason="the extra 'realsense' is not installed")

import pyrealsense2 as rs

from robopref.errors import HardwareError
from robopref.hardware.realsense_camera import RealSenseCameraConfig

WIDTH, HEIGHT, NUM = 64, 48, 12


def video_stream(kind, uid, form, num_bytes):
    stream, lens = rs.video_stream(), rs.intrinsics()
    stream.type, stream.index, stream.uid, stream.fmt, stream.bpp = kind, 0, uid, form, num_bytes
    stream.width, stream.height, stream.fps = WIDTH, HEIGHT, 30
    lens.width, lens.height, lens.ppx, lens.ppy, lens.fx, lens.fy = (
        WIDTH,
        HEIGHT,
        31.5,
        23.5,
        60,
        61,
    )
    lens.model, lens.coeffs = rs.distortion.none, [0, 0, 0, 0, 0]
    stream.intrinsics = lens
    return stream


def show(sensor, profile, number, pixels):
    frame = rs.software_video_frame()
    frame.pixels, frame.bpp = pixels, pixels.itemsize * (pixels.shape[2] if pixels.ndim > 2 else 1)
    frame.stride, frame.depth_units = WIDTH * frame.bpp, 0.001
    frame.timestamp, frame.domain = 1000 + 33.3 * number, rs.timestamp_domain.hardware_clock
    frame.frame_number, frame.profile = number + 1, profile.as_video_stream_profile()
    sensor.on_video_frame(frame)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("realsense") / "seen.db3"
    device = rs.software_device()
    device.register_info(rs.camera_info.serial_number, "4711")
    depth, colour = device.add_sensor("Depth"), device.add_sensor("RGB")
    streams = (
        depth.add_video_stream(video_stream(rs.stream.depth, 1, rs.format.z16, 2)),
        colour.add_video_stream(video_stream(rs.stream.color, 2, rs.format.rgb8, 3)),
    )
    depth.add_read_only_option(rs.option.depth_units, 0.001)
    same = rs.extrinsics()
    same.rotation, same.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
    streams[0].register_extrinsics_to(streams[1], same)
    device.create_matcher(rs.matchers.default)
    recorder, queue = rs.recorder(str(path), device), rs.frame_queue(50)
    sensors = recorder.query_sensors()
    for sensor in sensors:
        sensor.open(sensor.get_stream_profiles()[0])
        sensor.start(queue)
    for k in range(NUM):
        show(depth, streams[0], k, np.full((HEIGHT, WIDTH), 1000 + k, np.uint16))
        show(colour, streams[1], k, np.full((HEIGHT, WIDTH, 3), 10 * k, np.uint8))
        time.sleep(0.01)
    time.sleep(0.2)
    for sensor in sensors:
        sensor.stop()
        sensor.close()
    del recorder
    return path


def test_colour_and_depth_of_a_recording_are_shown(recording):
    with RealSenseCameraConfig(recording=recording).build() as camera:
        info, frames = camera.info(), [camera.read() for _ in range(4)]
    assert (info.serial, info.width, info.height, info.has_depth) == ("4711", WIDTH, HEIGHT, True)
    assert info.intrinsics is not None
    assert info.intrinsics.focal_px == (60, 61)
    for frame in frames:
        assert frame.depth_m is not None
        assert frame.depth_m.shape == frame.colour.shape[:2] == (HEIGHT, WIDTH)
        number = int(frame.colour[0, 0, 0]) // 10
        # Of one moment, to a frame.
        assert abs(float(frame.depth_m[0, 0]) - (1 + 0.001 * number)) < 0.0011
    assert len({int(frame.colour[0, 0, 0]) for frame in frames}) == 4


def test_what_is_not_attached_is_refused():
    with pytest.raises(HardwareError, match="no RealSense camera 0; there are"):
        RealSenseCameraConfig(serial="0").build().connect()
    assert RealSenseCameraConfig.find_cameras() == []

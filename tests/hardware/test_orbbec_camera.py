"""What the Orbbec driver makes of the SDK's own frames; streams need a camera."""

import numpy as np
import pytest

pytest.importorskip("pyorbbecsdk", reason="the extra 'orbbec' is not installed")

from robopref.errors import HardwareError
from robopref.hardware.orbbec_camera import OrbbecCameraConfig, OrbbecSource, _sdk

ob = _sdk()

WIDTH, HEIGHT = 64, 48


def frame_of(kind, form, pixels):
    frame = ob.Frame.create_video_frame(kind, form, WIDTH, HEIGHT)
    frame.update_data(pixels.reshape(-1).view(np.uint8))
    return frame


def set_of(*frames):
    found = ob.FrameSet.create_frame_set()
    for frame in frames:
        found.push_frame(frame)
    return found


def make_source(*, depth):
    source = OrbbecSource(OrbbecCameraConfig(depth=depth))
    source._ob = ob
    return source


def test_pictures_come_in_rgb_whatever_is_sent():
    source = make_source(depth=False)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:] = (200, 30, 60)
    yuyv = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    yuyv[..., 0], yuyv[:, ::2, 1], yuyv[:, 1::2, 1] = 120, 90, 200
    for form, pixels in (
        (ob.OBFormat.RGB, rgb), (ob.OBFormat.BGR, rgb[..., ::-1].copy()), (ob.OBFormat.YUYV, yuyv)
    ):  # fmt: skip
        frame = source._frame_of(set_of(frame_of(ob.OBFrameType.COLOR_FRAME, form, pixels)))
        assert frame is not None
        assert frame.colour.shape == (HEIGHT, WIDTH, 3)
        red, green, blue = frame.colour[10, 10].astype(int)
        assert red > 1.5 * max(green, blue)
        if form != ob.OBFormat.YUYV:
            np.testing.assert_array_equal(frame.colour, rgb)


def test_depth_is_in_metres_and_missing_parts_are_no_picture():
    source = make_source(depth=True)
    rgb = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    millimetres = np.full((HEIGHT, WIDTH), 1250, np.uint16)
    millimetres[0, 0] = 0
    colour = frame_of(ob.OBFrameType.COLOR_FRAME, ob.OBFormat.RGB, rgb)
    depth = frame_of(ob.OBFrameType.DEPTH_FRAME, ob.OBFormat.Y16, millimetres).as_depth_frame()
    depth.set_value_scale(0.5)
    assert source._frame_of(set_of(colour)) is None
    frame = source._frame_of(set_of(colour, depth))
    assert frame is not None
    assert frame.depth_m is not None
    assert frame.depth_m.shape == (HEIGHT, WIDTH)
    assert frame.depth_m[0, 0] == 0.0
    assert frame.depth_m[5, 5] == pytest.approx(0.625)


def test_what_is_not_attached_is_refused():
    with pytest.raises(HardwareError, match="no Orbbec camera is attached"):
        OrbbecCameraConfig().build().connect()
    assert OrbbecCameraConfig.find_cameras() == []

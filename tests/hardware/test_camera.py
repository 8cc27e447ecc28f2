import threading
import time

import numpy as np
import pytest

from robopref.config import from_dict, to_dict
from robopref.data.video import Clip, decode_video, encode_mp4
from robopref.errors import HardwareError, MissingExtraError, NotConnected
from robopref.hardware import CAMERAS
from robopref.hardware.camera import Camera
from robopref.hardware.driver import CameraDriver, CameraInfo, Frame
from robopref.hardware.file_camera import FileCameraConfig
from robopref.hardware.opencv_camera import OpenCVCameraConfig


class Source:
    """Shows what a test puts into it."""

    def __init__(self):
        self.waiting = []
        self.fails = None
        self.threads = set()
        self.is_closed = False

    def open(self):
        self.threads.add(threading.get_ident())
        return CameraInfo("7", 4, 2, 30.0)

    def grab(self):
        self.threads.add(threading.get_ident())
        if self.fails:
            raise self.fails
        if not self.waiting:
            time.sleep(0.001)
            return None
        return self.waiting.pop(0)

    def close(self):
        self.threads.add(threading.get_ident())
        self.is_closed = True


def picture(level, time_s=None):
    colour = np.full((2, 4, 3), level, np.uint8)
    return Frame(time.monotonic() if time_s is None else time_s, colour)


@pytest.fixture
def source():
    return Source()


@pytest.fixture
def camera(source):
    source.waiting.append(picture(1))
    with Camera(source, "top") as camera:
        yield camera


def show(source, *frames):
    source.waiting.extend(frames)
    while source.waiting:
        time.sleep(0.001)


def test_each_picture_is_returned_once_and_the_newest_as_often_as_asked(source, camera):
    assert isinstance(camera, CameraDriver)
    assert camera.async_read().colour[0, 0, 0] == 1
    with pytest.raises(TimeoutError, match=r"Camera 'top' shows nothing new within 0\.02 s"):
        camera.async_read(timeout_ms=20)
    show(source, picture(2), picture(3))
    assert camera.read_latest().colour[0, 0, 0] == 3
    assert camera.read_latest().colour[0, 0, 0] == 3
    assert camera.async_read().colour[0, 0, 0] == 3


def test_read_waits_for_a_picture_that_comes_after_the_call(source, camera):
    threading.Timer(0.05, lambda: source.waiting.append(picture(9))).start()
    assert camera.read().colour[0, 0, 0] == 9


def test_the_device_is_used_by_one_thread_and_closed(source, camera):
    camera.disconnect()
    camera.disconnect()
    assert source.is_closed
    assert len(source.threads) == 1
    assert threading.get_ident() not in source.threads
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        camera.read_latest()


def test_one_picture_again_and_again_is_a_frozen_camera(source, camera):
    show(source, picture(4))
    for _ in range(12):
        show(source, picture(4))
        time.sleep(0.01)
    with pytest.raises(TimeoutError) as error:
        camera.read_latest(max_age_ms=100)
    assert "It is frozen: the last 12 pictures are one and the same." in str(error.value)
    show(source, picture(5))
    assert camera.read_latest().colour[0, 0, 0] == 5


def test_a_picture_that_arrives_late_is_old(source, camera):
    show(source, picture(4, time.monotonic() - 0.3))
    with pytest.raises(TimeoutError, match=r"is [3-9]\d\d ms old, more than 200 ms"):
        camera.read_latest(max_age_ms=200)


def test_what_a_device_raises_is_told_to_whoever_reads(source, camera):
    source.fails = RuntimeError("usb gone")
    time.sleep(0.05)
    for read in (camera.read_latest, camera.async_read, camera.read):
        with pytest.raises(HardwareError, match="Camera 'top': usb gone"):
            read()


def test_a_camera_that_shows_nothing_is_refused_and_closed(source, monkeypatch):
    monkeypatch.setattr("robopref.hardware.camera.WARMUP_S", 0.05)
    camera = Camera(source, "top")
    with pytest.raises(HardwareError, match=r"is open and shows nothing within 0\.05 s"):
        camera.connect()
    assert source.is_closed
    assert not camera.is_connected


@pytest.mark.parametrize("name", CAMERAS.names())
def test_a_config_is_kept(name):
    config_class = CAMERAS.config_class(name)
    config = config_class()
    assert from_dict(config_class, to_dict(config)) == config
    assert isinstance(config.build(), CameraDriver)


@pytest.mark.parametrize("name", CAMERAS.names())
def test_what_is_attached_is_listed(name):
    try:
        found = CAMERAS.config_class(name).find_cameras()
    except MissingExtraError as error:
        pytest.skip(str(error))
    assert all({"id", "name"} <= set(each) for each in found)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """A file of twelve pictures at 50 a second, each brighter than the last."""
    pictures = np.repeat(np.arange(40, 160, 10, dtype=np.uint8), 32 * 48 * 3)
    path = tmp_path_factory.mktemp("video") / "grey.mp4"
    path.write_bytes(encode_mp4(pictures.reshape(12, 32, 48, 3), 50.0))
    return path


def levels(camera, num):
    return [round(float(camera.async_read(1000).colour.mean())) for _ in range(num)]


def test_a_file_is_shown_at_its_rate_again_and_again(video):
    with FileCameraConfig(video, start=3, length=4).build() as camera:
        info = camera.info()
        assert (info.width, info.height, info.fps) == (48, 32, 50.0)
        begun = time.monotonic()
        seen = levels(camera, 9)
        took = time.monotonic() - begun
    recorded = decode_video(Clip(video, 3, 4), 50.0).mean(axis=(1, 2, 3)).round()
    assert set(seen) <= {int(level) for level in recorded}
    assert 7 / 50 < took < 5.0


def test_a_file_that_is_over_goes_silent(video):
    with FileCameraConfig(video, start=10, loop=False).build() as camera:
        time.sleep(0.2)
        with pytest.raises(TimeoutError, match="more than 100 ms"):
            camera.read_latest(100)


def test_what_is_no_video_is_refused(tmp_path, video):
    (tmp_path / "a.mp4").write_text("no video")
    for path, start, wanted in (
        (tmp_path / "b.mp4", 0, "There is no video at"),
        (tmp_path / "a.mp4", 0, "is not readable as video"),
        (video, 99, "has no picture number 99"),
    ):
        with pytest.raises(HardwareError, match=wanted):
            FileCameraConfig(path, start).build().connect()


def test_opencv_reads_what_it_can_open(video):
    pytest.importorskip("cv2", reason="the extra 'camera' is not installed")
    with OpenCVCameraConfig(str(video)).build() as camera:
        info = camera.info()
        assert (info.width, info.height, info.fps) == (48, 32, 50.0)
        first = camera.read_latest(1000).colour
        assert first.shape == (32, 48, 3)
    with pytest.raises(HardwareError, match="OpenCV cannot open '/dev/video99'"):
        OpenCVCameraConfig("/dev/video99").build().connect()
    with pytest.raises(HardwareError, match="it cannot have `width` 640, it keeps 48"):
        OpenCVCameraConfig(str(video), width=640).build().connect()
    with pytest.raises(ValueError, match="must have four letters"):
        OpenCVCameraConfig(fourcc="MJ")


def test_opencv_says_that_a_camera_is_gone(video):
    pytest.importorskip("cv2", reason="the extra 'camera' is not installed")
    with OpenCVCameraConfig(str(video)).build() as camera:
        time.sleep(1.0)
        with pytest.raises(HardwareError, match="is it unplugged"):
            camera.read_latest()

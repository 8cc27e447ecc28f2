"""A camera in the scene of a simulated arm, and what goes wrong with it."""

import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.config import to_dict
from robopref.errors import HardwareError
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess
from robopref.hardware.synthetic_camera import CameraFaults, SyntheticCameraConfig, view_pose
from robopref.render import FreeCamera

SIZE: dict[str, Any] = {"width": 96, "height": 72}


@pytest.fixture(scope="module")
def controller():
    with SimProcess(to_dict(SimArmConfig())) as process:
        yield process


def make(controller, **options):
    address = "{}:{}".format(*controller.address)
    return SyntheticCameraConfig(address=address, **SIZE, **options).build()


def test_it_shows_the_arm_where_the_controller_has_it(controller):
    link = SimLink(controller.address)
    with make(controller, fps=50.0, noise=False) as camera:
        before = camera.read()
        assert np.array_equal(before.colour, camera.read().colour)
        qpos = link.ask("scene")["qpos"]
        link.ask("reset", qpos=[qpos[0] + 0.8, *qpos[1:]])
        told_s = time.monotonic()
        after = camera.read()
        while after.time_s < told_s:
            after = camera.read()
    link.ask("reset", qpos=qpos)
    link.close()
    changed = np.abs(after.colour.astype(int) - before.colour).sum(axis=2) > 60
    assert 0.01 < changed.mean() < 0.5


def test_distances_are_those_of_the_scene():
    """Seen from straight above, the floor is as far away as the camera is high."""
    view = FreeCamera((0.9, 0.9, 0.0), 1.25, 90.0, -90.0)
    config = SyntheticCameraConfig(view=view, depth=True, **SIZE)
    with config.build() as camera:
        frame = camera.read_latest()
        lens = camera.info().intrinsics
    assert frame.depth_m is not None
    assert lens is not None
    np.testing.assert_allclose(frame.depth_m[36, 48], 1.25, atol=1e-3)
    assert lens.focal_px[0] == pytest.approx(36 / np.tan(np.radians(22.5)), rel=1e-6)
    np.testing.assert_allclose(view_pose(view)[:3, 3], (0.9, 0.9, 1.25), atol=1e-12)
    np.testing.assert_allclose(view_pose(view)[:3, 2], (0, 0, -1), atol=1e-12)


def test_noise_tells_a_camera_that_is_alive(controller):
    with make(controller) as camera:
        one, two = camera.read().colour, camera.read().colour
        assert np.abs(one.astype(int) - two).max() == 1
        assert camera.read_latest().colour.shape == (72, 96, 3)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (CameraFaults(frozen_after_s=0.2), "It is frozen: the last"),
        (CameraFaults(silent_after_s=0.2), "more than 150 ms"),
        (CameraFaults(late_s=0.4), "ms old, more than 150 ms"),
    ],
)
def test_a_fault_makes_pictures_old(controller, fault, message):
    with make(controller, fps=30.0, faults=fault) as camera:
        time.sleep(0.5)
        with pytest.raises(TimeoutError, match=message):
            camera.read_latest(max_age_ms=150)


def test_lost_pictures_leave_gaps(controller):
    with make(controller, fps=60.0, faults=CameraFaults(lost_share=0.7)) as camera:
        times = np.array([camera.read().time_s for _ in range(8)])
    assert np.diff(times).max() > 1.9 / 60


def test_a_controller_that_is_gone_and_a_viewpoint_that_is_none_are_named():
    with pytest.raises(HardwareError, match=r"must be one of \['eye_in_hand', 'free', 'front'"):
        SyntheticCameraConfig(viewpoint="frnt").build().connect()
    process = SimProcess(to_dict(SimArmConfig()))
    camera = make(process)
    camera.connect()
    process.close()
    time.sleep(1.3)
    with camera, pytest.raises(HardwareError, match="No controller answers"):
        camera.read_latest()

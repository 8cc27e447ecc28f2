"""The SpaceMouse, with reports as its models send them, through a pipe."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.errors import HardwareError
from robopref.hardware.spacemouse import SILENT_S, SpaceMouse, SpaceMouseConfig
from robopref.hardware.teleop import Word
from tests.hardware.event_files import Pipe, wait_for

# A SpaceNavigator: nothing pushed, turned by -30 about one axis, first button down and up.
REST = bytes.fromhex("01000000000000")
TURNED = bytes.fromhex("020000e2ff0000")
LEFT, RIGHT, NONE = bytes.fromhex("030100"), bytes.fromhex("030200"), bytes.fromhex("030000")


def pushed(*axes, more=b""):
    return b"\x01" + np.array(axes, "<i2").tobytes() + more


@pytest.fixture
def pipe(tmp_path):
    return Pipe(tmp_path, "hidraw3")


@pytest.fixture
def mouse(pipe):
    mouse = SpaceMouseConfig(str(pipe.path)).build()
    mouse.connect()
    yield mouse
    mouse.disconnect()


def test_right_away_and_up_are_the_axes_of_the_base(mouse, pipe):
    pipe.write(pushed(350, 0, 0))
    wait_for(lambda: mouse.action()[0] == 1)
    # Pushed away from the person and up, y and z are negative.
    pipe.write(pushed(0, -350, -350))
    wait_for(lambda: mouse.action()[2] == 1)
    assert mouse.action().tolist() == [0, 1, 1, 0]
    # Models without a cable send the rotation in the same report.
    pipe.write(pushed(0, 0, 350, more=bytes(6)), TURNED)
    wait_for(lambda: mouse.action()[2] == -1)
    assert mouse.action().tolist() == [0, 0, -1, 0]
    pipe.write(REST)
    wait_for(lambda: not mouse.action().any())


def test_a_cap_that_is_silent_was_let_go(mouse, pipe):
    """A link without a cable may be lost while it is pushed."""
    pipe.write(pushed(350, 0, 0))
    wait_for(lambda: mouse.action()[0] == 1)
    time.sleep(SILENT_S + 0.02)
    assert not mouse.action().any()


def test_buttons_work_the_gripper(mouse, pipe):
    mouse.begin(0.5, 0.01)
    pipe.write(RIGHT, NONE)
    wait_for(lambda: mouse.action()[3] == 1)
    pipe.write(LEFT)
    wait_for(lambda: mouse.action()[3] == -1)
    pipe.write(bytes.fromhex("1764"), bytes.fromhex("030300"))
    wait_for(lambda: mouse.action()[3] == 1)


def test_one_that_is_unplugged_stops_the_arm(mouse, pipe):
    pipe.write(pushed(350, 0, 0))
    wait_for(lambda: mouse.action()[0] == 1)
    pipe.unplug()
    wait_for(lambda: mouse.trouble)
    assert mouse.words() == [Word.STOP]
    assert not mouse.action().any()
    assert not mouse.is_held


def test_it_is_found_by_its_maker(tmp_path, monkeypatch):
    monkeypatch.setattr("robopref.hardware.spacemouse.HIDRAW", tmp_path)
    mouse = SpaceMouseConfig().build()
    with pytest.raises(HardwareError, match=r"There is no SpaceMouse\. Plug it or its receiver"):
        mouse.connect()
    for name, identity in (
        ("hidraw0", "0003:0000046D:0000C52B"),  # Another device of Logitech's.
        ("hidraw10", "0003:0000256F:0000C62E"),
        ("hidraw2", "0003:0000046D:0000C626"),
    ):
        (tmp_path / name / "device").mkdir(parents=True)
        (tmp_path / name / "device/uevent").write_text(f"DRIVER=hid-generic\nHID_ID={identity}\n")
    assert str(mouse.find()) == "/dev/hidraw2"


@given(st.lists(st.binary(min_size=1, max_size=64), max_size=20))
def test_whatever_comes_the_action_is_one(reports):
    mouse = SpaceMouse(SpaceMouseConfig())
    for report in reports:
        mouse.take(report)
        action = mouse.action()
        assert np.isfinite(action).all()
        assert np.abs(action).max() <= 1

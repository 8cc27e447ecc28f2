"""A gripper of Robotiq's beside an arm of Universal Robots, by the lines of its URCap."""

import functools
import time

import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.errors import HardwareError, NotConnected
from robopref.hardware.robotiq import RobotiqHand
from robopref.hardware.ur import URArmConfig
from tests.hardware.streams import HOME, command_to
from tests.hardware.test_ur import controller, wait_for
from tests.hardware.urcap import URCap

__all__ = ["controller"]


@pytest.fixture
def urcap(monkeypatch):
    urcap = URCap()
    hand = functools.partial(RobotiqHand, port=urcap.port)
    monkeypatch.setattr("robopref.hardware.ur.RobotiqHand", hand)
    yield urcap
    urcap.close()


def test_a_gripper_opens_and_closes_beside_the_arm(controller, urcap):
    arm = URArmConfig("127.0.0.1", gripper=True, gripper_force=0.5).build()
    arm.connect()
    assert arm.read().gripper == 1.0
    assert not [line for line in urcap.heard if "POS " in line], "nothing moves at first"
    arm.start_servo()
    arm.servo(command_to(HOME["ur5e"], time.monotonic(), gripper=0.0))
    wait_for(lambda: arm.read().gripper == 0.0)
    assert "SET POS 230 SPE 255 FOR 128 GTO 1" in urcap.heard
    assert "servoJ" in controller.calls
    arm.disconnect()
    assert urcap.heard[-1] == "SET GTO 0"


def test_a_gripper_that_is_not_active_is_refused_before_anything_moves(controller, urcap):
    urcap.values["STA"] = 0
    arm = URArmConfig("127.0.0.1", gripper=True).build()
    with pytest.raises(HardwareError, match=r"The gripper is not active\. Activate it"):
        arm.connect()
    with pytest.raises(NotConnected):
        arm.read()
    assert not [line for line in urcap.heard if line.startswith("SET")]
    with pytest.raises(ValueError, match="`gripper_ends` must be an open and a closed position"):
        URArmConfig(gripper_ends=(230, 3))

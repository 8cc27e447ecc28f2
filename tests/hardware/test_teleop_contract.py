"""What all devices that a person steers by have in common."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, MissingExtraError, RoboprefError
from robopref.hardware import TELEOPERATORS
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.teleop import TeleopDevice, beyond, turned


def config_of(name: str) -> Any:
    config_class = TELEOPERATORS.config_class(name)
    return config_class(ArmModel("ur5e")) if name == "leader" else config_class()


@pytest.mark.parametrize("name", TELEOPERATORS.names())
def test_a_device_that_is_not_there_asks_for_nothing(name, monkeypatch, tmp_path):
    pytest.importorskip("robosuite" if name == "leader" else "robopref")
    for place in ("gamepad.INPUTS", "spacemouse.HIDRAW"):
        monkeypatch.setattr(f"robopref.hardware.{place}", tmp_path)
    config = config_of(name)
    assert type(config).__dataclass_params__.frozen
    assert from_dict(type(config), to_dict(config)) == config
    device = config.build()
    assert isinstance(device, TeleopDevice)
    assert device.shown
    device.begin(0.5, 0.01)
    action = device.action()
    assert (action.dtype, action.tolist()) == (np.dtype(np.float32), [0, 0, 0, 0.5])
    assert not device.words()
    assert device.is_held or device.has_deadman
    if name != "keyboard":
        with pytest.raises(RoboprefError) as caught:
            device.connect()
        assert isinstance(caught.value, HardwareError | MissingExtraError)
    device.disconnect()
    device.disconnect()


@given(st.floats(-2, 2), st.floats(0, 0.9))
def test_a_rest_zone_keeps_direction_order_and_ends(value, zone):
    found = beyond(value, zone)
    assert beyond(-value, zone) == -found
    assert abs(found) <= min(abs(value), 1) + 1e-12
    assert (found == 0) == (abs(value) <= zone) or math.isclose(abs(value), zone)
    assert beyond(1.0, zone) == 1.0


@given(st.lists(st.floats(-1, 1), min_size=3, max_size=3), st.floats(-7, 7))
def test_turning_keeps_length_and_height(motion, angle):
    found = turned(np.array(motion), angle)
    assert found[2] == motion[2]
    assert math.isclose(np.linalg.norm(found), np.linalg.norm(motion), abs_tol=1e-9)


def test_right_is_turned_counterclockwise():
    assert turned(np.array([1.0, 0, 0]), math.pi / 2) == pytest.approx([0, 1, 0])

"""The driver with LeRobot's own SO-101, whose motors answer on a pseudo-terminal."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from tests.hardware import lerobot_on_a_line
from tests.hardware.lerobot_on_a_line import REACH_M, TURN_RAD

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-lerobot/bin/python"
STEP_RAD = 0.0016
"""One of 4096 steps of a turn, which is what the motors can tell [rad]."""


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("there is no .venv-lerobot; 'make peers' builds it (LeRobot needs numpy 2)")
    done = subprocess.run(
        [PYTHON, lerobot_on_a_line.__file__, str(tmp_path_factory.mktemp("line"))],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_positions_come_in_radians_and_go_to_the_motors(found):
    position, gripper, mode = found["start"]
    assert (position, mode) == (pytest.approx([0.0] * 5, abs=STEP_RAD), "ready")
    assert gripper == pytest.approx(0.5, abs=1e-3)
    position, gripper, mode = found["end"]
    assert (position, mode) == (pytest.approx([0.3, -0.3, 0, 0, 0.6], abs=2 * STEP_RAD), "servo")
    assert gripper == pytest.approx(0.25, abs=1e-3)
    turned = 4095 / 360 * 57.2958 * 0.3
    assert found["goals"][0] == pytest.approx(2047.5 + turned, abs=1)


def test_no_call_waits_for_the_line(found):
    assert found["worst_call_s"] < 0.02
    assert found["age_s"] < 0.3


def test_motors_that_are_silent_are_a_fault_until_it_is_acknowledged(found):
    mode, message = found["dead"]
    assert mode == "fault"
    assert "There is no status packet" in message
    assert found["again"] == "servo"


def test_letting_go_takes_the_torque_off_and_nobody_is_named(found):
    assert found["torque"] == [0] * 6
    assert found["nobody"].startswith("Connecting failed: Could not connect on port '/dev/null'.")


def test_a_leaders_tool_is_followed_and_its_motors_are_left_alone(found):
    leader = found["leader"]
    assert leader["still"] == pytest.approx([0, 0, 0, 0], abs=0.1)
    moved = np.array(leader["moved"])
    # Turned about y by the first joint, four links of 0.1 m from the tool, which goes down.
    down, back = 0.4 * np.sin(TURN_RAD), 0.4 * (1 - np.cos(TURN_RAD))
    assert REACH_M * moved[:, 2].sum() == pytest.approx(-down, abs=0.4 * 2 * STEP_RAD)
    assert REACH_M * moved[:, 0].sum() == pytest.approx(-back, abs=0.4 * 2 * STEP_RAD)
    assert np.abs(moved[:, 1]).max() < 1e-6
    assert moved[0, 2] == -1.0
    assert np.abs(moved[-1, :3]).max() < 0.1
    assert moved[:, 3] == pytest.approx(-1.0, abs=1e-2), "the gripper is opened"
    assert (leader["torque"], leader["goals"]) == ([0] * 6, [0] * 6)


def test_a_leader_that_is_gone_stops_the_arm_once_and_one_uncalibrated_is_refused(found):
    leader = found["leader"]
    assert leader["gone"] == [pytest.approx([0, 0, 0, -1], abs=1e-2), ["stop"]]
    assert leader["again"] == []
    assert "The leader 'so101_leader' is gone: " in leader["trouble"]
    assert leader["not calibrated"] == (
        "The leader 'so101_leader' is not calibrated, or not with this `id`. Run: "
        "lerobot-calibrate --teleop.type=so101_leader"
    )

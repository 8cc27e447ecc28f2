import math
import sys
import threading
import time
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmMode, OperatorAck, StopLevel
from robopref.hardware.workspace import Box, Workspace
from robopref.hardware.xarm import XArmConfig
from tests.hardware.sdk_calls import SDKS, class_of
from tests.hardware.streams import HOME, command_to
from tests.hardware.ufactory import GripperCalls

ACK = OperatorAck("ann", "looked at it", 0.0)
SAFETY = SafetyConfig(Workspace(Box((-0.5, -0.4, 0.0), (0.7, 0.4, 0.9005))), speed_factor=0.5)


class Api(GripperCalls):
    """The SDK's class, with a control box behind it that reports a hundred times a second.

    It keeps degrees, as the box does not: what speaks radians to it has to say so.
    """

    def __init__(self, port, is_radian=False, do_not_open=False, **options):
        super().__init__()
        self.options = options
        self.is_radian, self.axis, self.connected = is_radian, 7, False
        self.angles_deg = [math.degrees(place) for place in HOME["xarm7"]]
        self.state, self.mode, self.error, self.stays = 2, 0, 0, False
        self.joints_torque = [1.0] * 7
        self.is_enabled, self.limits = False, {}
        self.free = threading.Event()
        self.free.set()
        self.report: Callable[[dict[str, Any]], None] | None = None

    def register_report_callback(self, callback):
        self.report = callback
        return True

    def connect(self):
        assert self.options["report_type"] == "real", "the other reports come five times a second"
        self.connected = True
        self.thread = threading.Thread(target=self._report)
        self.thread.start()

    def disconnect(self):
        self.calls.append("disconnect")
        self.connected = False
        self.thread.join()

    def motion_enable(self, enable):
        self.is_enabled = enable
        return 1 if self.error else 0

    def set_mode(self, mode):
        self.mode = mode
        return 1 if self.error else 0

    def set_state(self, state):
        self.calls.append(f"set_state({state})")
        if self.error:
            return 1
        self.state = {0: 2}.get(state, state)
        return 0

    def set_servo_angle_j(self, angles, is_radian):
        self.free.wait(5)
        if self.error or self.state == 4 or self.mode != 1 or not self.is_enabled:
            return 1 if self.error else 9
        self.calls.append("set_servo_angle_j")
        self.angles_deg = [math.degrees(a) if is_radian else a for a in angles]
        return 0

    def get_err_warn_code(self):
        return (1 if self.error else 0), [self.error, 0]

    def clean_error(self):
        if not self.stays:
            self.error = 0
        return 0

    def clean_warn(self):
        return 0

    def set_reduced_max_tcp_speed(self, speed):
        self.limits["tool"] = speed
        return 0

    def set_reduced_max_joint_speed(self, speed, is_radian):
        self.limits["joint"] = speed if is_radian else math.radians(speed)
        return 0

    def set_reduced_tcp_boundary(self, boundary):
        self.limits["boundary"] = boundary
        return 0

    def set_collision_sensitivity(self, value):
        return 0 if value < 5 else 127

    def set_reduced_mode(self, on):
        self.limits["on"] = on
        return 0

    def set_fence_mode(self, on):
        self.limits["fence"] = on
        return [0, 1]

    def _report(self):
        while self.connected:
            joints = [math.radians(a) if self.is_radian else a for a in self.angles_deg]
            if self.report is not None:
                self.report({"joints": joints, "state": self.state})
            time.sleep(0.01)

    def fail(self, error):
        self.error, self.state = error, 4


@pytest.fixture
def made(monkeypatch):
    made = []

    def make(*args, **options):
        made.append(Api(*args, **options))
        return made[-1]

    package, wrapper = ModuleType("xarm"), ModuleType("xarm.wrapper")
    setattr(wrapper, "XArmAPI", make)  # noqa: B010 - a module made here has no such attribute yet
    monkeypatch.setitem(sys.modules, "xarm", package)
    monkeypatch.setitem(sys.modules, "xarm.wrapper", wrapper)
    monkeypatch.setattr("robopref.hardware.xarm.reach", lambda host, port: None)
    return made


@pytest.fixture
def arm(made):
    arm = XArmConfig("127.0.0.1").build()
    arm.connect()
    yield arm
    arm.disconnect()


@pytest.fixture
def api(arm, made):
    return made[0]


def wait_for(what):
    end = time.monotonic() + 3
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def follow(arm, target=None):
    arm.servo(command_to(HOME["xarm7"] if target is None else target, time.monotonic()))


def test_the_fake_knows_nothing_that_the_sdk_does_not():
    pytest.importorskip("xarm.wrapper", reason="the extra 'xarm' is not installed")
    known = set(dir(class_of(SDKS["xarm"]["api"])))
    assert {name for name in vars(Api) if not name.startswith("_")} - {"fail"} <= known


def test_it_reads_radians_and_what_moves_has_a_speed(arm, api):
    state = arm.read()
    assert state.position == pytest.approx(HOME["xarm7"])
    assert state.velocity == pytest.approx([0.0] * 7)
    assert (state.mode, state.effort) == (ArmMode.READY, (1.0,) * 7)
    assert not api.is_enabled
    for _ in range(12):
        api.angles_deg[0] += 0.5
        time.sleep(0.01)
    assert math.radians(25) < arm.read().velocity[0] < math.radians(75)
    assert time.monotonic() - arm.read().time_s < 0.05


def test_it_follows_in_radians(arm, api):
    arm.start_servo()
    assert api.is_enabled
    assert arm.read().mode is ArmMode.SERVO
    target = np.add(HOME["xarm7"], 0.1)
    follow(arm, target)
    wait_for(lambda: np.allclose(np.radians(api.angles_deg), target))
    with pytest.raises(ValueError, match="A driver takes 7 joint positions"):
        follow(arm, HOME["ur5e"])


def test_a_blocked_call_keeps_nobody_waiting_and_no_state_old(arm, api):
    """As xArm-Python-SDK's issue 154 tells: some calls in this mode take 190 ms."""
    arm.start_servo()
    api.free.clear()
    begun = time.monotonic()
    while time.monotonic() - begun < 0.19:
        before = time.monotonic()
        follow(arm)
        state = arm.read()
        assert time.monotonic() - before < 0.05
        assert state.mode is ArmMode.SERVO
        assert time.monotonic() - state.time_s < 0.1
        time.sleep(0.01)
    api.free.set()
    wait_for(lambda: "set_servo_angle_j" in api.calls)
    time.sleep(0.02)
    assert api.calls.count("set_servo_angle_j") <= 2


def test_the_controllers_limits_are_set_in_its_units(arm, api):
    assert arm.apply_native_limits(SAFETY) == arm.spec.native
    assert api.limits["boundary"] == [700, -500, 400, -400, 900, 0]
    assert api.limits["tool"] == 250.0
    assert api.limits["joint"] == pytest.approx(math.radians(90))
    assert api.limits["on"]
    assert api.limits["fence"]


def test_a_limit_that_is_not_taken_is_not_claimed(made):
    arm = XArmConfig("127.0.0.1", collision_sensitivity=5).build()
    arm.connect()
    taken = arm.apply_native_limits(SafetyConfig(off=("workspace",)))
    assert taken == {"tool-speed", "speed"}
    assert "fence" not in made[0].limits
    arm.disconnect()


@pytest.mark.parametrize(
    ("level", "mode"),
    [
        (StopLevel.HOLD, ArmMode.SERVO),
        (StopLevel.CONTROLLED, ArmMode.READY),
        (StopLevel.IMMEDIATE, ArmMode.ESTOP),
    ],
)
def test_each_stop_ends_in_its_mode(arm, api, level, mode):
    arm.start_servo()
    for _ in range(5):
        arm.stop(level)
    follow(arm)
    time.sleep(0.05)
    assert arm.read().mode is mode
    is_hold = level is StopLevel.HOLD
    assert api.calls.count("set_servo_angle_j") == is_hold
    assert api.calls.count("set_state(4)") == (not is_hold)
    assert api.is_enabled is (level is not StopLevel.IMMEDIATE)
    if level is StopLevel.IMMEDIATE:
        with pytest.raises(HardwareError, match="acknowledge the stop first"):
            arm.start_servo()


@pytest.mark.parametrize(
    ("error", "mode"),
    [(1, ArmMode.ESTOP), (31, ArmMode.PROTECTIVE_STOP), (12, ArmMode.FAULT)],
)
def test_an_error_is_seen_and_only_an_acknowledgement_clears_it(arm, api, error, mode):
    arm.start_servo()
    api.fail(error)
    wait_for(lambda: arm.read().mode is mode)
    assert arm.read().faults[0].code == f"C{error}"
    with pytest.raises(HardwareError, match=f"The controller is in the mode '{mode}'"):
        arm.start_servo()
    assert api.error == error
    arm.recover(ACK)
    assert (arm.read().mode, arm.read().faults) == (ArmMode.READY, ())
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO


def test_an_error_that_stays_is_said(arm, api):
    api.fail(12)
    api.stays = True
    with pytest.raises(HardwareError, match="The controller's error 12 stays: its manual explains"):
        arm.recover(ACK)
    assert arm.read().mode is ArmMode.FAULT


def test_a_stop_from_elsewhere_ends_the_servo_mode_for_good(arm, api):
    """Set moving again from its web page the arm does not go on: issue 80 of the SDK."""
    arm.start_servo()
    api.state = 4
    wait_for(lambda: arm.read().mode is ArmMode.READY)
    api.state = 2
    follow(arm)
    time.sleep(0.03)
    assert "set_servo_angle_j" not in api.calls


def test_an_error_of_before_is_seen_at_once(made, monkeypatch):
    monkeypatch.setattr(Api, "connect", lambda self, begin=Api.connect: (self.fail(2), begin(self)))
    arm = XArmConfig("127.0.0.1").build()
    arm.connect()
    assert arm.read().mode is ArmMode.ESTOP
    arm.disconnect()


def test_it_is_pushed_only_when_it_follows_nobody(arm, api):
    arm.freedrive(on=True)
    assert (api.mode, arm.read().mode) == (2, ArmMode.FREEDRIVE)
    arm.freedrive(on=False)
    assert (api.mode, arm.read().mode) == (0, ArmMode.READY)
    arm.start_servo()
    with pytest.raises(HardwareError, match="cannot be pushed while it follows"):
        arm.freedrive(on=True)


def test_letting_go_stops_and_may_be_done_twice(arm, api):
    arm.start_servo()
    arm.disconnect()
    arm.disconnect()
    assert api.calls[-2:] == ["set_state(4)", "disconnect"]
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        arm.read()


def test_a_box_that_is_gone_and_another_arm_are_named(arm, api, made):
    api.connected = False
    assert arm.read().mode is ArmMode.DISCONNECTED
    six = ArmModel("ur5e")
    with pytest.raises(HardwareError, match="has an arm of 7 joints, 'ur5e' has 6"):
        XArmConfig("127.0.0.1", six).build().connect()
    assert not made[-1].connected


def test_who_cannot_be_reached_is_named_in_time():
    """With the real SDK."""
    pytest.importorskip("xarm.wrapper", reason="the extra 'xarm' is not installed")
    begun = time.monotonic()
    with pytest.raises(
        HardwareError, match=r"No controller answers at 127\.0\.0\.1:502: .*refused"
    ):
        XArmConfig("127.0.0.1").build().connect()
    assert time.monotonic() - begun < 4
    with pytest.raises(ValueError, match="`collision_sensitivity` must be between 1 and 5"):
        XArmConfig(collision_sensitivity=0)


def test_the_config_survives_being_written():
    config = XArmConfig("10.0.0.2", rate_hz=200)
    assert from_dict(XArmConfig, to_dict(config)) == config


def test_a_gripper_has_a_connection_of_its_own(made):
    """Its calls take long, and would be gaps in the stream of positions."""
    arm = XArmConfig("127.0.0.1", gripper="g1").build()
    arm.connect()
    api, hand = made
    assert arm.read().gripper == 1.0
    arm.start_servo()
    arm.servo(command_to(HOME["xarm7"], time.monotonic(), gripper=0.0))
    wait_for(lambda: arm.read().gripper == 0.0)
    assert (hand.place, api.place) == (0, 850)
    follow(arm)
    arm.disconnect()
    assert hand.calls[-1] == "disconnect"
    assert arm.config.gripper in str(to_dict(arm.config))


def test_a_gripper_that_does_not_answer_is_named_before_the_arm_moves(made, monkeypatch):
    monkeypatch.setattr(Api, "get_gripper_err_code", lambda self: (3, 0))
    arm = XArmConfig("127.0.0.1", gripper="g2").build()
    with pytest.raises(HardwareError, match=r"No gripper answers on the arm \(code 3\)\."):
        arm.connect()
    with pytest.raises(NotConnected):
        arm.read()
    assert not made[0].connected
    assert made[1].calls[-1] == "disconnect"

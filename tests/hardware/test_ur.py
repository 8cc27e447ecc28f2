# ruff: noqa: N802  The library names its methods in camel case.
import functools
import sys
import threading
import time
from types import ModuleType

import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmMode, OperatorAck, StopLevel
from robopref.hardware.ur import PLAYING, POWERED, URArmConfig
from tests.hardware.sdk_calls import SDKS, class_of
from tests.hardware.streams import HOME, command_to

ACK = OperatorAck("ann", "looked at it", 0.0)
NORMAL, PROTECTIVE, EMERGENCY, SAFEGUARD = 1, 1 << 2, 1 << 7, 1 << 4


class Controller:
    """What the three interfaces of the library talk to."""

    def __init__(self):
        self.position = list(HOME["ur5e"])
        self.bits, self.robot_mode, self.runtime_state = NORMAL, POWERED, 1
        self.is_there, self.started = True, time.monotonic()
        self.takes_positions, self.takes_watchdog = True, True
        self.watchdog_hz, self.unlocks = None, True
        self.calls, self.blocked = [], threading.Event()
        self.blocked.set()

    def start_program(self):
        self.runtime_state, self.watchdog_hz = PLAYING, None


class Receive:
    def __init__(self, controller):
        self.controller = controller

    def getTimestamp(self):
        return time.monotonic() - self.controller.started if self.controller.is_there else 1.0

    def getActualQ(self):
        return list(self.controller.position)

    def getActualQd(self):
        return [0.0] * 6

    def getRobotMode(self):
        return self.controller.robot_mode

    def getRuntimeState(self):
        return self.controller.runtime_state

    def getSafetyStatusBits(self):
        return self.controller.bits

    def isConnected(self):
        return self.controller.is_there

    def disconnect(self):
        self.controller.calls.append("receive.disconnect")


class Control:
    def __init__(self, controller):
        self.controller = controller
        controller.start_program()

    def reuploadScript(self):
        self.controller.calls.append("reuploadScript")
        self.controller.start_program()
        return True

    def setWatchdog(self, min_frequency):
        self.controller.watchdog_hz = min_frequency
        return self.controller.takes_watchdog

    def servoJ(self, q, speed, acceleration, time, lookahead_time, gain):
        controller = self.controller
        controller.blocked.wait(5)
        if not (controller.takes_positions and controller.runtime_state == PLAYING):
            return False
        controller.calls.append("servoJ")
        controller.position = list(q)
        return True

    def servoStop(self, a):
        self.controller.calls.append("servoStop")
        return self.controller.runtime_state == PLAYING

    def triggerProtectiveStop(self):
        self.controller.calls.append("triggerProtectiveStop")
        self.controller.bits, self.controller.runtime_state = PROTECTIVE, 1
        return True

    def freedriveMode(self):
        self.controller.calls.append("freedriveMode")
        return True

    def endFreedriveMode(self):
        self.controller.calls.append("endFreedriveMode")
        return True

    def stopScript(self):
        self.controller.runtime_state = 1

    def disconnect(self):
        self.controller.calls.append("control.disconnect")


class Dashboard:
    def __init__(self, controller):
        self.controller = controller

    def connect(self, timeout_ms):
        self.controller.calls.append("dashboard.connect")

    def closeSafetyPopup(self):
        self.controller.calls.append("closeSafetyPopup")

    def unlockProtectiveStop(self):
        if not self.controller.unlocks:
            raise RuntimeError("Cannot unlock protective stop until 5s after occurrence.")
        self.controller.bits = NORMAL

    def stop(self):
        self.controller.calls.append("dashboard.stop")
        self.controller.runtime_state = 1

    def disconnect(self):
        self.controller.calls.append("dashboard.disconnect")


FAKES = {"control": Control, "receive": Receive, "dashboard": Dashboard}


def _make(fake, controller, *args, **options):
    del args, options
    return fake(controller)


@pytest.fixture
def controller(monkeypatch):
    controller = Controller()
    for name, fake in FAKES.items():
        module, _, cls = SDKS["ur"][name].partition(":")
        replaced = ModuleType(module)
        setattr(replaced, cls, functools.partial(_make, fake, controller))
        monkeypatch.setitem(sys.modules, module, replaced)
    monkeypatch.setattr("robopref.hardware.ur.reach", lambda host, port: None)
    return controller


@pytest.fixture
def arm(controller):
    arm = URArmConfig("10.0.0.2").build()
    arm.connect()
    yield arm
    arm.disconnect()


def wait_for(what):
    end = time.monotonic() + 3
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def follow(arm, target=None):
    arm.servo(command_to(HOME["ur5e"] if target is None else target, time.monotonic()))


@pytest.mark.parametrize("name", FAKES)
def test_the_fakes_know_nothing_that_the_library_does_not(name):
    pytest.importorskip("rtde_control", reason="the extra 'ur' is not installed")
    known = set(dir(class_of(SDKS["ur"][name])))
    assert {member for member in vars(FAKES[name]) if not member.startswith("_")} <= known


def test_connecting_touches_no_program(arm, controller):
    state = arm.read()
    assert state.mode is ArmMode.READY
    assert state.position == pytest.approx(HOME["ur5e"])
    assert abs(time.monotonic() - state.time_s) < 0.05
    assert controller.calls == ["dashboard.connect"]
    assert controller.runtime_state == 1


def test_it_follows_with_its_watchdog_armed(arm, controller):
    assert arm.apply_native_limits(SafetyConfig(off=("workspace",), watchdog_s=0.25)) == {
        "watchdog"
    }
    arm.start_servo()
    assert controller.watchdog_hz == 4.0
    assert arm.read().mode is ArmMode.SERVO
    target = [place + 0.1 for place in HOME["ur5e"]]
    follow(arm, target)
    wait_for(lambda: controller.position == target)


def test_a_call_that_blocks_keeps_nobody_waiting_and_is_a_fault(arm, controller):
    arm.start_servo()
    controller.blocked.clear()
    begun = time.monotonic()
    for _ in range(100):
        follow(arm)
        arm.read()
    assert time.monotonic() - begun < 0.2
    wait_for(lambda: arm.read().mode is ArmMode.FAULT)
    assert "did not come back" in arm.read().faults[0].message
    controller.blocked.set()
    wait_for(lambda: arm.read().mode is ArmMode.SERVO)
    # Of all positions that came meanwhile only the newest was sent.
    assert controller.calls.count("servoJ") <= 2


def test_hold_brakes_and_goes_on(arm, controller):
    arm.start_servo()
    follow(arm)
    for _ in range(5):
        arm.stop(StopLevel.HOLD)
    wait_for(lambda: "servoStop" in controller.calls)
    follow(arm)
    wait_for(lambda: controller.calls[-1] == "servoJ")
    assert controller.calls.count("servoStop") == 1
    assert arm.read().mode is ArmMode.SERVO


def test_a_controlled_stop_takes_no_position_until_it_is_started_again(arm, controller):
    arm.start_servo()
    arm.stop(StopLevel.CONTROLLED)
    wait_for(lambda: "servoStop" in controller.calls)
    assert arm.read().mode is ArmMode.READY
    follow(arm)
    time.sleep(0.02)
    assert "servoJ" not in controller.calls
    arm.start_servo()
    assert "reuploadScript" in controller.calls
    follow(arm)
    wait_for(lambda: "servoJ" in controller.calls)


def test_an_immediate_stop_is_the_controllers_and_latched(arm, controller):
    arm.start_servo()
    arm.stop(StopLevel.IMMEDIATE)
    wait_for(lambda: controller.bits == PROTECTIVE)
    assert arm.read().mode is ArmMode.PROTECTIVE_STOP
    controller.bits = NORMAL
    assert arm.read().mode is ArmMode.ESTOP
    with pytest.raises(HardwareError, match="'emergency stop': acknowledge the stop first"):
        arm.start_servo()
    arm.recover(ACK)
    assert arm.read().mode is ArmMode.READY


def test_without_its_script_the_dashboard_ends_the_program(arm, controller):
    arm.stop(StopLevel.IMMEDIATE)
    wait_for(lambda: "dashboard.stop" in controller.calls)


@pytest.mark.parametrize(
    ("bits", "mode"),
    [
        (PROTECTIVE, ArmMode.PROTECTIVE_STOP),
        (SAFEGUARD, ArmMode.PROTECTIVE_STOP),
        (EMERGENCY | PROTECTIVE, ArmMode.ESTOP),
        (1 << 8, ArmMode.FAULT),
        (1 << 3, ArmMode.FAULT),
    ],
)
def test_a_stop_of_the_controller_is_seen_and_nothing_starts_in_it(arm, controller, bits, mode):
    arm.start_servo()
    controller.bits = bits
    state = arm.read()
    assert state.mode is mode
    assert len(state.faults) == 1
    with pytest.raises(HardwareError, match=f"The controller is in the mode '{mode}'"):
        arm.start_servo()


def test_only_an_acknowledgement_clears_a_protective_stop(arm, controller):
    arm.start_servo()
    controller.bits, controller.runtime_state = PROTECTIVE, 1
    controller.unlocks = False
    with pytest.raises(HardwareError, match="until 5s after occurrence"):
        arm.recover(ACK)
    controller.unlocks = True
    assert arm.read().mode is ArmMode.PROTECTIVE_STOP
    arm.recover(ACK)
    assert arm.read().mode is ArmMode.READY
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO
    assert controller.watchdog_hz == 5.0


def test_an_emergency_stop_is_cleared_at_the_pendant_only(arm, controller):
    controller.bits = EMERGENCY
    with pytest.raises(HardwareError, match="not cleared from here: emergency stop: release"):
        arm.recover(ACK)
    assert controller.bits == EMERGENCY


def test_a_script_that_ended_stays_ended(arm, controller):
    """The watchdog fired, or the library uploaded its script again by itself."""
    arm.start_servo()
    controller.runtime_state = 1
    assert arm.read().mode is ArmMode.READY
    controller.runtime_state = PLAYING
    assert arm.read().mode is ArmMode.READY


def test_a_refused_position_is_a_fault(arm, controller):
    arm.start_servo()
    controller.takes_positions = False
    follow(arm)
    wait_for(lambda: arm.read().mode is ArmMode.FAULT)
    assert arm.read().faults[0].message == "the script does not take positions any more"


def test_a_controller_that_is_gone_makes_the_state_old(arm, controller):
    arm.read()
    controller.is_there = False
    arm.read()
    time.sleep(0.02)
    state = arm.read()
    assert state.mode is ArmMode.DISCONNECTED
    assert time.monotonic() - state.time_s >= 0.02


def test_what_keeps_it_from_starting_is_said(arm, controller):
    controller.runtime_state = PLAYING
    with pytest.raises(HardwareError, match=r"runs another program\. Stop it at the pendant"):
        arm.start_servo()
    controller.runtime_state, controller.robot_mode = 1, 5
    with pytest.raises(HardwareError, match="mode 'idle': the arm has no power"):
        arm.start_servo()
    controller.robot_mode, controller.takes_watchdog = POWERED, False
    with pytest.raises(HardwareError, match="did not take the watchdog; without it no motion"):
        arm.start_servo()
    assert arm.read().mode is not ArmMode.SERVO


def test_it_is_pushed_only_when_it_follows_nobody(arm, controller):
    arm.freedrive(on=True)
    assert arm.read().mode is ArmMode.FREEDRIVE
    assert controller.watchdog_hz is None
    arm.freedrive(on=False)
    assert arm.read().mode is ArmMode.READY
    arm.start_servo()
    with pytest.raises(HardwareError, match="cannot be pushed while it follows"):
        arm.freedrive(on=True)


def test_letting_go_brakes_ends_the_script_and_may_be_done_twice(arm, controller):
    arm.start_servo()
    arm.disconnect()
    arm.disconnect()
    assert controller.calls[-4:] == [
        "servoStop", "control.disconnect", "receive.disconnect", "dashboard.disconnect"
    ]  # fmt: skip
    assert controller.runtime_state == 1
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        arm.read()


def test_what_makes_no_sense_is_refused(arm):
    arm.start_servo()
    with pytest.raises(ValueError, match="A driver takes 6 joint positions"):
        follow(arm, HOME["xarm7"])
    with pytest.raises(ValueError, match="`gain` must be between 100 and 2000"):
        URArmConfig(gain=5)


def test_who_cannot_be_reached_is_named_in_time():
    """With the real library: nobody listens on this machine's RTDE port."""
    pytest.importorskip("rtde_control", reason="the extra 'ur' is not installed")
    begun = time.monotonic()
    with pytest.raises(
        HardwareError, match=r"No controller answers at 127\.0\.0\.1:30004: .*refused"
    ):
        URArmConfig("127.0.0.1").build().connect()
    with pytest.raises(HardwareError, match=r"`address` is empty\. Give the arm's"):
        URArmConfig().build().connect()
    assert time.monotonic() - begun < 3


def test_the_config_survives_being_written():
    config = URArmConfig("10.0.0.2", rate_hz=500)
    assert from_dict(URArmConfig, to_dict(config)) == config
    assert config.build().spec.rate_hz == 500

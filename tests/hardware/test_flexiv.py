# ruff: noqa: N802  The RDK names its methods in camel case.
import sys
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.flexiv import FlexivArmConfig
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmMode, OperatorAck, StopLevel
from tests.hardware.streams import HOME, command_to

ACK = OperatorAck("ann", "looked at it", 0.0)
MODEL = ArmModel("panda")


class Robot:
    def __init__(self, robot_sn, verbose=True):
        if robot_sn == "Rizon4-000000":
            raise RuntimeError("the robot was not found")
        self.q = list(HOME["panda"])
        self.is_on, self.is_there, self.released = False, True, True
        self.has_fault, self.clears, self.in_recovery = False, True, False
        self.calls, self.commands, self.count = [], [], 0

    def states(self):
        self.count += self.is_there
        zero = [0.0] * 7
        return {"arm": SimpleNamespace(q=self.q, dq=zero, tau_ext=zero, timestamp=(1, self.count))}

    def connected(self):
        return self.is_there

    def operational(self):
        return self.is_on and self.released and not self.has_fault

    def operational_status(self):
        return "NOT_SERVO_ON"

    def estop_released(self):
        return self.released

    def recovery(self):
        return self.in_recovery

    def fault(self):
        return self.has_fault

    def ServoOn(self):
        self.is_on = True

    def SwitchMode(self, mode):
        self.calls.append(mode)

    def SendJointPosition(self, cmds):
        if not self.operational():
            raise RuntimeError("the robot is not operational")
        self.commands.append(cmds["arm"])
        self.q = list(cmds["arm"].q_d)

    def Stop(self):
        self.calls.append("Stop")

    def ClearFault(self, timeout_sec):
        self.has_fault = not self.clears
        return self.clears


def make_command(q_d, dq_d, dq_max, ddq_max):
    return SimpleNamespace(q_d=q_d, dq_d=dq_d, dq_max=dq_max, ddq_max=ddq_max)


@pytest.fixture
def arm(monkeypatch):
    sdk = ModuleType("flexivrdk")
    for name, value in {
        "Robot": Robot, "NrtJointPositionCmd": make_command,
        "JointGroup": SimpleNamespace(ARM_1="arm"),
        "Mode": SimpleNamespace(NRT_JOINT_POSITION="positions"),
    }.items():  # fmt: skip
        setattr(sdk, name, value)
    monkeypatch.setitem(sys.modules, "flexivrdk", sdk)
    arm = FlexivArmConfig(MODEL, "Rizon4-123456").build()
    arm.connect()
    yield arm
    arm.disconnect()


def wait_for(what):
    end = time.monotonic() + 3
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def follow(arm, target=None, **changes):
    arm.servo(command_to(HOME["panda"] if target is None else target, time.monotonic(), **changes))


def test_motors_go_on_at_the_start_and_positions_carry_limits(arm):
    assert arm.read().mode is ArmMode.READY
    assert arm.read().position == pytest.approx(HOME["panda"])
    assert not arm._robot.is_on
    arm.start_servo()
    assert arm._robot.is_on
    assert (arm.read().mode, arm._robot.calls) == (ArmMode.SERVO, ["positions"])
    target = np.add(HOME["panda"], 0.1)
    follow(arm, target, velocity=(0.2,) * 7)
    wait_for(lambda: arm._robot.commands)
    (sent,) = arm._robot.commands
    assert sent.q_d == pytest.approx(target)
    assert sent.dq_d == [0.2] * 7
    assert sent.dq_max == list(arm.spec.velocity_max_rad_s)
    assert sent.ddq_max == list(arm.spec.acceleration_max_rad_s2)
    assert arm.apply_native_limits(SafetyConfig(off=("workspace",))) == arm.spec.native


def test_each_stop_ends_in_its_mode_once(arm):
    arm.start_servo()
    arm.stop(StopLevel.HOLD)
    assert arm.read().mode is ArmMode.SERVO
    for _ in range(3):
        arm.stop(StopLevel.CONTROLLED)
    wait_for(lambda: "Stop" in arm._robot.calls)
    assert arm.read().mode is ArmMode.READY
    arm.stop(StopLevel.IMMEDIATE)
    wait_for(lambda: arm._robot.calls.count("Stop") == 2)
    follow(arm)
    time.sleep(0.02)
    assert arm._robot.commands == []
    with pytest.raises(HardwareError, match="acknowledge the stop first"):
        arm.start_servo()
    arm.recover(ACK)
    arm.start_servo()


def test_a_fault_is_seen_and_only_an_acknowledgement_clears_it(arm):
    robot = arm._robot
    arm.start_servo()
    robot.has_fault, robot.clears = True, False
    assert arm.read().mode is ArmMode.FAULT
    with pytest.raises(HardwareError, match="mode 'fault': look at the arm"):
        arm.start_servo()
    with pytest.raises(HardwareError, match=r"The fault stays\. Switch"):
        arm.recover(ACK)
    robot.clears = True
    arm.recover(ACK)
    assert arm.read().mode is ArmMode.READY
    robot.released = False
    assert arm.read().mode is ArmMode.ESTOP
    with pytest.raises(HardwareError, match="The emergency stop button is pressed"):
        arm.recover(ACK)
    robot.released, robot.in_recovery = True, True
    with pytest.raises(HardwareError, match="A joint is out of its range"):
        arm.recover(ACK)


def test_a_position_that_is_refused_is_a_fault(arm):
    arm.start_servo()
    arm._robot.is_on = False
    follow(arm)
    wait_for(lambda: arm.read().mode is ArmMode.FAULT)
    assert arm.read().faults[0].message == "the robot is not operational"


def test_an_arm_that_is_gone_or_another_is_named(arm):
    arm._robot.is_there = False
    assert arm.read().mode is ArmMode.DISCONNECTED
    time.sleep(0.02)
    assert time.monotonic() - arm.read().time_s >= 0.02
    with pytest.raises(HardwareError, match="Connecting failed: the robot was not found"):
        FlexivArmConfig(MODEL, "Rizon4-000000").build().connect()
    with pytest.raises(HardwareError, match="has 7 joints, 'ur5e' has 6"):
        FlexivArmConfig(ArmModel("ur5e"), "Rizon4-123456").build().connect()
    with pytest.raises(HardwareError, match="`serial` is empty"):
        FlexivArmConfig(MODEL).build().connect()


def test_letting_go_stops_and_may_be_done_twice(arm):
    robot = arm._robot
    arm.start_servo()
    arm.disconnect()
    arm.disconnect()
    assert robot.calls[-1] == "Stop"
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        arm.read()


def test_what_makes_no_sense_is_refused(arm):
    arm.start_servo()
    with pytest.raises(ValueError, match="A driver takes 7 joint positions"):
        follow(arm, HOME["ur5e"])
    with pytest.raises(HardwareError, match="Hold the enabling button"):
        arm.freedrive(on=True)


def test_the_config_survives_being_written():
    config = FlexivArmConfig(MODEL, "Rizon4-123456")
    assert from_dict(FlexivArmConfig, to_dict(config)) == config

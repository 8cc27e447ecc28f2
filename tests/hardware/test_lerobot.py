"""The driver with a stand-in for LeRobot; `test_lerobot_peer.py` has the real one."""

import json
import math
import sys
import threading
import time
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected, UnknownNameError
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.lerobot import LeRobotArmConfig
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmMode, OperatorAck, StopLevel
from tests.hardware.streams import HOME, command_to

ACK = OperatorAck("ann", "looked at it", 0.0)
JOINTS = ("pan", "lift", "elbow", "flex", "yaw", "roll")


class Robot:
    def __init__(self, config):
        self.config, self.is_calibrated = config, True
        self.names = [*JOINTS, "gripper"]
        self.found = {
            f"{name}.pos": math.degrees(q) for name, q in zip(JOINTS, HOME["ur5e"], strict=True)
        }
        self.found["gripper.pos"] = 50.0
        self.calls: list[str] = []
        self.fails = False
        self.free = threading.Event()
        self.free.set()

    @property
    def action_features(self):
        return {f"{name}.pos": float for name in self.names}

    def connect(self, calibrate=True):
        assert not calibrate, "it would ask for keys to be pressed"
        self.calls.append("connect")

    def get_observation(self):
        self.free.wait(5)
        if self.fails:
            raise ConnectionError("There is no status packet!")
        return dict(self.found)

    def send_action(self, action):
        self.calls.append("send_action")
        self.found.update(action)
        return action

    def disconnect(self):
        self.calls.append("disconnect")


class Config(SimpleNamespace):
    def __init__(self, port, id=None):
        super().__init__(port=port, id=id)


class RobotConfig:
    @staticmethod
    def get_known_choices():
        return {"so101_follower": Config}

    @staticmethod
    def get_choice_class(name):
        return {"so101_follower": Config}[name]


@pytest.fixture
def made(monkeypatch):
    made = []

    def make(config):
        made.append(Robot(config))
        return made[-1]

    robots, tools = ModuleType("lerobot.robots"), ModuleType("lerobot.utils.import_utils")
    for name, value in {
        "__path__": [], "RobotConfig": RobotConfig, "make_robot_from_config": make
    }.items():  # fmt: skip
        setattr(robots, name, value)
    setattr(tools, "register_third_party_plugins", lambda: None)  # noqa: B010
    for module in (robots, tools):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(sys.modules, "lerobot", ModuleType("lerobot"))
    monkeypatch.setitem(sys.modules, "lerobot.utils", ModuleType("lerobot.utils"))
    return made


def make_config(**changes):
    settings = json.dumps({"port": "/dev/ttyACM0", "id": "left"})
    return LeRobotArmConfig(ArmModel("ur5e"), **{"joints": JOINTS, "settings": settings, **changes})


@pytest.fixture
def arm(made):
    arm = make_config().build()
    arm.connect()
    yield arm
    arm.disconnect()


@pytest.fixture
def robot(arm, made):
    return made[0]


def wait_for(what):
    end = time.monotonic() + 3
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def follow(arm, target=None, **changes):
    target = HOME["ur5e"] if target is None else target
    arm.servo(command_to(target, time.monotonic(), **changes))


def test_it_reads_degrees_as_radians_and_goes_on_reading(arm, robot):
    assert robot.config.port == "/dev/ttyACM0"
    state = arm.read()
    assert state.position == pytest.approx(HOME["ur5e"])
    assert (state.mode, state.gripper) == (ArmMode.READY, 0.5)
    robot.found["pan.pos"] += 10.0
    wait_for(lambda: arm.read().position[0] == pytest.approx(HOME["ur5e"][0] + math.radians(10)))
    assert time.monotonic() - arm.read().time_s < 0.1


def test_it_follows_in_degrees_and_keeps_its_grip(arm, robot):
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO
    target = np.add(HOME["ur5e"], 0.1)
    follow(arm, target, gripper=0.2)
    wait_for(lambda: robot.found["gripper.pos"] == 20.0)
    assert [robot.found[f"{name}.pos"] for name in JOINTS] == pytest.approx(np.degrees(target))
    robot.found["gripper.pos"] = 35.0  # Something is between its fingers.
    follow(arm, target)
    wait_for(lambda: robot.calls.count("send_action") == 2)
    wait_for(lambda: robot.found["gripper.pos"] == 20.0)


def test_a_slow_line_keeps_nobody_waiting_and_the_state_gets_old(arm, robot):
    arm.start_servo()
    robot.free.clear()
    begun = time.monotonic()
    for _ in range(50):
        follow(arm)
        arm.read()
    assert time.monotonic() - begun < 0.2
    wait_for(lambda: arm.read().mode is ArmMode.FAULT)
    assert time.monotonic() - arm.read().time_s > 0.1
    robot.free.set()


def test_a_line_that_fails_is_a_fault_until_it_is_acknowledged(arm, robot):
    arm.start_servo()
    robot.fails = True
    follow(arm)
    wait_for(lambda: arm.read().mode is ArmMode.FAULT)
    assert arm.read().faults[0].message == "There is no status packet!"
    with pytest.raises(HardwareError, match="mode 'fault': There is no status packet!"):
        arm.start_servo()
    with pytest.raises(HardwareError, match="Reading its position failed"):
        arm.recover(ACK)
    robot.fails = False
    assert arm.read().mode is ArmMode.FAULT
    arm.recover(ACK)
    assert arm.read().mode is ArmMode.READY
    arm.start_servo()


def test_each_stop_ends_in_its_mode_and_sends_nothing(arm, robot):
    arm.start_servo()
    arm.stop(StopLevel.HOLD)
    assert arm.read().mode is ArmMode.SERVO
    arm.stop(StopLevel.CONTROLLED)
    assert arm.read().mode is ArmMode.READY
    arm.stop(StopLevel.IMMEDIATE)
    arm.stop(StopLevel.CONTROLLED)
    assert arm.read().mode is ArmMode.ESTOP
    follow(arm)
    time.sleep(0.05)
    assert "send_action" not in robot.calls
    with pytest.raises(HardwareError, match="acknowledge the stop first"):
        arm.start_servo()
    arm.recover(ACK)
    arm.start_servo()


def test_a_robot_that_does_not_fit_is_named(made, monkeypatch):
    with pytest.raises(
        UnknownNameError, match=r"No LeRobot robot named 'so101_folower'\. Did you mean"
    ):
        make_config(robot="so101_folower").build().connect()
    with pytest.raises(HardwareError, match="`settings` do not fit the robot 'so101_follower': "):
        make_config(settings='{"baud": 1}').build().connect()
    with pytest.raises(HardwareError, match=r"has no joint 'shoulder_pan_joint'\. It has"):
        make_config(joints=()).build().connect()
    with pytest.raises(ValueError, match="`settings` must be a JSON object"):
        make_config(settings="[]")
    with pytest.raises(ValueError, match="`settings` must be a JSON object"):
        make_config(settings="port=1")
    with pytest.raises(ValueError, match="`joints` must name the 6 joints of 'ur5e', got 1"):
        make_config(joints=("pan",)).build()
    begin = Robot.__init__

    def begin_uncalibrated(self, config):
        begin(self, config)
        self.is_calibrated = False

    monkeypatch.setattr(Robot, "__init__", begin_uncalibrated)
    with pytest.raises(
        HardwareError, match=r"is not calibrated, .* Run: lerobot-calibrate --robot"
    ):
        make_config().build().connect()
    assert made[-1].calls == ["connect", "disconnect"]


def test_letting_go_may_be_done_twice(arm, robot):
    arm.start_servo()
    arm.disconnect()
    arm.disconnect()
    assert robot.calls == ["connect", "disconnect"]
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        arm.read()


def test_what_makes_no_sense_is_refused(arm):
    arm.start_servo()
    with pytest.raises(ValueError, match="A driver takes 6 joint positions"):
        follow(arm, HOME["xarm7"])
    with pytest.raises(HardwareError, match="LeRobot has no common way to let an arm be pushed"):
        arm.freedrive(on=True)
    assert arm.apply_native_limits(SafetyConfig(off=("workspace",))) == frozenset()


def test_the_config_survives_being_written():
    config = make_config(unit="radians")
    assert from_dict(LeRobotArmConfig, to_dict(config)) == config

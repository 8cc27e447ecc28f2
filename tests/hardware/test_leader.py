"""A leader arm with a stand-in for LeRobot."""

import json
import math
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.errors import HardwareError, UnknownNameError
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.leader import LeaderConfig
from robopref.hardware.teleop import Word
from tests.hardware.streams import HOME

JOINTS = ("pan", "lift", "elbow", "flex", "yaw", "roll")
REACH_M = 0.01


class Teleoperator:
    def __init__(self, config):
        self.config, self.is_calibrated = config, True
        self.found = {f"{name}.pos": 0.0 for name in (*JOINTS, "gripper")}
        self.put(HOME["ur5e"])
        self.fails = False
        self.calls: list[str] = []

    def put(self, position, gripper=50.0):
        degrees = map(math.degrees, position)
        self.found |= {f"{name}.pos": q for name, q in zip(JOINTS, degrees, strict=True)}
        self.found["gripper.pos"] = gripper

    @property
    def action_features(self):
        return dict.fromkeys(self.found, float)

    def connect(self, calibrate=True):
        assert not calibrate, "it would ask for keys to be pressed"
        self.calls.append("connect")

    def get_action(self):
        if self.fails:
            raise ConnectionError("There is no status packet!")
        return dict(self.found)

    def disconnect(self):
        self.calls.append("disconnect")


class Config(SimpleNamespace):
    def __init__(self, port, id=None):
        super().__init__(port=port, id=id)


class TeleoperatorConfig:
    @staticmethod
    def get_known_choices():
        return {"so101_leader": Config}

    @staticmethod
    def get_choice_class(name):
        return {"so101_leader": Config}[name]


@pytest.fixture
def made(monkeypatch):
    made = []

    def make(config):
        made.append(Teleoperator(config))
        return made[-1]

    package, tools = ModuleType("lerobot.teleoperators"), ModuleType("lerobot.utils.import_utils")
    for name, value in {
        "__path__": [], "TeleoperatorConfig": TeleoperatorConfig,
        "make_teleoperator_from_config": make,
    }.items():  # fmt: skip
        setattr(package, name, value)
    setattr(tools, "register_third_party_plugins", lambda: None)  # noqa: B010
    for module in (package, tools, ModuleType("lerobot"), ModuleType("lerobot.utils")):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    return made


def make_config(**changes):
    settings = json.dumps({"port": "/dev/ttyACM1"})
    return LeaderConfig(ArmModel("ur5e"), **{"joints": JOINTS, "settings": settings, **changes})


@pytest.fixture
def leader(made):
    leader = make_config().build()
    leader.connect()
    leader.begin(0.0, REACH_M)
    yield leader
    leader.disconnect()


@pytest.fixture
def arm(leader, made):
    return made[0]


def test_the_tool_goes_where_the_leaders_tool_goes(leader, arm):
    """Step by step, and not one step further."""
    assert leader.action().tolist() == [0, 0, 0, 0]
    place = tuple(np.add(HOME["ur5e"], [0.02, -0.01, 0.02, 0, 0, 0]).tolist())
    before, after = Kinematics(ArmModel("ur5e").spec(30.0)).place([HOME["ur5e"], place]).tool_m
    arm.put(place, gripper=100.0)
    actions = [leader.action() for _ in range(5)]
    assert np.abs(actions).max() <= 1
    gone_m = REACH_M * np.sum(actions, axis=0)[:3]
    assert gone_m == pytest.approx(after - before, abs=1e-6)
    assert np.linalg.norm(gone_m) > 0.01
    assert not actions[-1][:3].any()
    assert [action[3] for action in actions] == [-1.0] * 5


def test_what_was_moved_before_taking_over_moves_nothing(leader, arm):
    arm.put(np.add(HOME["ur5e"], 0.3))
    leader.begin(0.5, REACH_M)
    assert np.abs(leader.action()[:3]).max() < 1e-6


def test_a_leader_that_is_far_ahead_leaves_the_arm_behind(leader, arm):
    """Nothing goes on moving long after the hand has stopped."""
    arm.put(np.add(HOME["ur5e"], [0.8, 0, 0, 0, 0, 0]))
    moving = [bool(leader.action()[:3].any()) for _ in range(12)]
    assert moving == [True] * 6 + [False] * 6


def test_it_may_be_turned_and_scaled(made):
    straight, other = (
        make_config(**changes).build() for changes in ({}, {"turned_rad": math.pi, "scale": 0.5})
    )
    ways = []
    for leader in (straight, other):
        leader.connect()
        leader.begin(0.0, 1.0)
        made[-1].put(np.add(HOME["ur5e"], 0.1))
        ways.append(leader.action()[:3])
        leader.disconnect()
    assert ways[1] == pytest.approx(ways[0] * [-0.5, -0.5, 0.5], abs=1e-6)


def test_one_that_does_not_answer_stops_the_arm(leader, arm):
    arm.put(np.add(HOME["ur5e"], 0.1))
    arm.fails = True
    assert leader.action()[:3].tolist() == [0, 0, 0]
    assert leader.trouble == (
        "The leader 'so101_leader' is gone: Reading its position failed: There is no status packet!"
    )
    assert not leader.is_held
    assert (leader.words(), leader.words()) == ((Word.STOP,), ())
    leader.disconnect()
    arm.fails = False
    leader.connect()
    assert (leader.trouble, leader.is_held) == ("", True)


def test_what_is_no_number_stops_the_arm(leader, arm):
    arm.found["pan.pos"] = math.nan
    assert not leader.action()[:3].any()
    assert leader.words() == (Word.STOP,)


def test_a_leader_that_does_not_fit_is_named(made, monkeypatch):
    with pytest.raises(UnknownNameError, match=r"No LeRobot teleoperator named 'so101'\."):
        make_config(teleoperator="so101").build().connect()
    with pytest.raises(HardwareError, match="`settings` do not fit the teleoperator 'so101_lea"):
        make_config(settings='{"baud": 1}').build().connect()
    with pytest.raises(HardwareError, match=r"has no joint 'shoulder_pan_joint'\. It has"):
        make_config(joints=()).build().connect()
    with pytest.raises(ValueError, match="`settings` must be a JSON object"):
        make_config(settings="[]")
    monkeypatch.setattr(Teleoperator, "is_calibrated", False, raising=False)
    begin = Teleoperator.__init__

    def begin_uncalibrated(self, config):
        begin(self, config)
        self.is_calibrated = False

    monkeypatch.setattr(Teleoperator, "__init__", begin_uncalibrated)
    with pytest.raises(HardwareError, match=r"not calibrated, .* Run: lerobot-calibrate --teleop"):
        make_config().build().connect()
    assert made[-1].calls == ["connect", "disconnect"]

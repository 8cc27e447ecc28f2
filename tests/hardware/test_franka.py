"""The Franka driver over the real network protocol, against franky-sim in its own environment."""

import inspect
import os
import re
import socket
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("franky", reason="the extra 'franka' is not installed")
pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

import franky

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected, SafetyStop
from robopref.hardware import franka, franka_gripper, franka_link, franka_state
from robopref.hardware.arm_process import ArmProcess
from robopref.hardware.chunks import Chunk
from robopref.hardware.franka import FrankaArmConfig
from robopref.hardware.loop import LoopConfig
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmMode, OperatorAck, StopLevel
from tests.hardware.streams import command_to

SIDE = Path(__file__).parents[2] / ".venv-franka/bin/python"
CONTROLLER = Path(__file__).with_name("franka_controller.py")
ACK = OperatorAck("ann", "looked at it", 0.0)
SAFETY = SafetyConfig(speed_factor=0.3, off=("workspace",))


class Controller:
    """franky-sim in a process of its own."""

    def __init__(self):
        # The environment of the tests is not that of the simulator.
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(SIDE), str(CONTROLLER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, env=env,
        )  # fmt: skip
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._orders, self._answers = self._process.stdin, self._process.stdout
        self.host = self._answers.readline().strip()
        assert self.host, "franky-sim did not start"

    def tell(self, order):
        self._orders.write(order + "\n")
        self._orders.flush()

    def close(self):
        self._orders.close()
        self._process.wait(10)
        self._answers.close()


@pytest.fixture(scope="module")
def controller():
    if not SIDE.exists():
        pytest.skip("there is no .venv-franka; 'make peers' builds it (Pinocchio needs numpy 2)")
    running = Controller()
    yield running
    running.close()


def config_for(controller, **changes):
    return FrankaArmConfig(controller.host, realtime=False, **changes)


@pytest.fixture
def arm(controller):
    arm = config_for(controller).build()
    arm.connect()
    yield arm
    controller.tell("thaw")
    controller.tell("released")
    arm.disconnect()


def wait_for(arm, mode, timeout_s=2.0):
    deadline = time.monotonic() + timeout_s
    while (state := arm.read()).mode is not mode:
        assert time.monotonic() < deadline, f"still '{state.mode}', not '{mode}'"
        time.sleep(0.002)
    return state


def follow(arm, way, num):
    """Command the positions of `way(time)` at the arm's rate; return errors and times of calls."""
    period, errors, took = arm.spec.period_s, [], []
    begun = time.monotonic()
    for k in range(num):
        here, ahead = way(k * period), way((k + 1) * period)
        command = replace(
            command_to(ahead, time.monotonic()), velocity=tuple((ahead - here) / period)
        )
        before = time.monotonic()
        arm.servo(command)
        state = arm.read()
        took.append(time.monotonic() - before)
        assert state.mode is ArmMode.SERVO
        errors.append(np.abs(np.array(state.position) - here).max())
        time.sleep(max(0.0, begun + (k + 1) * period - time.monotonic()))
    return np.array(errors), np.array(took)


def test_it_goes_where_it_is_sent_and_never_waits(arm):
    assert arm.read().mode is ArmMode.READY
    assert arm.read().position == pytest.approx((0, 0, 0, -1.57, 0, 1.57, 0.785), abs=0.4)
    arm.start_servo()
    home = np.array(arm.read().position)
    errors, took = follow(arm, lambda t: home + 0.08 * (1 - np.cos(3 * t)), 150)
    assert errors.max() < SAFETY.tracking_error_rad
    assert np.median(took) < arm.spec.period_s / 10
    assert len(arm.read().effort) == 7
    with pytest.raises(ValueError, match="7 joint positions, got 'joint position' of 6 numbers"):
        arm.servo(command_to(home[:6], 0.0))


def test_a_new_target_takes_over_at_once(arm):
    arm.start_servo()
    home = np.array(arm.read().position)
    follow(arm, lambda t: home + 0.3 * t, 30)
    turned = home + 0.3 * 0.3
    follow(arm, lambda t: turned - 0.3 * t, 45)
    # Where it is has been turned back past the start, without a stop between.
    assert np.array(arm.read().position).mean() < home.mean()
    assert arm.read().mode is ArmMode.SERVO


@pytest.mark.parametrize("level", StopLevel)
def test_each_stop_brakes_from_any_thread_and_twice(arm, level):
    arm.start_servo()
    home = np.array(arm.read().position)
    follow(arm, lambda t: home - 0.3 * t, 30)
    assert max(map(abs, arm.read().velocity)) > 0.2
    for _ in range(2):
        thread = threading.Thread(target=arm.stop, args=(level,))
        thread.start()
        thread.join()
    deadline = time.monotonic() + 2
    while max(map(abs, (state := arm.read()).velocity)) > 0.02:
        assert time.monotonic() < deadline, state.velocity
    assert state.mode is (ArmMode.SERVO if level is StopLevel.HOLD else ArmMode.READY)
    assert state.faults == ()
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO


def test_a_reflex_is_a_stop_until_a_person_clears_it(arm, controller):
    arm.start_servo()
    controller.tell("reflex")
    state = wait_for(arm, ArmMode.PROTECTIVE_STOP)
    assert "cartesian_reflex" in {fault.code for fault in state.faults}
    with pytest.raises(HardwareError, match=r"'protective stop': cartesian reflex.*arm recover"):
        arm.start_servo()
    assert arm.read().mode is ArmMode.PROTECTIVE_STOP
    arm.recover(ACK)
    assert arm.read().faults == ()
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO


@pytest.mark.parametrize(
    ("order", "mode", "start"),
    [
        ("user-stop", ArmMode.ESTOP, "Release the user stop"),
        ("guiding", ArmMode.FREEDRIVE, "Somebody guides it by hand"),
    ],
)
def test_what_a_person_does_at_the_arm_refuses_a_start(arm, controller, order, mode, start):
    controller.tell(order)
    wait_for(arm, mode)
    with pytest.raises(HardwareError, match=start):
        arm.start_servo()
    if mode is ArmMode.ESTOP:
        with pytest.raises(HardwareError, match=start):
            arm.recover(ACK)
    controller.tell("released")
    wait_for(arm, ArmMode.READY)
    arm.start_servo()


def test_what_the_controller_cannot_clear_is_said(arm, controller):
    controller.tell("stubborn")
    wait_for(arm, ArmMode.PROTECTIVE_STOP)
    with pytest.raises(HardwareError, match="Clear the error in Desk"):
        arm.recover(ACK)
    assert arm.read().mode is ArmMode.PROTECTIVE_STOP


def test_a_lost_connection_is_a_fault_until_it_is_made_again(arm, controller):
    arm.start_servo()
    controller.tell("freeze")
    last = arm.read().time_s
    state = wait_for(arm, ArmMode.FAULT, 4.0)
    assert "was lost: UDP receive: Timeout" in state.faults[0].message
    assert state.time_s - last < 0.2
    before = time.monotonic()
    arm.read()
    arm.stop(StopLevel.CONTROLLED)
    assert time.monotonic() - before < arm.spec.period_s
    controller.tell("thaw")
    arm.recover(ACK)
    wait_for(arm, ArmMode.READY)
    arm.start_servo()


def test_it_can_be_pushed_and_holds_its_weight(arm):
    place = np.array(arm.read().position)
    arm.freedrive(on=True)
    assert arm.read().mode is ArmMode.FREEDRIVE
    arm.servo(command_to(place + 0.5, time.monotonic()))
    time.sleep(0.3)
    assert np.abs(np.array(arm.read().position) - place).max() < 0.05
    arm.freedrive(on=False)
    assert arm.read().mode is ArmMode.READY


def test_the_hand_opens_and_closes_beside(arm):
    arm.start_servo()
    home = arm.read().position
    for wanted in (0.9, 0.2):
        arm.servo(replace(command_to(home, time.monotonic()), gripper=wanted))
        deadline = time.monotonic() + 4
        while arm.read().gripper is None or abs(arm.read().gripper - wanted) > 0.05:
            assert time.monotonic() < deadline, arm.read().gripper
            time.sleep(0.02)


@pytest.mark.slow
def test_under_the_supervisor_it_keeps_its_limits_and_survives_a_reflex(controller):
    config = config_for(controller, gripper=False)
    spec = config.build().spec
    with ArmProcess(config, spec, SAFETY, LoopConfig()) as arm:
        start = np.array(arm.state().position)
        far = start.copy()
        far[5] = spec.position_max_rad[5] + 1.0
        send(arm, start, far)
        time.sleep(1.0)
        count, outcomes = arm.outcomes_since(0)
        assert count > 50
        sent = np.array(
            [record["sent"] for record in outcomes if np.isfinite(record["sent"]).all()]
        )
        assert sent[:, 5].max() <= spec.position_max_rad[5] - SAFETY.joint_margin_rad + 1e-9
        assert np.abs(np.diff(sent, axis=0)).max() * spec.rate_hz <= max(spec.velocity_max_rad_s)
        assert arm.state().position[5] > start[5] + 0.05
        controller.tell("reflex")
        wait_until(arm, is_running=False)
        arm.acknowledge("ann", "moved the box away")
        wait_until(arm, is_running=True)
        here = np.array(arm.state().position)
        send(arm, here, start)
        time.sleep(0.8)
        assert arm.state().position[5] < here[5] - 0.03
    assert arm.timing["num_steps"] > 100


def send(arm, start, goal):
    ways = np.linspace(0, 1, 15)[:, None]
    arm.send(Chunk(0, time.monotonic() + 0.1, 0.1, start + ways * (goal - start)))


def wait_until(arm, *, is_running):
    deadline = time.monotonic() + 5
    while True:
        try:
            arm.check_running()
            said = ""
        except SafetyStop as stop:
            said = str(stop)
        if (not said) is is_running:
            return
        assert time.monotonic() < deadline, said
        time.sleep(0.01)


def test_who_cannot_be_used_is_refused_before_power(controller, monkeypatch):
    with pytest.raises(HardwareError, match=r"127.0.0.77 is there, but does not take FCI"):
        FrankaArmConfig("127.0.0.77", realtime=False).build().connect()
    panda = config_for(controller, model="panda")
    pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")
    with pytest.raises(HardwareError, match=r"is 'fr3', whose '\w*joint6' turns from 0.44"):
        panda.build().connect()
    monkeypatch.setattr(franka_link, "REALTIME_KERNEL", Path("/nowhere"))
    with pytest.raises(HardwareError, match="kernel is not a real-time one"):
        FrankaArmConfig(controller.host).build().connect()


def test_an_address_where_nothing_is_is_named(monkeypatch):
    def refuse(address, timeout):
        raise TimeoutError("timed out")

    monkeypatch.setattr(socket, "create_connection", refuse)
    with pytest.raises(HardwareError, match=r"No arm answers at 172.16.0.2 \(timed out\)"):
        FrankaArmConfig(realtime=False).build().connect()
    arm = FrankaArmConfig().build()
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        arm.read()
    arm.stop(StopLevel.IMMEDIATE)
    arm.disconnect()
    arm.disconnect()


def test_its_options_are_checked_and_survive_being_written():
    config = FrankaArmConfig("172.16.0.3", stiffness_nm_rad=400.0)
    assert from_dict(FrankaArmConfig, to_dict(config)) == config
    with pytest.raises(ValueError, match="`model` must be one of"):
        FrankaArmConfig(model="ur5e")
    with pytest.raises(ValueError, match="`host` must be the address"):
        FrankaArmConfig(" ")
    with pytest.raises(ValueError, match="`stiffness_nm_rad` must"):
        FrankaArmConfig(stiffness_nm_rad=0.0)


def names_used(module, pattern):
    return set(re.findall(pattern, inspect.getsource(module)))


def test_every_call_of_the_sdk_exists_in_the_installed_wheel():
    calls = names_used(franka, r"\brobot\.(\w+)") | names_used(franka, r"_connected\(\)\.(\w+)")
    assert calls >= {"move", "stop", "recover_from_errors", "set_collision_behavior"}
    assert calls <= set(dir(franky.Robot))
    names = names_used(franka, r"(?:\bfranky|_sdk\(\)|_franky)\.([A-Z]\w+)")
    assert names >= {"JointImpedanceTrackingMotion", "JointReference", "TorqueStopMotion"}
    assert names | set(franka_link.ERRORS) | set(franka_link.ADVICE) <= set(dir(franky))
    motion = names_used(franka, r"motion\.(\w+)\(") - {"poll_motion", "join_motion"}
    assert motion <= set(dir(franky.JointImpedanceTrackingMotion))
    hand = names_used(franka_gripper, r"_hand\.(\w+)")
    assert hand == {"state", "move_async", "stop"}
    assert hand <= set(dir(franky.Gripper))
    state = names_used(franka, r"\bstate\.(q|dq|tau_J|time|robot_mode|current_errors)\b")
    assert state <= set(dir(franky.RobotState))
    assert {"max_width", "width"} <= set(dir(franky.GripperState))
    assert set(franka_state.MODES) == set(franky.RobotMode.__members__)
    assert {"wait"} <= set(dir(franky.BoolFuture))

import socket
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")
pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected
from robopref.hardware.arms import MODELS
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess, parse_address
from robopref.hardware.sim_messages import (
    Kind,
    command_bytes,
    command_of,
    json_of,
    state_bytes,
    state_from,
)
from robopref.hardware.sim_physics import SimController, SimulatedArm
from robopref.hardware.sim_scene import SimScene
from robopref.hardware.types import ArmMode, CommandKind, OperatorAck, StopLevel
from tests.hardware.streams import HOME, command_to, make_state

ACK = OperatorAck("ann", "looked at it", 0.0)


def make_arm(name="xarm7", **changes):
    return SimulatedArm(MODELS[name](), SimScene(), SimController(**changes))


def run(arm, seconds):
    for _ in range(round(seconds / arm.model.opt.timestep)):
        arm.step()


def follow(arm, way, num):
    """Command the positions of `way(time)`; return the greatest error at any moment."""
    period, errors = arm.spec.period_s, []
    for k in range(num):
        place, ahead = way(k * period), way((k + 1) * period)
        arm.command(tuple(ahead), tuple((ahead - place) / period), None)
        run(arm, period)
        errors.append(np.abs(arm.position - ahead).max())
    return max(errors)


@pytest.mark.parametrize("name", MODELS)
def test_it_goes_where_it_is_sent(name):
    arm = make_arm(name)
    arm.start_servo()
    home = np.array(HOME[name])
    assert follow(arm, lambda t: home - 0.1 * (1 - np.cos(2 * t)), 200) < 0.01
    assert arm.mode is ArmMode.SERVO


def test_without_commands_it_brakes_to_a_hold():
    arm = make_arm()
    arm.start_servo()
    home = np.array(HOME["xarm7"])
    follow(arm, lambda t: home + 0.5 * t, 20)
    moved = np.abs(arm.velocity).max()
    run(arm, 0.5)
    assert moved > 0.4
    assert np.abs(arm.velocity).max() < 0.01
    assert arm.mode is ArmMode.SERVO
    place = arm.position
    run(arm, 0.5)
    np.testing.assert_allclose(arm.position, place, atol=2e-3)


def press_on_the_floor(arm):
    """Bend the arm down until it hits the floor."""
    arm.start_servo()
    start = arm.position
    down = np.array([0, 1.6, 0, 0.0, 0, 0.0, 0])
    for k in range(600):
        arm.command(tuple(start + down * min(1.0, k / 200)), (0.0,) * 7, None)
        run(arm, arm.spec.period_s)
        if arm.mode is not ArmMode.SERVO:
            return


def test_a_hard_contact_is_a_protective_stop_until_a_person_clears_it():
    arm = make_arm()
    press_on_the_floor(arm)
    assert arm.mode is ArmMode.PROTECTIVE_STOP
    assert arm.state(0.0).faults[0].code in ("collision", "tracking")
    with pytest.raises(HardwareError, match="The controller is in the mode 'protective stop'"):
        arm.start_servo()
    arm.stop(StopLevel.CONTROLLED)
    assert arm.mode is ArmMode.PROTECTIVE_STOP
    arm.recover()
    arm.start_servo()
    assert arm.state(0.0).mode is ArmMode.SERVO


@pytest.mark.parametrize("level", StopLevel)
def test_each_stop_brakes_and_ends_in_its_mode(level):
    arm = make_arm()
    arm.start_servo()
    home = np.array(HOME["xarm7"])
    follow(arm, lambda t: home + 0.5 * t, 20)
    arm.stop(level)
    run(arm, 0.4)
    assert np.abs(arm.velocity).max() < 0.02
    modes = {StopLevel.HOLD: "servo", StopLevel.CONTROLLED: "ready", StopLevel.IMMEDIATE: None}
    assert arm.mode == (modes[level] or ArmMode.ESTOP)


def test_freedrive_holds_its_weight_and_can_be_pushed():
    arm = make_arm()
    arm.freedrive(on=True)
    place = arm.position
    run(arm, 0.5)
    assert np.abs(arm.position - place).max() < 0.05
    arm.data.qvel[:] += 0.5
    run(arm, 0.2)
    assert np.abs(arm.position - place).max() > 0.005
    arm.freedrive(on=False)
    assert arm.mode is ArmMode.READY
    arm.start_servo()
    with pytest.raises(HardwareError, match="cannot be pushed in the mode 'servo'"):
        arm.freedrive(on=True)
    with pytest.raises(HardwareError, match="cannot be put back while"):
        arm.reset()


@given(st.binary(max_size=300))
@settings(max_examples=200, deadline=None)
def test_what_is_no_message_is_dropped(data):
    for of in (lambda d: command_of(d, 7), lambda d: state_from(d, 7)):
        found = of(data)
        assert found is None or len(data) > 100
    content = json_of(data)
    assert content is None or isinstance(content["id"], int)


def test_messages_come_back_as_they_were():
    home = HOME["xarm7"]
    state = make_state(home, 5.0, gripper=0.25, effort=(1.0,) * 7)
    assert state_from(state_bytes(state), 7) == state
    assert command_of(command_bytes(home, (), None), 7) == (home, (0.0,) * 7, None)
    bad = command_bytes((float("nan"), *home[1:]), (), 1.0)
    assert command_of(bad, 7) is None


@pytest.fixture(scope="module")
def controller():
    with SimProcess(to_dict(SimArmConfig())) as process:
        yield process


def address_of(process):
    return "{}:{}".format(*process.address)


@pytest.fixture
def arm(controller):
    arm = SimArmConfig(address=address_of(controller)).build()
    arm.connect()
    yield arm
    arm.recover(ACK)
    arm.disconnect()


def test_the_driver_moves_the_arm_of_a_controller(arm):
    assert arm.read().mode is ArmMode.READY
    arm.start_servo()
    home = np.array(arm.read().position)
    for k in range(60):
        target = home + 0.1 * min(1.0, k / 50)
        arm.servo(command_to(target, time.monotonic()))
        time.sleep(0.01)
    np.testing.assert_allclose(arm.read().position, home + 0.1, atol=0.01)
    arm.stop(StopLevel.CONTROLLED)
    time.sleep(0.05)
    assert arm.read().mode is ArmMode.READY
    with pytest.raises(ValueError, match="7 joint positions, got 'hold'"):
        arm.servo(command_to((), 0.0, CommandKind.HOLD))


def test_one_client_moves_and_others_only_look_and_stop(arm, controller):
    arm.start_servo()
    other = SimLink(controller.address)
    with pytest.raises(HardwareError, match="Somebody else moves the arm"):
        other.ask("hello")
    with pytest.raises(HardwareError, match="Somebody else has the arm"):
        other.ask("recover", user="ann")
    with pytest.raises(HardwareError, match="cannot be put back while the arm follows"):
        other.ask("reset")
    with pytest.raises(HardwareError, match="Nothing is known of 'format'"):
        other.ask("format")
    assert len(other.ask("scene")["qpos"]) == 7
    other.ask("stop", level=1)
    assert other.ask("scene")["mode"] == "ready"
    other.close()


def test_a_client_that_is_silent_loses_the_arm(arm, controller):
    arm.start_servo()
    time.sleep(1.2)
    other = SimLink(controller.address)
    assert other.ask("scene")["mode"] == "ready"
    other.close()


def test_who_cannot_be_reached_or_is_another_is_named(controller):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        with pytest.raises(HardwareError, match=f"No controller answers at 127.0.0.1:{port}"):
            SimArmConfig(address=f"127.0.0.1:{port}").build().connect()
    with pytest.raises(HardwareError, match="has the arm 'xarm7', not 'ur5e'"):
        SimArmConfig("ur5e", address_of(controller)).build().connect()
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        SimArmConfig().build().read()
    with pytest.raises(ValueError, match="must read HOST:PORT"):
        parse_address("robot")


def test_a_controller_of_its_own_ends_with_the_driver():
    arm = SimArmConfig("ur5e").build()
    arm.connect()
    assert arm._started is not None
    link = SimLink(arm._started.address)
    link.ask("scene")
    arm.disconnect()
    with pytest.raises(HardwareError, match="No controller answers"):
        link.ask("scene")
    link.close()
    arm.disconnect()


def test_a_scene_that_does_not_fit_is_refused(tmp_path):
    path = tmp_path / "other.xml"
    path.write_text("<mujoco><worldbody><body name='right_hand'/></worldbody></mujoco>")
    with pytest.raises(HardwareError, match="names the joint 'joint1'"):
        SimProcess(to_dict(SimArmConfig(scene=SimScene(path))))
    with pytest.raises(HardwareError, match="has 7 positions, got 2"):
        SimulatedArm(MODELS["xarm7"](), SimScene(position=(0.0, 0.0)), SimController())


def test_the_config_survives_being_written():
    config = SimArmConfig("ur5e", controller=SimController(contact_n=20.0))
    assert from_dict(SimArmConfig, to_dict(config)) == config


def test_garbage_does_not_disturb_a_controller(arm, controller):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        rng = np.random.default_rng(0)
        for _ in range(300):
            kind = bytes([int(rng.choice([int(k) for k in Kind]))])
            stranger.sendto(kind + rng.bytes(int(rng.integers(0, 200))), controller.address)
        stranger.sendto(bytes([Kind.REQUEST]) + b'{"id": 1, "do": "stop"}', controller.address)
        stranger.sendto(bytes([Kind.REQUEST]) + b'{"id": 1, "do": []}', controller.address)
        stranger.sendto(command_bytes((0.0,) * 7, (), None), controller.address)
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO

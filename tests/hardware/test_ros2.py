# ruff: noqa: N802  Autobahn names its methods in camel case.
"""The driver with the real roslibpy, against a server that speaks rosbridge's protocol."""

import json
import math
import threading
import time
from typing import Any

import numpy as np
import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")
pytest.importorskip("roslibpy", reason="the extra 'ros2' is not installed")

from autobahn.twisted.websocket import WebSocketServerFactory, WebSocketServerProtocol
from twisted.internet import reactor as _reactor
from twisted.internet.threads import blockingCallFromThread

from robopref.config import from_dict, to_dict
from robopref.errors import HardwareError, NotConnected
from robopref.hardware.ros2 import Ros2ArmConfig
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmMode, OperatorAck, StopLevel
from tests.hardware.streams import HOME, command_to

reactor: Any = _reactor
ACK = OperatorAck("ann", "looked at it", 0.0)
JOINTS = tuple(f"left_{k}" for k in range(6))
SERVICES = {
    "start_service": "/enable", "stop_service": "/halt", "recover_service": "/reset"
}  # fmt: skip


class Bridge:
    """rosbridge with an arm behind it, whose joint states it publishes fifty times a second."""

    def __init__(self):
        self.received: list[dict[str, Any]] = []
        self.sockets: list[Any] = []
        self.position = list(HOME["ur5e"])
        self.names, self.changes, self.is_silent = JOINTS, {}, False
        self.refuses = set()
        bridge = self

        class Socket(WebSocketServerProtocol):
            def onOpen(self):
                bridge.sockets.append(self)

            def onClose(self, wasClean, code, reason):
                del wasClean, code, reason
                if self in bridge.sockets:  # It closes before it opens where it was refused.
                    bridge.sockets.remove(self)

            def onMessage(self, payload, isBinary):
                del isBinary
                bridge.take(self, json.loads(payload))

        factory = WebSocketServerFactory()
        factory.protocol = Socket
        self.port = in_reactor(lambda: reactor.listenTCP(0, factory, interface="127.0.0.1"))
        self.number = self.port.getHost().port
        self.is_running = True
        self.thread = threading.Thread(target=self.publish_states)
        self.thread.start()

    def take(self, socket, message):
        self.received.append(message)
        if message["op"] == "call_service":
            name = message["service"]
            values = {"success": name not in self.refuses, "message": "the key is out"}
            answer = {
                "op": "service_response", "id": message["id"], "service": name, "values": values,
                "result": True,
            }  # fmt: skip
            socket.sendMessage(json.dumps(answer).encode())
        if message["op"] == "publish" and "points" in message["msg"]:
            self.position = message["msg"]["points"][-1]["positions"]

    def publish_states(self):
        count = 0
        while self.is_running:
            count += 1
            # In an order of their own, with a joint of somebody else among them.
            order = [5, 3, 1, 0, 2, 4]
            state = {
                "header": {"stamp": {"sec": 1, "nanosec": count}, "frame_id": ""},
                "name": ["wheel", *(self.names[k] for k in order)],
                "position": [9.0, *(self.position[k] for k in order)],
                "velocity": [9.0, *(0.1 * k for k in order)],
                "effort": [],
                **self.changes,
            }
            text = json.dumps({"op": "publish", "topic": "/joint_states", "msg": state}).encode()
            if not self.is_silent:
                reactor.callFromThread(self.send, text)
            time.sleep(0.02)

    def send(self, text):
        for socket in self.sockets:
            socket.sendMessage(text)

    def of(self, op):
        return [message for message in self.received if message["op"] == op]

    def drop(self):
        in_reactor(lambda: [socket.transport.abortConnection() for socket in list(self.sockets)])

    def close(self):
        self.is_running = False
        self.thread.join()
        in_reactor(self.port.stopListening)
        self.drop()


def in_reactor(call):
    """Return what a call returns; everything of twisted has to run in its one thread."""
    if not reactor.running:
        threading.Thread(target=reactor.run, args=(False,), daemon=True).start()
    return blockingCallFromThread(reactor, call)


@pytest.fixture
def bridge():
    bridge = Bridge()
    yield bridge
    bridge.close()


def make_arm(bridge, **changes):
    return Ros2ArmConfig(f"127.0.0.1:{bridge.number}", joints=JOINTS, **changes).build()


@pytest.fixture
def arm(bridge):
    arm = make_arm(bridge, **SERVICES)
    arm.connect()
    yield arm
    arm.disconnect()


def wait_for(what):
    end = time.monotonic() + 5
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def follow(arm, target):
    arm.servo(command_to(target, time.monotonic()))


def test_it_reads_its_own_joints_in_its_own_order(arm, bridge):
    state = arm.read()
    age_s = time.monotonic() - state.time_s
    assert state.position == pytest.approx(HOME["ur5e"])
    assert state.velocity == pytest.approx([0.1 * k for k in range(6)])
    assert state.mode is ArmMode.READY
    assert age_s < 0.1
    (subscribed,) = bridge.of("subscribe")
    assert (subscribed["type"], subscribed["queue_length"]) == ("sensor_msgs/msg/JointState", 1)


def test_it_streams_trajectories_of_one_point(arm, bridge):
    arm.start_servo()
    assert arm.read().mode is ArmMode.SERVO
    for k in range(20):
        follow(arm, np.add(HOME["ur5e"], 0.005 * k))
        time.sleep(0.01)
    wait_for(lambda: len(bridge.of("publish")) == 20)
    first = bridge.of("publish")[0]
    assert first["topic"] == "/joint_trajectory_controller/joint_trajectory"
    assert first["msg"]["joint_names"] == list(JOINTS)
    assert first["msg"]["points"] == [
        {"positions": list(HOME["ur5e"]), "time_from_start": {"sec": 0, "nanosec": 40_000_000}}
    ]
    wait_for(lambda: np.allclose(arm.read().position, np.add(HOME["ur5e"], 0.095)))
    (advertised,) = bridge.of("advertise")
    assert advertised["type"] == "trajectory_msgs/msg/JointTrajectory"


def test_it_streams_plain_positions(bridge):
    arm = make_arm(bridge, command="positions", command_topic="/forward/commands")
    arm.connect()
    arm.start_servo()
    follow(arm, HOME["ur5e"])
    wait_for(lambda: bridge.of("publish"))
    assert bridge.of("publish")[0]["msg"] == {"data": list(HOME["ur5e"])}
    assert bridge.of("call_service") == []
    arm.disconnect()


def test_each_stop_calls_its_service_once_and_ends_in_its_mode(arm, bridge):
    arm.start_servo()
    arm.stop(StopLevel.HOLD)
    assert arm.read().mode is ArmMode.SERVO
    for _ in range(3):
        arm.stop(StopLevel.CONTROLLED)
    assert arm.read().mode is ArmMode.READY
    follow(arm, HOME["ur5e"])
    wait_for(lambda: len(bridge.of("call_service")) == 2)
    arm.stop(StopLevel.IMMEDIATE)
    assert arm.read().mode is ArmMode.ESTOP
    with pytest.raises(HardwareError, match="'emergency stop': acknowledge the stop first"):
        arm.start_servo()
    arm.recover(ACK)
    assert arm.read().mode is ArmMode.READY
    called = [message["service"] for message in bridge.of("call_service")]
    assert called == ["/enable", "/halt", "/halt", "/reset"]
    assert bridge.of("publish") == []


def test_a_service_that_refuses_is_believed(arm, bridge):
    bridge.refuses = {"/enable", "/reset"}
    with pytest.raises(HardwareError, match="the service '/enable' refuses: the key is out"):
        arm.start_servo()
    assert arm.read().mode is ArmMode.READY
    with pytest.raises(HardwareError, match="the service '/reset' refuses"):
        arm.recover(ACK)


def test_a_stop_that_is_refused_is_a_fault(arm, bridge):
    arm.start_servo()
    bridge.refuses = {"/halt"}
    arm.stop(StopLevel.CONTROLLED)
    wait_for(lambda: arm.read().mode is ArmMode.FAULT)
    assert "'/halt' refuses" in arm.read().faults[0].message


def test_a_lost_connection_is_seen_and_nothing_old_is_sent_after_it(arm, bridge):
    """roslibpy keeps what is published meanwhile, and sends it when it has reconnected."""
    arm.start_servo()
    bridge.drop()
    wait_for(lambda: arm.read().mode is ArmMode.DISCONNECTED)
    follow(arm, HOME["ur5e"])
    wait_for(lambda: arm.read().mode is ArmMode.READY)
    follow(arm, HOME["ur5e"])
    wait_for(lambda: time.monotonic() - arm.read().time_s < 0.05)
    assert bridge.of("publish") == []
    arm.start_servo()
    follow(arm, HOME["ur5e"])
    wait_for(lambda: bridge.of("publish"))


def test_a_state_that_repeats_itself_or_stays_out_becomes_old(arm, bridge):
    bridge.changes = {"header": {"stamp": {"sec": 7, "nanosec": 7}}}
    wait_for(lambda: time.monotonic() - arm.read().time_s > 0.1)
    bridge.changes = {}
    wait_for(lambda: time.monotonic() - arm.read().time_s < 0.05)
    bridge.is_silent = True
    wait_for(lambda: time.monotonic() - arm.read().time_s > 0.1)


def test_what_is_missing_in_a_state_is_made_up_for_or_no_number(arm, bridge):
    bridge.changes = {"velocity": []}
    bridge.position = [place + 0.001 for place in bridge.position]
    wait_for(lambda: arm.read().velocity == (0.0,) * 6)
    bridge.changes = {"position": [9.0, None, *HOME["ur5e"][1:]]}
    wait_for(lambda: any(map(math.isnan, arm.read().position)))


def test_an_arm_that_is_not_there_is_named(bridge, monkeypatch):
    monkeypatch.setattr("robopref.hardware.ros2.ANSWER_S", 0.3)
    bridge.names = tuple(f"right_{k}" for k in range(6))
    arm = make_arm(bridge)
    begun = time.monotonic()
    with pytest.raises(HardwareError, match=r"a joint state has no 'left_0'; it has \['right_0'"):
        arm.connect()
    assert time.monotonic() - begun < 3


def test_who_cannot_be_reached_is_named_in_time(bridge):
    with pytest.raises(HardwareError, match=r"No controller answers at 127\.0\.0\.1:1: .*refused"):
        Ros2ArmConfig("127.0.0.1:1").build().connect()
    with pytest.raises(ValueError, match="must read HOST:PORT"):
        Ros2ArmConfig("robot")
    with pytest.raises(ValueError, match="`joints` must name the 6 joints of 'ur5e', got 2"):
        Ros2ArmConfig(joints=("a", "b")).build()


def test_letting_go_stops_and_may_be_done_twice(arm, bridge):
    arm.start_servo()
    arm.disconnect()
    arm.disconnect()
    assert bridge.of("call_service")[-1]["service"] == "/halt"
    with pytest.raises(NotConnected, match=r"Call connect\(\) first"):
        arm.read()


def test_what_makes_no_sense_is_refused(arm):
    arm.start_servo()
    with pytest.raises(ValueError, match="A driver takes 6 joint positions"):
        follow(arm, HOME["xarm7"])
    with pytest.raises(HardwareError, match="ROS has no common way to let an arm be pushed"):
        arm.freedrive(on=True)
    assert arm.apply_native_limits(SafetyConfig(off=("workspace",))) == frozenset()


def test_the_config_survives_being_written():
    config = Ros2ArmConfig(joints=JOINTS, command="positions")
    assert from_dict(Ros2ArmConfig, to_dict(config)) == config

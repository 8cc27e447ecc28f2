"""Any arm that a ROS 2 system moves, reached through rosbridge, without ROS on this side.

Joint states come in on one topic, positions go out on another, for a joint trajectory controller or
a forward position controller. ROS has no common word for protective stops and modes: what a maker's
ROS driver does about them stays with it, and services of the kind std_srvs/Trigger may be named for
starting, stopping and recovering.

Shapes: J joints.
"""

import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from typing import Any

from robopref.errors import HardwareError, NotConnected, check_above, check_between, check_choice
from robopref.hardware.arm_model import ArmModel, names_for
from robopref.hardware.courier import Courier, reach, said_of, wait_until
from robopref.hardware.driver import check_servo
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.sim_link import parse_address
from robopref.hardware.types import (
    ArmCommand,
    ArmMode,
    ArmState,
    Fault,
    Joints,
    OperatorAck,
    StopLevel,
)
from robopref.registry import import_extra

ANSWER_S = 5.0
"""How long rosbridge and a service may take [s]."""
MESSAGES = {
    "trajectory": "trajectory_msgs/msg/JointTrajectory",
    "positions": "std_msgs/msg/Float64MultiArray",
}
"""What a controller takes."""


@dataclass(frozen=True)
class Ros2ArmConfig:
    """Any arm of a ROS 2 system, through rosbridge."""

    address: str = "127.0.0.1:9090"
    """HOST:PORT of rosbridge."""
    model: ArmModel = field(default_factory=lambda: ArmModel("ur5e"))
    """Which arm it is."""
    joints: tuple[str, ...] = ()
    """What ROS calls its joints, in the model's order; empty takes the model's names."""
    rate_hz: float = 50.0
    """Positions a second."""
    state_topic: str = "/joint_states"
    """Where sensor_msgs/JointState comes from."""
    command_topic: str = "/joint_trajectory_controller/joint_trajectory"
    """Where positions go to."""
    command: str = "trajectory"
    """trajectory (of one point) or positions (of a forward controller, in its order of joints)."""
    reach_s: float = 0.04
    """With trajectory: when a position has to be reached [s]; about two periods are smooth."""
    start_service: str = ""
    """Trigger that is called before motion begins; empty calls none."""
    stop_service: str = ""
    """Trigger that is called to stop; empty only sends nothing more."""
    recover_service: str = ""
    """Trigger that is called on a person's acknowledgement; empty calls none."""

    def __post_init__(self) -> None:
        """Check form and ranges."""
        parse_address(self.address)
        check_choice("command", self.command, MESSAGES)
        check_between("rate_hz", self.rate_hz, 1, 500)
        check_above("reach_s", self.reach_s, 0)

    def build(self) -> "Ros2Arm":
        """Return the driver."""
        return Ros2Arm(self)


class Ros2Arm:
    """Talks to rosbridge.

    Args:
        config: Which arm, and where.

    Raises:
        ValueError: ROS's names are not as many as the joints.
    """

    def __init__(self, config: Ros2ArmConfig) -> None:
        self.config = config
        # Efforts have the unit that a maker gives them.
        self.spec = replace(config.model.spec(config.rate_hz), effort_max_nm=())
        self.joints = names_for(self.spec, config.joints)
        self._ros: Any = None
        self._command_topic: Any = None
        self._courier: Courier | None = None
        self._lock = threading.Lock()
        self._state: tuple[float, Joints, Joints] | None = None
        self._stamp: Any = None
        self._missing = ""
        self._mode = ArmMode.READY
        self._stopped: StopLevel | None = None

    def connect(self) -> None:
        """Reach rosbridge and wait for a joint state.

        Raises:
            HardwareError: It does not answer, or the topic is silent or of another arm.
            MissingExtraError: roslibpy is not installed.
        """
        if self._courier is not None:
            return
        sdk = import_extra("roslibpy", purpose="The ROS 2 driver", extra="ros2")
        make_ros, make_topic = sdk.Ros, sdk.Topic
        host, port = parse_address(self.config.address)
        reach(host, port)
        self._courier = Courier(f"rosbridge at {host}:{port}")
        self._state, self._stamp, self._missing = None, None, ""
        self._mode, self._stopped = ArmMode.READY, None
        ros = self._ros = make_ros(host, port)
        try:
            self._courier.ask(lambda: ros.run(timeout=ANSWER_S), ANSWER_S + 1, "Connecting")
            config = self.config
            # Only the newest is of use; a state that waited would be of then, not of now.
            state_topic = make_topic(
                ros, config.state_topic, "sensor_msgs/msg/JointState", queue_length=1
            )
            state_topic.subscribe(self._take_state)
            self._command_topic = make_topic(ros, config.command_topic, MESSAGES[config.command])
            command_topic = self._command_topic
            command_topic.advertise()
            if not wait_until(lambda: self._state is not None, ANSWER_S):
                said = self._missing or f"'{config.state_topic}' is silent"
                raise HardwareError(
                    f"rosbridge at {host}:{port} answers, but {said}. Is the arm's ROS driver "
                    "running, and the topic right?"
                )
        except HardwareError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Let go of the arm, which stands at the last position that it was sent."""
        courier, ros = self._courier, self._ros
        if courier is None:
            return
        if self._mode is ArmMode.SERVO:
            self.stop(StopLevel.CONTROLLED)
        with contextlib.suppress(HardwareError):
            courier.ask(lambda: ros.close(timeout=ANSWER_S), ANSWER_S + 1, "Disconnecting")
        courier.close()
        self._courier = self._ros = self._command_topic = None
        self._mode = ArmMode.READY

    def read(self) -> ArmState:
        """Return the newest state that came."""
        courier, ros = self._connected(), self._ros
        with self._lock:
            state = self._state
        if state is None:
            raise NotConnected("No state of the arm came yet; call connect() first.")
        mode, faults = self._mode, tuple[Fault, ...]()
        if not ros.is_connected:
            # It reconnects by itself; the arm is ours again only after a start.
            self._mode = ArmMode.ESTOP if self._mode is ArmMode.ESTOP else ArmMode.READY
            mode, faults = ArmMode.DISCONNECTED, (Fault("connection", "rosbridge is gone"),)
        elif courier.trouble:
            mode, faults = ArmMode.FAULT, (Fault("service", courier.trouble),)
        return ArmState(*state, mode, faults=faults)

    def start_servo(self) -> None:
        """Call the service that starts, if there is one, and follow commands from now on.

        Raises:
            HardwareError: rosbridge is gone, the service refuses, or a stop was not acknowledged.
        """
        courier = self._connected()
        state = self.read()
        if state.faults or state.mode is ArmMode.ESTOP:
            raise HardwareError(said_of(state))
        courier.ask(lambda: self._trigger(self.config.start_service), ANSWER_S + 1, "Starting")
        self._mode, self._stopped = ArmMode.SERVO, None

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period."""
        target = [float(place) for place in check_servo(command, self.spec.num_joints)]
        self._connected()
        ros, command_topic = self._ros, self._command_topic
        # Without a connection roslibpy would keep it, and send it when it is long out of date.
        if self._mode is ArmMode.SERVO and ros.is_connected:
            self._stopped = None
            command_topic.publish(self._message(target))

    def stop(self, level: StopLevel) -> None:
        """Send nothing more, and call the service that stops; again it changes nothing."""
        courier = self._courier
        if courier is None or (self._stopped is not None and level >= self._stopped):
            return
        self._stopped = level
        if level is StopLevel.HOLD:
            return  # It stands at the last position that it was sent.
        self._mode = ArmMode.ESTOP if level is StopLevel.IMMEDIATE else ArmMode.READY
        courier.stop(lambda: self._trigger(self.config.stop_service))

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Take none: ROS has no common way to set them."""
        del config
        return frozenset()

    def recover(self, ack: OperatorAck) -> None:
        """Call the service that recovers, if there is one.

        Raises:
            HardwareError: It refuses.
        """
        del ack
        courier = self._connected()
        courier.ask(lambda: self._trigger(self.config.recover_service), ANSWER_S + 1, "Recovering")
        courier.forget()
        self._mode, self._stopped = ArmMode.READY, None

    def freedrive(self, *, on: bool) -> None:
        """Refuse.

        Raises:
            HardwareError: ROS has no common way to do it.
        """
        if on:
            raise HardwareError(
                "ROS has no common way to let an arm be pushed; use its own, such as a button."
            )

    def _take_state(self, message: dict[str, Any]) -> None:
        """Keep a joint state that has all of the arm's joints; others come on the topic, too."""
        places = {name: k for k, name in enumerate(message.get("name") or ())}
        missing = [name for name in self.joints if name not in places]
        if missing:
            self._missing = f"a joint state has no '{missing[0]}'; it has {sorted(places)}"
            return
        now_s: float = time.monotonic()
        stamp: dict[str, Any] = (message.get("header") or {}).get("stamp") or {}
        order = [places[name] for name in self.joints]
        position = _numbers(message.get("position"), order)
        with self._lock:
            before = self._state
            # A driver that repeats itself says nothing of now; without a stamp it cannot be told.
            is_repeated = any(stamp.values()) and stamp == self._stamp
            if before is not None and is_repeated:
                return
            velocity = _numbers(message.get("velocity"), order)
            if not message.get("velocity"):
                passed = 1.0 if before is None else max(now_s - before[0], 1e-3)
                start = position if before is None else before[1]
                velocity = tuple((b - a) / passed for a, b in zip(start, position, strict=True))
            self._stamp, self._state = stamp, (now_s, position, velocity)

    def _message(self, target: list[float]) -> dict[str, Any]:
        if self.config.command == "positions":
            return {"data": target}
        # Without a velocity: controllers refuse a last point that is to be passed through.
        seconds, rest = divmod(self.config.reach_s, 1.0)
        due = {"sec": int(seconds), "nanosec": int(1e9 * rest)}
        return {
            "joint_names": list(self.joints),
            "points": [{"positions": target, "time_from_start": due}],
        }

    def _trigger(self, name: str) -> None:
        """Call a service of the kind std_srvs/Trigger; none where there is no name."""
        if not name:
            return
        sdk = import_extra("roslibpy", purpose="The ROS 2 driver", extra="ros2")
        make_service, make_request = sdk.Service, sdk.ServiceRequest
        service = make_service(self._ros, name, "std_srvs/srv/Trigger")
        answer = service.call(make_request(), timeout=ANSWER_S)
        if not answer.get("success"):
            raise HardwareError(f"the service '{name}' refuses: {answer.get('message', '')}")

    def _connected(self) -> Courier:
        if self._courier is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._courier


def _numbers(values: Any, order: list[int]) -> Joints:
    """Return values in the arm's order; JSON has null for what is not a number.

    Example:
        >>> _numbers([1.0, None, 3.0], [2, 1])
        (3.0, nan)
    """
    values = values or ()
    found = (values[k] if k < len(values) else None for k in order)
    return tuple(float("nan") if value is None else float(value) for value in found)

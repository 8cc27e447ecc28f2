"""A UFACTORY xArm, by its Python SDK: joint positions in its servo mode.

Its controller reports positions a hundred times a second on a connection of its own, so a call that
blocks (some take 190 ms) makes no state old. Errors are asked for when the reported state tells of
one. The SDK speaks degrees and millimetres unless it is told otherwise.

Shapes: J joints.
"""

import contextlib
import math
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from robopref.errors import HardwareError, NotConnected, check_between
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.courier import Courier, reach, said_of, wait_until
from robopref.hardware.driver import check_servo
from robopref.hardware.gripper import Gripper
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.track import Track
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, Fault, OperatorAck, StopLevel
from robopref.hardware.workspace import Box
from robopref.hardware.xarm_gripper import XArmHand
from robopref.registry import import_extra

CONTROL_PORT = 502
ANSWER_S, CONNECT_S = 3.0, 15.0
"""How long a call, and connecting, may take [s]."""
POSITION_MODE, SERVO_MODE, TEACH_MODE = 0, 1, 2
MOVE_STATE, STOP_STATE = 0, 4
STOPPED_STATES = (4, 5)
"""Of its modes and states."""
TAKEN = (0, 2)
"""Return codes of a call that was carried out; 2 means that a warning stands."""
ERRORS = {
    1: (ArmMode.ESTOP, "the emergency stop button is pressed; release it"),
    2: (ArmMode.ESTOP, "the emergency input of the control box is open; close it"),
    22: (ArmMode.PROTECTIVE_STOP, "it would have hit itself; move it apart by hand"),
    23: (ArmMode.PROTECTIVE_STOP, "a joint is out of its range; move it back by hand"),
    24: (ArmMode.PROTECTIVE_STOP, "too fast for the controller; lower the speeds"),
    31: (ArmMode.PROTECTIVE_STOP, "it hit something; look at the arm, and at its payload"),
    35: (ArmMode.PROTECTIVE_STOP, "it left the controller's safety boundary; move it back by hand"),
}
"""Controller errors that have a mode of their own, and what to do."""


@dataclass(frozen=True)
class XArmConfig:
    """A UFACTORY xArm."""

    address: str = ""
    """The control box's IP address; it is printed on the box."""
    model: ArmModel = field(default_factory=lambda: ArmModel("xarm7"))
    """Which arm it is."""
    rate_hz: float = 100.0
    """Positions a second, up to 250."""
    collision_sensitivity: int = 3
    """How light a contact stops it, 1 to 5."""
    gripper: Literal["none", "g1", "g2"] = "none"
    """Which gripper of UFACTORY's it has: the xArm Gripper, g1, or the xArm Gripper G2."""

    def __post_init__(self) -> None:
        """Check what the controller would refuse."""
        check_between("rate_hz", self.rate_hz, 1, 250)
        check_between("collision_sensitivity", self.collision_sensitivity, 1, 5)

    def build(self) -> "XArm":
        """Return the driver."""
        return XArm(self)


class XArm:
    """Talks to the control box.

    Args:
        config: Which arm, and where.
    """

    def __init__(self, config: XArmConfig) -> None:
        self.config = config
        spec = config.model.spec(config.rate_hz)
        self.spec = replace(spec, native=frozenset({"workspace", "tool-speed", "speed", "contact"}))
        self._api: Any = None
        self._courier: Courier | None = None
        self._mode = ArmMode.READY
        self._stopped: StopLevel | None = None
        self._gripper: Gripper | None = None
        self._track = Track()
        self._error = 0

    def connect(self) -> None:
        """Reach the control box; motors stay as they are.

        Raises:
            HardwareError: It does not answer, or has another arm.
            MissingExtraError: The SDK is not installed.
        """
        if self._courier is not None:
            return
        sdk = import_extra("xarm.wrapper", purpose="The xArm driver", extra="xarm")
        make_api = sdk.XArmAPI
        reach(self.config.address, CONTROL_PORT)
        # The SDK takes a host's name for a serial port.
        address = socket.gethostbyname(self.config.address)
        api = make_api(address, is_radian=True, do_not_open=True, report_type="real")
        self._courier, self._api = Courier(f"the control box at {address}"), api
        self._mode, self._stopped, self._error = ArmMode.READY, None, 0
        self._track.clear()
        try:
            api.register_report_callback(self._take_report)
            self._ask(lambda: api.connect(), "Connecting", CONNECT_S)
            if api.axis != self.spec.num_joints:
                raise HardwareError(
                    f"The control box at {address} has an arm of {api.axis} joints, "
                    f"'{self.spec.name}' has {self.spec.num_joints}."
                )
            if not wait_until(lambda: self._track.newest() is not None, ANSWER_S):
                raise HardwareError(f"The control box at {address} answers, but reports no state.")
            self._ask(self._look_for_error, "Asking for errors")
            if self.config.gripper != "none":
                # One of its calls would be a gap in the stream of positions.
                hand = make_api(
                    address, is_radian=True, do_not_open=True, report_type="real"
                )  # fmt: skip
                self._ask(lambda: hand.connect(), "Connecting to the gripper", CONNECT_S)
                try:
                    self._gripper = Gripper(XArmHand(hand, self.config.gripper))
                except HardwareError:
                    hand.disconnect()
                    raise
        except HardwareError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Let go of the arm, which stops."""
        courier, api = self._courier, self._api
        if courier is None:
            return
        if self._mode is ArmMode.SERVO:
            courier.stop(lambda: api.set_state(STOP_STATE))
        if self._gripper is not None:
            self._gripper.close()
            self._gripper = None
        with contextlib.suppress(HardwareError):
            courier.ask(lambda: api.disconnect(), ANSWER_S, "Disconnecting")
        courier.close()
        self._courier, self._api, self._mode = None, None, ArmMode.READY

    def read(self) -> ArmState:
        """Return the newest state that was reported."""
        self._connected()
        num, api = self.spec.num_joints, self._api
        newest = self._track.newest()
        if newest is None:
            raise NotConnected("No state of the arm came yet; call connect() first.")
        mode, faults = self._judge()
        effort = tuple(float(torque) for torque in api.joints_torque[:num])
        opening = None if self._gripper is None else self._gripper.opening
        return ArmState(*newest, mode, effort, opening, faults)

    def start_servo(self) -> None:
        """Enable the motors, and the mode that follows a stream of positions.

        Raises:
            HardwareError: The controller has an error, or refuses.
        """
        state = self.read()
        if state.faults or state.mode is ArmMode.ESTOP:
            raise HardwareError(said_of(state))
        api = self._api
        self._connected().forget()
        self._do(lambda: api.motion_enable(enable=True), "Enabling the motors")
        self._do(lambda: api.set_mode(SERVO_MODE), "Choosing the servo mode")
        self._do(lambda: api.set_state(MOVE_STATE), "Letting it move")
        if not wait_until(lambda: api.mode == SERVO_MODE and not self._is_stopped(), ANSWER_S):
            raise HardwareError("The controller did not enter its servo mode.")
        self._mode, self._stopped = ArmMode.SERVO, None

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period."""
        target = [float(place) for place in check_servo(command, self.spec.num_joints)]
        courier = self._connected()
        if self._mode is ArmMode.SERVO:
            self._stopped = None
            courier.send(lambda: self._servo_to(target))
            if command.gripper is not None and self._gripper is not None:
                self._gripper.go_to(command.gripper)

    def stop(self, level: StopLevel) -> None:
        """Stop the arm; asked for again it changes nothing."""
        courier, api = self._courier, self._api
        if courier is None or (self._stopped is not None and level >= self._stopped):
            return
        self._stopped = level
        if level is StopLevel.HOLD:
            # In this mode it stands at the last position that it was sent.
            courier.stop(lambda: None)
            return
        is_grave = level is StopLevel.IMMEDIATE
        self._mode = ArmMode.ESTOP if is_grave else ArmMode.READY
        courier.stop(self._stop_at_once if is_grave else lambda: api.set_state(STOP_STATE))

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Give the controller the box, the speeds, and how light a contact stops it.

        Boxes are kept to whole millimetres, rounded inwards.
        """
        api, taken = self._api, set()
        self._connected()
        factor = config.speed_factor
        metres, radians = config.tool_speed_m_s, min(self.spec.velocity_max_rad_s) * factor
        sensitivity = self.config.collision_sensitivity
        calls: list[tuple[str, Callable[[], Any]]] = [
            ("tool-speed", lambda: api.set_reduced_max_tcp_speed(1000 * metres)),
            ("speed", lambda: api.set_reduced_max_joint_speed(radians, is_radian=True)),
            ("contact", lambda: api.set_collision_sensitivity(sensitivity)),
        ]
        if config.workspace is not None and config.has("workspace"):
            box = boundary_mm(config.workspace.stay_in)
            calls.append(("workspace", lambda: api.set_reduced_tcp_boundary(box)))
        for name, call in calls:
            if self._code(self._ask(call, f"Giving it the limit '{name}'")) in TAKEN:
                taken.add(name)
        self._do(lambda: api.set_reduced_mode(True), "Turning its limits on")
        if "workspace" in taken:
            self._do(lambda: api.set_fence_mode(True), "Turning its boundary on")
        return frozenset(taken)

    def recover(self, ack: OperatorAck) -> None:
        """Clear the controller's error.

        Raises:
            HardwareError: It comes back, as those of a motor or a pressed button do.
        """
        del ack
        api, courier = self._api, self._connected()
        self._do(lambda: api.clean_error(), "Clearing the error")
        self._do(lambda: api.clean_warn(), "Clearing the warning")
        code, (error, _) = self._ask(lambda: api.get_err_warn_code(), "Asking for errors")
        if code not in TAKEN or error:
            self._error = int(error)
            raise HardwareError(
                f"The controller's error {error} stays: {_meaning(error)[1]}. Clear its cause, and "
                "switch the control box off and on if it is a motor's."
            )
        courier.forget()
        self._error, self._mode, self._stopped = 0, ArmMode.READY, None

    def freedrive(self, *, on: bool) -> None:
        """Let a person push the arm, or end that.

        Raises:
            HardwareError: It follows commands, or the controller refuses.
        """
        if on and self._mode is ArmMode.SERVO:
            raise HardwareError("The arm cannot be pushed while it follows commands.")
        api, mode = self._api, TEACH_MODE if on else POSITION_MODE
        self._connected()
        self._do(lambda: api.set_mode(mode), "Switching freedrive")
        self._do(lambda: api.set_state(MOVE_STATE), "Switching freedrive")
        self._mode = ArmMode.FREEDRIVE if on else ArmMode.READY

    def _take_report(self, report: dict[str, Any]) -> None:
        self._track.add(time.monotonic(), report["joints"][: self.spec.num_joints])

    def _servo_to(self, target: list[float]) -> None:
        api = self._api
        code = api.set_servo_angle_j(target, is_radian=True)
        if code not in TAKEN:
            self._look_for_error()
            raise HardwareError(f"the controller does not take positions any more (code {code})")

    def _stop_at_once(self) -> None:
        """Stop, and take the power off the motors, which brakes hold then."""
        api = self._api
        api.set_state(STOP_STATE)
        api.motion_enable(enable=False)

    def _look_for_error(self) -> None:
        api = self._api
        code, (error, _) = api.get_err_warn_code()
        if code in (0, 1, 2):  # Also where it answers that there is an error.
            self._error = int(error)

    def _judge(self) -> tuple[ArmMode, tuple[Fault, ...]]:
        api, courier = self._api, self._connected()
        if not api.connected:
            return ArmMode.DISCONNECTED, (Fault("connection", "the control box is gone"),)
        if self._mode is ArmMode.SERVO and self._is_stopped() and not self._error:
            # Of its own accord: an error, a button, or a stop from its web page.
            self._mode = ArmMode.READY
            courier.send(self._look_for_error)
        if self._error:
            mode, advice = _meaning(self._error)
            return mode, (Fault(f"C{self._error}", advice),)
        if courier.trouble:
            return ArmMode.FAULT, (Fault("call", courier.trouble),)
        return self._mode, ()

    def _is_stopped(self) -> bool:
        api = self._api
        return api.state in STOPPED_STATES

    def _do(self, call: Callable[[], Any], doing: str) -> None:
        code = self._code(self._ask(call, doing))
        if code not in TAKEN:
            raise HardwareError(f"{doing} failed: the controller answers with the code {code}.")

    @staticmethod
    def _code(answer: Any) -> int:
        """Return the code of an answer; some calls give a list with it."""
        return int(answer[0] if isinstance(answer, list | tuple) else answer)

    def _ask(self, call: Callable[[], Any], doing: str, seconds: float = ANSWER_S) -> Any:
        return self._connected().ask(call, seconds, doing)

    def _connected(self) -> Courier:
        if self._courier is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._courier


def boundary_mm(box: Box) -> list[int]:
    """Return a box as the controller wants it: for each axis its end, then its beginning [mm].

    Example:
        >>> boundary_mm(Box((-0.5, -0.2505, 0.0), (0.5, 0.25, 0.8005)))
        [500, -500, 250, -250, 800, 0]
    """
    # A hair's breadth, so that 0.29 m, which is 289.99.. mm in floating point, is 290.
    tiny = 1e-6
    ends = [
        (math.floor(1000 * high + tiny), math.ceil(1000 * low - tiny))
        for low, high in zip(box.low_m, box.high_m, strict=True)
    ]
    return [end for pair in ends for end in pair]


def _meaning(error: int) -> tuple[ArmMode, str]:
    return ERRORS.get(error, (ArmMode.FAULT, f"its manual explains the controller error {error}"))

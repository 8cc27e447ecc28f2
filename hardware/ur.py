"""An arm of Universal Robots, by ur_rtde: a script servos, its watchdog ends it.

The library's calls may block for seconds, and it reconnects and uploads its script again by itself;
so a courier makes them, and a script that ended once counts as ended until `start_servo`.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from robopref.errors import HardwareError, NotConnected, check_above, check_between
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.courier import Courier, reach, said_of, wait_until
from robopref.hardware.driver import check_servo
from robopref.hardware.gripper import Gripper
from robopref.hardware.robotiq import RobotiqHand
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, Fault, OperatorAck, StopLevel
from robopref.registry import import_extra

RTDE_PORT, DASHBOARD_PORT = 30004, 29999
ANSWER_S, UPLOAD_S, UNLOCK_S = 3.0, 10.0, 2.0
"""How long the controller may take to answer, to start a script, and to leave a stop [s]."""
VARIABLES = [
    "timestamp",
    "actual_q",
    "actual_qd",
    "robot_mode",
    "runtime_state",
    "safety_status_bits",
]
POWERED, PLAYING = 7, 2
"""Of RTDE's `robot_mode` and `runtime_state`: brakes released; a program runs."""
SAFETY_BITS = (
    (1 << 5 | 1 << 6 | 1 << 7, ArmMode.ESTOP, "emergency stop",
     "release its button, and switch the arm on at the pendant"),
    (1 << 8 | 1 << 9, ArmMode.FAULT, "safety fault", "read the pendant's log, and restart safety"),
    (1 << 3, ArmMode.FAULT, "recovery mode", "move the arm back into its limits at the pendant"),
    (1 << 2, ArmMode.PROTECTIVE_STOP, "protective stop", "look at the arm, then acknowledge it"),
    (1 << 4, ArmMode.PROTECTIVE_STOP, "safeguard stop", "close the safeguard, and reset it"),
)  # fmt: skip
"""Bits of RTDE's `safety_status_bits`, the mode that they mean, and what to do, gravest first."""


@dataclass(frozen=True)
class URArmConfig:
    """An arm of Universal Robots, e-Series or CB3."""

    address: str = ""
    """The controller's IP address or host name."""
    model: ArmModel = field(default_factory=lambda: ArmModel("ur5e"))
    """Which arm it is."""
    rate_hz: float = 125.0
    """Positions a second: 125, or up to 500 with an e-Series."""
    lookahead_s: float = 0.1
    """How far servoj smooths ahead [s], 0.03 to 0.2: more is smoother and later."""
    gain: float = 300.0
    """How hard servoj follows, 100 to 2000."""
    brake_rad_s2: float = 4.0
    """Deceleration of a stop [rad/s^2]."""
    gripper: bool = False
    """Whether it has a gripper of Robotiq's, which is reached by its URCap."""
    gripper_ends: tuple[int, int] = (3, 230)
    """Positions of the gripper when open and when closed, 0 to 255; these are a 2F-85's."""
    gripper_speed: float = 1.0
    """Share of the gripper's greatest speed."""
    gripper_force: float = 0.3
    """Share of the gripper's greatest force."""

    def __post_init__(self) -> None:
        """Check what the controller would refuse."""
        check_between("rate_hz", self.rate_hz, 1, 500)
        check_between("lookahead_s", self.lookahead_s, 0.03, 0.2)
        check_between("gain", self.gain, 100, 2000)
        check_above("brake_rad_s2", self.brake_rad_s2, 0)
        check_between("gripper_speed", self.gripper_speed, 0, 1)
        check_between("gripper_force", self.gripper_force, 0, 1)
        wide, closed = self.gripper_ends
        if not 0 <= wide < closed <= 255:
            raise ValueError(
                f"`gripper_ends` must be an open and a closed position between 0 and 255, the "
                f"first below the second, got {self.gripper_ends}."
            )

    def build(self) -> "URArm":
        """Return the driver."""
        return URArm(self)


class URArm:
    """Talks to the controller.

    Args:
        config: Which arm, and where.
    """

    def __init__(self, config: URArmConfig) -> None:
        self.config = config
        # Its currents are no torques; the controller itself stops at contact.
        spec = replace(config.model.spec(config.rate_hz), effort_max_nm=())
        self.spec = replace(spec, native=frozenset({"watchdog"}))
        self._receive: Any = None
        self._control: Any = None
        self._dashboard: Any = None
        self._courier: Courier | None = None
        self._mode = ArmMode.READY
        self._stopped: StopLevel | None = None
        self._gripper: Gripper | None = None
        self._watchdog_hz = 1 / SafetyConfig.watchdog_s
        self._seen = (-1.0, 0.0)

    def connect(self) -> None:
        """Listen to the controller; its program, if one runs, goes on.

        Raises:
            HardwareError: It does not answer.
            MissingExtraError: ur_rtde is not installed.
        """
        if self._courier is not None:
            return
        make_receive = _sdk("rtde_receive").RTDEReceiveInterface
        make_dashboard = _sdk("dashboard_client").DashboardClient
        address = self.config.address
        reach(address, RTDE_PORT)
        reach(address, DASHBOARD_PORT)
        courier = Courier(f"the controller at {address}")
        try:
            self._receive = courier.ask(
                lambda: make_receive(address, variables=VARIABLES), ANSWER_S, "Connecting"
            )
            dashboard = make_dashboard(address)
            courier.ask(lambda: dashboard.connect(int(1000 * ANSWER_S)), ANSWER_S + 1, "Connecting")
            if self.config.gripper:
                self._gripper = Gripper(self._hand())
        except HardwareError:
            self._receive = None
            courier.close()
            raise
        self._courier, self._dashboard = courier, dashboard
        self._mode, self._stopped, self._seen = ArmMode.READY, None, (-1.0, 0.0)

    def disconnect(self) -> None:
        """Let go of the arm, which stops."""
        courier, self._courier = self._courier, None
        if courier is None:
            return
        self._mode = ArmMode.READY
        if self._gripper is not None:
            self._gripper.close()
            self._gripper = None
        if self._control is not None:
            courier.stop(self._end_program)
        receive, dashboard = self._receive, self._dashboard
        for close in (receive.disconnect, dashboard.disconnect):
            with contextlib.suppress(HardwareError):
                courier.ask(close, ANSWER_S, "Disconnecting")
        courier.close()
        self._receive = self._control = self._dashboard = None

    def read(self) -> ArmState:
        """Return the newest state that came; its time is when it was first seen."""
        self._connected()
        receive = self._receive
        stamp, now_s = receive.getTimestamp(), time.monotonic()
        if stamp != self._seen[0]:
            self._seen = (stamp, now_s)
        mode, faults = self._judge()
        return ArmState(
            self._seen[1], tuple(receive.getActualQ()), tuple(receive.getActualQd()), mode,
            gripper=None if self._gripper is None else self._gripper.opening, faults=faults,
        )  # fmt: skip

    def start_servo(self) -> None:
        """Upload the script that servos, and arm its watchdog.

        Raises:
            HardwareError: The controller is in a stop, has no power, is not in remote control, or
                runs a program of somebody else.
        """
        self._start_program()
        control, hertz = self._control, self._watchdog_hz
        if not self._ask(lambda: control.setWatchdog(hertz), "Setting the watchdog"):
            raise HardwareError("The controller did not take the watchdog; without it no motion.")
        self._mode = ArmMode.SERVO

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
        courier = self._courier
        if courier is None or (self._stopped is not None and level >= self._stopped):
            return
        self._stopped = level
        if level is StopLevel.IMMEDIATE:
            self._mode = ArmMode.ESTOP
            courier.stop(self._stop_at_once)
        elif self._control is not None:
            if level is StopLevel.CONTROLLED and self._mode is ArmMode.SERVO:
                self._mode = ArmMode.READY
            courier.stop(self._brake)

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Let the controller end the script when no position comes for the watchdog's time."""
        self._watchdog_hz = 1 / config.watchdog_s
        return frozenset({"watchdog"})

    def recover(self, ack: OperatorAck) -> None:
        """Unlock a protective stop.

        Raises:
            HardwareError: It is a stop that is cleared at the pendant, or came within the last five
                seconds.
        """
        del ack
        courier, dashboard = self._connected(), self._dashboard
        found = self._safety()
        if found is not None and found[0] is not ArmMode.PROTECTIVE_STOP:
            raise HardwareError(f"This is not cleared from here: {found[1].message}.")
        if found is not None:
            self._ask(dashboard.closeSafetyPopup, "Closing the message on the pendant")
            self._ask(dashboard.unlockProtectiveStop, "Unlocking the protective stop")
            if not wait_until(lambda: self._safety() is None, UNLOCK_S):
                raise HardwareError(f"The controller stays stopped: {found[1].message}.")
        courier.forget()
        self._mode, self._stopped = ArmMode.READY, None

    def freedrive(self, *, on: bool) -> None:
        """Let a person push the arm, or end that.

        Raises:
            HardwareError: It follows commands, or the controller refuses.
        """
        if on:
            if self._mode is ArmMode.SERVO:
                raise HardwareError("The arm cannot be pushed while it follows commands.")
            self._start_program()
        control = self._control
        if control is None:
            return
        switch = control.freedriveMode if on else control.endFreedriveMode
        if not self._ask(lambda: switch(), "Switching freedrive"):
            raise HardwareError("The controller refuses to switch freedrive.")
        self._mode = ArmMode.FREEDRIVE if on else ArmMode.READY

    def _hand(self) -> RobotiqHand:
        config = self.config
        return RobotiqHand(
            config.address, config.gripper_ends, config.gripper_speed, config.gripper_force
        )  # fmt: skip

    def _start_program(self) -> None:
        """Have our script running anew, without a watchdog of before."""
        courier = self._connected()
        state = self.read()
        if state.faults or state.mode is ArmMode.ESTOP:
            raise HardwareError(said_of(state))
        if self._control is None:
            self._make_control(courier)
        else:
            control = self._control
            if not courier.ask(control.reuploadScript, UPLOAD_S, "Uploading the script"):
                raise HardwareError("The controller did not take the script that servos.")
        courier.forget()
        self._stopped = None
        # The two connections are not in step; the state has to show the program before it counts.
        if not wait_until(lambda: self._receive.getRuntimeState() == PLAYING, ANSWER_S):
            raise HardwareError("The script that servos did not start; the pendant's log says why.")

    def _make_control(self, courier: Courier) -> None:
        make_control = _sdk("rtde_control").RTDEControlInterface
        if self._receive.getRuntimeState() == PLAYING:
            raise HardwareError(
                "The controller runs another program. Stop it at the pendant; then try again."
            )
        address = self.config.address
        self._control = courier.ask(
            lambda: make_control(address), UPLOAD_S, "Starting the script that servos"
        )

    def _servo_to(self, target: list[float]) -> None:
        # Its arrival is what the watchdog waits for; a separate kick would take its place.
        control, config = self._control, self.config
        if not control.servoJ(
            target, 0.0, 0.0, self.spec.period_s, config.lookahead_s, config.gain
        ):
            raise HardwareError("the script does not take positions any more")

    def _brake(self) -> None:
        control = self._control
        if not control.servoStop(self.config.brake_rad_s2):
            self._dashboard_stop()

    def _stop_at_once(self) -> None:
        control = self._control
        if control is None or not control.triggerProtectiveStop():
            self._dashboard_stop()

    def _end_program(self) -> None:
        control = self._control
        for end in (self._brake, control.stopScript, control.disconnect):
            with contextlib.suppress(Exception):  # Nothing may keep the rest from ending.
                end()

    def _dashboard_stop(self) -> None:
        """End the program, without which the arm stands."""
        dashboard = self._dashboard
        with contextlib.suppress(Exception):  # It refuses where nothing runs.
            dashboard.stop()

    def _judge(self) -> tuple[ArmMode, tuple[Fault, ...]]:
        """Return the mode, and what is wrong: the controller's word goes before ours."""
        receive = self._receive
        if not receive.isConnected():
            return ArmMode.DISCONNECTED, (Fault("connection", "the controller is gone"),)
        found = self._safety()
        if found is not None:
            return found[0], (found[1],)
        if receive.getRobotMode() != POWERED:
            fault = "the arm has no power or its brakes are on; switch it on at the pendant"
            return ArmMode.IDLE, (Fault(f"robot mode {receive.getRobotMode()}", fault),)
        trouble = self._connected().trouble
        if trouble:
            return ArmMode.FAULT, (Fault("script", trouble),)
        if self._mode is ArmMode.SERVO and receive.getRuntimeState() != PLAYING:
            # Uploaded again by the library it would look well; it is not ours any more.
            self._mode = ArmMode.READY
        return self._mode, ()

    def _safety(self) -> tuple[ArmMode, Fault] | None:
        receive = self._receive
        bits = receive.getSafetyStatusBits()
        for mask, mode, name, advice in SAFETY_BITS:
            if bits & mask:
                return mode, Fault(name, f"{name}: {advice}")
        return None

    def _ask(self, call: Callable[[], Any], doing: str) -> Any:
        return self._connected().ask(call, ANSWER_S, doing)

    def _connected(self) -> Courier:
        if self._courier is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._courier


def _sdk(module: str) -> Any:
    return import_extra(module, purpose="The UR driver", extra="ur")

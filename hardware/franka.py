"""Franka Research 3 and Panda through franky-control, over the Franka Control Interface (FCI).

Joint positions are streamed to franky's joint impedance tracker: a thread of the SDK that sends
torques at 1 kHz towards the newest reference, position and velocity. Setting a reference costs
microseconds and never waits. franky's other motions plan a way of their own to a target and were
not made to be replaced every 10 ms; the way is planned here already, by the supervisor. When the
references stop coming the arm stands at the last one, and when this process ends the controller
stops the arm, since it misses its packets.

What the controller keeps itself: limits of position, velocity and torque, and a reflex on contact
whose thresholds `apply_native_limits` sets; near the joint limits the tracker pushes back. A reflex
stays until `recover`.

Set-up: docs/hardware/franka.md.
"""

import contextlib
import threading
import time
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from robopref.errors import (
    HardwareError,
    NotConnected,
    check_above,
    check_between,
    check_choice,
)
from robopref.hardware.arms import MODELS
from robopref.hardware.courier import wait_until
from robopref.hardware.driver import check_servo
from robopref.hardware.franka_gripper import FrankaHand
from robopref.hardware.franka_link import (
    ADVICE,
    BY_HAND,
    ERRORS,
    check_reachable,
    check_realtime,
    load_franky,
)
from robopref.hardware.franka_state import MODES, check_is_arm, faults_of, first_line, refuse_mode
from robopref.hardware.gripper import Gripper
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, Fault, OperatorAck, StopLevel

RECOVERED_S = 0.5
"""The state tells of a recovery within this time [s]."""
ANSWER_S = 1.0
"""How long it may take to begin or end a motion [s]."""


@dataclass(frozen=True)
class FrankaArmConfig:
    """A Franka arm at its address in the network."""

    host: str = "172.16.0.2"
    """Address of the arm's controller."""
    model: str = "fr3"
    """fr3 or panda."""
    realtime: bool = True
    """Whether a real-time kernel is required; without one the arm stops on late packets. Turn it
    off for franky-sim only."""
    gripper: bool = True
    """Whether there is a Franka Hand."""
    stiffness_nm_rad: float = 600.0
    """How hard joints 1 to 4 are pulled to where they are sent [Nm/rad]; the wrist's three, which
    are lighter, get 5/12 of it."""
    damping_share: float = 1.0
    """Damping, as a share of what is critical for 1 kg m^2 (2 * sqrt(stiffness) [Nm s/rad])."""
    collision_torque_nm: float = 20.0
    """A joint pushed harder than this from outside is a reflex [Nm]."""
    collision_force_n: float = 30.0
    """A tool pushed harder than this from outside is a reflex [N]."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        check_choice("model", self.model, ("fr3", "panda"))
        if not self.host.strip():
            raise ValueError("`host` must be the address of the arm's controller, got ''.")
        check_between("stiffness_nm_rad", self.stiffness_nm_rad, 10, 2000)
        check_between("damping_share", self.damping_share, 0.1, 2)
        check_above("collision_torque_nm", self.collision_torque_nm, 0)
        check_above("collision_force_n", self.collision_force_n, 0)

    def build(self) -> "FrankaArm":
        """Return the driver."""
        return FrankaArm(self)


class FrankaArm:
    """Talks to the controller through franky.

    Args:
        config: Which arm, and where.
    """

    def __init__(self, config: FrankaArmConfig) -> None:
        self.config = config
        native = frozenset({"contact", "joint-limits", "watchdog"})
        self.spec = replace(MODELS[config.model](), native=native)
        self._margin_rad = 0.0
        self._lock = threading.RLock()
        self._franky: ModuleType | None = None
        self._robot: Any = None
        self._hand: Gripper | None = None
        self._motion: Any = None
        self._is_free = False
        self._fault: Fault | None = None
        self._state: ArmState | None = None
        self._controller_ms = -1

    def connect(self) -> None:
        """Reach the arm; it does not move, and a stop stays as it is.

        Raises:
            HardwareError: It cannot be reached, FCI is off, its software is too old or too new, it
                is another arm, or this machine's kernel does not keep time.
            MissingExtraError: franky-control is not installed.
        """
        if self._robot is not None:
            return
        self._franky = load_franky()
        if self.config.realtime:
            check_realtime()
        check_reachable(self.config.host)
        robot = self._open()
        try:
            check_is_arm(robot, self.spec, self.config.host)
            if self.config.gripper:
                hand = self._call(self._franky.Gripper, self.config.host)
                self._hand = self._call(Gripper, FrankaHand(hand))
            self._robot = robot
            self.read()
        except BaseException:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Let go of the arm, which stops."""
        self.stop(StopLevel.CONTROLLED)
        # Whatever the controller says to that, it is left.
        with contextlib.suppress(Exception):
            self._end_motion()
        with self._lock:
            hand, self._hand, self._robot = self._hand, None, None
        if hand is not None:
            hand.close()

    def read(self) -> ArmState:
        """Return the newest state; between motions this waits 1 ms for the controller's next one.

        A connection that was lost is a fault in the state, which keeps the time of the last one
        that came.
        """
        if self._fault is None or self._fault.code != LOST:
            robot = self._connected()
            try:
                # First, since a lost connection would be waited for anew.
                self._notice_end(robot)
                self._keep(robot.state)
            except self._errors() as error:
                self._lose(error)
        if self._state is None:
            raise HardwareError(f"The arm at {self.config.host} says nothing of its state.")
        if self._fault is not None and self._fault.code == LOST:
            self._state = replace(self._state, mode=ArmMode.FAULT, faults=(self._fault,))
        return self._state

    def start_servo(self) -> None:
        """Make the arm follow commands, from where it stands.

        Raises:
            HardwareError: It is in a reflex, its user stop is pressed, somebody guides it, or it
                does not begin.
        """
        self._start(self.config.stiffness_nm_rad, is_free=False)

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period, and the velocities there."""
        target = check_servo(command, self.spec.num_joints)
        self._connected()
        with self._lock:
            if self._motion is not None and not self._is_free:
                self._refer(target, command.velocity or (0.0,) * self.spec.num_joints)
        if command.gripper is not None and self._hand is not None:
            self._hand.go_to(command.gripper)

    def stop(self, level: StopLevel) -> None:
        """Stop the arm; it stays powered, since FCI has no call that takes the power away.

        HOLD stands at the last reference, CONTROLLED damps the joints to rest and leaves the mode,
        IMMEDIATE ends the motion at once, and the controller brakes as it can.
        """
        with self._lock:
            motion, robot = self._motion, self._robot
            if motion is None or robot is None:
                return
            # What went wrong while it was moving is in the next state.
            with contextlib.suppress(*self._errors()):
                if level is StopLevel.HOLD:
                    self._refer(motion.get_reference().q, (0.0,) * self.spec.num_joints)
                    return
                self._motion, self._is_free = None, False
                if level is StopLevel.IMMEDIATE:
                    robot.stop()
                else:
                    damped = self._sdk().TorqueStopMotion(
                        damping=[STOP_NMS_RAD] * 4 + [STOP_NMS_RAD * WRIST_SHARE] * 3,
                        ramp_duration=STOP_RAMP_S,
                    )
                    robot.move(damped, asynchronous=True)

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Give the controller the thresholds of its reflex, and the tracker the joint limits.

        Raises:
            HardwareError: The controller refuses.
        """
        torque, force = self.config.collision_torque_nm, self.config.collision_force_n
        self._call(self._connected().set_collision_behavior, torque, force)
        self._margin_rad = config.joint_margin_rad
        return self.spec.native

    def recover(self, ack: OperatorAck) -> None:
        """Clear a reflex, or connect again after the connection was lost.

        Raises:
            HardwareError: The cause is still there, such as the user stop.
        """
        del ack
        if self._fault is not None and self._fault.code == LOST:
            self._connect_again()
        robot = self._connected()
        self._end_motion()
        self._fault = None
        mode = self.read().mode
        if mode is ArmMode.ESTOP:
            raise HardwareError(refuse_mode(mode, ()))
        # What it answers with may still be of before: the state comes a packet later.
        if not self._call(robot.recover_from_errors) and not wait_until(
            lambda: self.read().mode is not ArmMode.PROTECTIVE_STOP, RECOVERED_S
        ):
            raise HardwareError(f"The controller could not recover by itself. {BY_HAND}")
        self._fault = None

    def freedrive(self, *, on: bool) -> None:
        """Let a person push the arm: no stiffness, its weight held by the controller.

        Raises:
            HardwareError: It follows commands, or cannot move.
        """
        if on:
            self._start(0.0, is_free=True)
        elif self._is_free:
            self.stop(StopLevel.CONTROLLED)
            self._end_motion()

    def _start(self, stiffness: float, *, is_free: bool) -> None:
        robot, franky = self._connected(), self._sdk()
        self._end_motion()
        state = self.read()
        if state.mode is not ArmMode.READY:
            raise HardwareError(refuse_mode(state.mode, state.faults))
        with self._lock:
            gains = [stiffness] * 4 + [stiffness * WRIST_SHARE] * 3
            damping = [2 * self.config.damping_share * max(gain, 1.0) ** 0.5 for gain in gains]
            self._motion = franky.JointImpedanceTrackingMotion(
                stiffness=gains, damping=damping,
                lower_joint_limits=[low + self._margin_rad for low in self.spec.position_min_rad],
                upper_joint_limits=[top - self._margin_rad for top in self.spec.position_max_rad],
            )  # fmt: skip
            self._is_free = is_free
            self._refer(state.position, (0.0,) * self.spec.num_joints)
            self._call(robot.move, self._motion, asynchronous=True)
        wanted = ArmMode.FREEDRIVE if is_free else ArmMode.SERVO
        deadline = time.monotonic() + ANSWER_S
        while (state := self.read()).mode is not wanted:
            if time.monotonic() > deadline or state.faults:
                self._motion = None
                raise HardwareError(refuse_mode(state.mode, state.faults))
            time.sleep(0.001)

    def _refer(self, position: Any, velocity: Any) -> None:
        self._motion.set_reference(self._sdk().JointReference(q=list(position), dq=list(velocity)))

    def _end_motion(self) -> None:
        """Wait until a motion that was stopped has ended."""
        robot = self._connected()
        if self._motion is not None:
            self.stop(StopLevel.CONTROLLED)
        # Why it ended was noticed, or is what was asked for.
        with contextlib.suppress(*self._errors()):
            robot.join_motion(ANSWER_S)

    def _notice_end(self, robot: Any) -> None:
        """Keep why a motion ended that nobody stopped."""
        if self._motion is None or robot.is_in_control:
            return
        try:
            robot.poll_motion()
        except self._sdk().NetworkException:
            raise
        except self._errors() as error:
            self._fault = Fault("motion", f"the controller ended the motion: {first_line(error)}")
        with self._lock:
            self._motion, self._is_free = None, False

    def _keep(self, state: Any) -> None:
        """Make the controller's state ours."""
        # The controller's clock tells whether this one is new.
        moment = state.time.to_msec()
        is_new = moment != self._controller_ms or self._state is None
        self._controller_ms = moment
        mode = MODES.get(state.robot_mode.name, ArmMode.FAULT)
        if mode is ArmMode.SERVO and self._motion is None:
            mode = ArmMode.READY  # It is coming to rest.
        if mode is ArmMode.SERVO and self._is_free:
            mode = ArmMode.FREEDRIVE
        faults = faults_of(state.current_errors)
        if self._fault is not None:
            faults = (*faults, self._fault)
            mode = ArmMode.PROTECTIVE_STOP if mode is ArmMode.READY else mode
        self._state = ArmState(
            time.monotonic() if is_new or self._state is None else self._state.time_s,
            tuple(state.q.tolist()), tuple(state.dq.tolist()), mode,
            effort=tuple(state.tau_J.tolist()),
            gripper=None if self._hand is None else self._hand.opening, faults=faults,
        )  # fmt: skip

    def _lose(self, error: Exception) -> None:
        message = f"the connection to {self.config.host} was lost: {first_line(error)}"
        self._fault = Fault(LOST, message)
        with self._lock:
            self._motion, self._is_free = None, False

    def _connect_again(self) -> None:
        # A controller takes one connection, so the old one goes before the new one comes.
        with self._lock:
            self._robot = self._motion = None
        check_reachable(self.config.host)
        self._robot = self._open()

    def _open(self) -> Any:
        """Return a new connection."""
        franky = self._sdk()
        kernel = franky.RealtimeConfig.Enforce if self.config.realtime else (
            franky.RealtimeConfig.Ignore
        )  # fmt: skip
        return self._call(franky.Robot, self.config.host, realtime_config=kernel)

    def _call(self, do: Any, *args: Any, **named: Any) -> Any:
        """Call the SDK; what it raises becomes an error that says what to do."""
        try:
            return do(*args, **named)
        except self._errors() as error:
            advice = ADVICE.get(type(error).__name__, "Look at the arm's web page, Desk.")
            raise HardwareError(
                f"The arm at {self.config.host} refuses: {first_line(error)}. {advice}"
            ) from error

    def _errors(self) -> tuple[type[Exception], ...]:
        sdk = self._franky
        return () if sdk is None else tuple(getattr(sdk, name) for name in ERRORS)

    def _sdk(self) -> ModuleType:
        assert self._franky is not None
        return self._franky

    def _connected(self) -> Any:
        if self._robot is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._robot


LOST = "connection"
"""Code of the fault that the controller does not answer any more."""
WRIST_SHARE = 5 / 12
"""Stiffness of the three last joints, which are lighter, as a share of the others'."""
STOP_NMS_RAD = 60.0
"""Damping that brings joints 1 to 4 to rest [Nm s/rad]: below 0.1 s for what they carry."""
STOP_RAMP_S = 0.05
"""How long the pull to the last reference takes to become that damping [s]."""

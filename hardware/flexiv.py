"""A Flexiv arm, by its RDK: joint positions that the controller's own planner smooths.

Since its version 2 the RDK speaks of groups of joints; this driver moves the first arm. With each
position it is told the greatest speeds and accelerations. It has no watchdog for these commands:
without any the arm stands at the last position.

Shapes: J joints.
"""

import contextlib
import time
from dataclasses import dataclass, field, replace
from typing import Any

from robopref.errors import HardwareError, NotConnected, check_between
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.courier import Courier, said_of, wait_until
from robopref.hardware.driver import check_servo
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, Fault, OperatorAck, StopLevel
from robopref.registry import import_extra

ANSWER_S, CONNECT_S, POWER_S, CLEAR_S = 5.0, 30.0, 20.0, 30
"""How long a call, connecting, releasing the brakes, and clearing a fault may take [s]."""


@dataclass(frozen=True)
class FlexivArmConfig:
    """A Flexiv arm."""

    model: ArmModel = field(default_factory=ArmModel)
    """Which arm it is."""
    serial: str = ""
    """Its serial number, such as Rizon4-123456; the RDK finds the arm by it."""
    rate_hz: float = 50.0
    """Positions a second, up to 100."""

    def __post_init__(self) -> None:
        """Check what the RDK is made for."""
        check_between("rate_hz", self.rate_hz, 1, 100)

    def build(self) -> "FlexivArm":
        """Return the driver."""
        return FlexivArm(self)


class FlexivArm:
    """Talks to the controller.

    Args:
        config: Which arm, and where.
    """

    def __init__(self, config: FlexivArmConfig) -> None:
        self.config = config
        spec = config.model.spec(config.rate_hz)
        self.spec = replace(spec, native=frozenset({"speed", "acceleration"}))
        self._sdk: Any = None
        self._robot: Any = None
        self._group: Any = None
        self._courier: Courier | None = None
        self._mode = ArmMode.READY
        self._stopped: StopLevel | None = None
        self._seen: tuple[Any, float] = (None, 0.0)

    def connect(self) -> None:
        """Find the arm; its motors stay as they are.

        Raises:
            HardwareError: It is not found, or has another number of joints.
            MissingExtraError: The RDK is not installed.
        """
        if self._courier is not None:
            return
        sdk = import_extra("flexivrdk", purpose="The Flexiv driver", extra="flexiv")
        serial = self.config.serial
        if not serial:
            raise HardwareError("`serial` is empty. Give the arm's number, such as Rizon4-123456.")
        courier = Courier(f"the arm {serial}")
        make_robot, group = sdk.Robot, sdk.JointGroup.ARM_1
        try:
            robot = courier.ask(lambda: make_robot(serial, verbose=False), CONNECT_S, "Connecting")
            num = len(robot.states()[group].q)
            if num != self.spec.num_joints:
                raise HardwareError(
                    f"The arm {serial} has {num} joints, '{self.spec.name}' has "
                    f"{self.spec.num_joints}."
                )
        except HardwareError:
            courier.close()
            raise
        self._sdk, self._robot, self._group, self._courier = sdk, robot, group, courier
        self._mode, self._stopped, self._seen = ArmMode.READY, None, (None, 0.0)

    def disconnect(self) -> None:
        """Let go of the arm, which stops."""
        courier, robot = self._courier, self._robot
        if courier is None:
            return
        if self._mode is not ArmMode.READY:
            with contextlib.suppress(HardwareError):
                courier.ask(lambda: robot.Stop(), ANSWER_S, "Stopping")
        courier.close()
        # The RDK has no way to disconnect but its object's end.
        self._courier = self._robot = None
        self._mode = ArmMode.READY

    def read(self) -> ArmState:
        """Return the newest state; its time is when it was first seen."""
        self._connected()
        robot = self._robot
        states = robot.states()[self._group]
        if states.timestamp != self._seen[0]:
            self._seen = (states.timestamp, time.monotonic())
        mode, faults = self._judge()
        return ArmState(
            self._seen[1],
            tuple(map(float, states.q)),
            tuple(map(float, states.dq)),
            mode,
            tuple(map(float, states.tau_ext)),
            faults=faults,
        )

    def start_servo(self) -> None:
        """Release the brakes if they are on, and choose the mode that follows positions.

        Raises:
            HardwareError: A stop or fault stands, or the controller refuses.
        """
        courier, robot, sdk = self._connected(), self._robot, self._sdk
        state = self.read()
        if state.faults or state.mode is ArmMode.ESTOP:
            raise HardwareError(said_of(state))
        if not robot.operational():
            courier.ask(lambda: robot.ServoOn(), ANSWER_S, "Switching the motors on")
            if not wait_until(lambda: robot.operational(), POWER_S):
                raise HardwareError(
                    f"The arm does not become operational: {robot.operational_status()}. Choose "
                    "the auto mode, remote, in Flexiv Elements."
                )
        mode = sdk.Mode.NRT_JOINT_POSITION
        courier.ask(lambda: robot.SwitchMode(mode), ANSWER_S, "Choosing the mode for positions")
        self._mode, self._stopped = ArmMode.SERVO, None

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period."""
        target = [float(place) for place in check_servo(command, self.spec.num_joints)]
        courier = self._connected()
        if self._mode is not ArmMode.SERVO:
            return
        velocity = [float(speed) for speed in command.velocity] or [0.0] * len(target)
        self._stopped = None
        courier.send(lambda: self._send(target, velocity))

    def stop(self, level: StopLevel) -> None:
        """Stop the arm; asked for again it changes nothing."""
        courier, robot = self._courier, self._robot
        if courier is None or (self._stopped is not None and level >= self._stopped):
            return
        self._stopped = level
        if level is StopLevel.HOLD:
            courier.stop(lambda: None)  # It stands at the last position that it was sent.
            return
        # The RDK has no emergency stop; the button's is the only one.
        self._mode = ArmMode.ESTOP if level is StopLevel.IMMEDIATE else ArmMode.READY
        courier.stop(lambda: robot.Stop())

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Say what goes with each position: the arm's greatest speeds and accelerations."""
        del config
        return frozenset({"speed", "acceleration"})

    def recover(self, ack: OperatorAck) -> None:
        """Clear a fault.

        Raises:
            HardwareError: It stays, the button is pressed, or the arm is out of its range.
        """
        del ack
        courier, robot = self._connected(), self._robot
        if not robot.estop_released():
            raise HardwareError("The emergency stop button is pressed. Release it.")
        if robot.recovery():
            raise HardwareError(
                "A joint is out of its range: move it back with Flexiv Elements, which has the "
                "recovery for it."
            )
        if robot.fault() and not courier.ask(
            lambda: robot.ClearFault(CLEAR_S), CLEAR_S + 1.0, "Clearing the fault"
        ):
            raise HardwareError("The fault stays. Switch the control box off and on.")
        courier.forget()
        self._mode, self._stopped = ArmMode.READY, None

    def freedrive(self, *, on: bool) -> None:
        """Refuse.

        Raises:
            HardwareError: The RDK cannot.
        """
        if on:
            raise HardwareError("Hold the enabling button of the motion bar to push this arm.")

    def _send(self, target: list[float], velocity: list[float]) -> None:
        robot, sdk, spec = self._robot, self._sdk, self.spec
        make_joint_command = sdk.NrtJointPositionCmd
        joint_command = make_joint_command(
            target,
            velocity,
            list(spec.velocity_max_rad_s),
            list(spec.acceleration_max_rad_s2),
        )
        robot.SendJointPosition({self._group: joint_command})

    def _judge(self) -> tuple[ArmMode, tuple[Fault, ...]]:
        robot, courier = self._robot, self._connected()
        if not robot.connected():
            return ArmMode.DISCONNECTED, (Fault("connection", "the arm is gone"),)
        if not robot.estop_released():
            return ArmMode.ESTOP, (Fault("emergency stop", "the button is pressed; release it"),)
        if robot.recovery():
            return ArmMode.FAULT, (Fault("recovery", "a joint is out of its range"),)
        if robot.fault():
            return ArmMode.FAULT, (Fault("fault", "look at the arm, then acknowledge it"),)
        if courier.trouble:
            return ArmMode.FAULT, (Fault("call", courier.trouble),)
        if self._mode is ArmMode.SERVO and not robot.operational():
            self._mode = ArmMode.READY
        return self._mode, ()

    def _connected(self) -> Courier:
        if self._courier is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._courier

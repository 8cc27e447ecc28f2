"""Any robot that LeRobot drives: SO-100 and SO-101, Koch, OpenArm, and those of other packages.

Its calls talk to motors over a serial line, for milliseconds each; a courier makes them, and after
each position that is sent it reads where the arm is. LeRobot's arms have no brakes, no watchdog and
no word for a stop: they stand at the last position that they were sent.

Shapes: J joints.
"""

import time
from dataclasses import dataclass, field, replace
from typing import Any

from robopref.errors import HardwareError, NotConnected, check_between, check_choice
from robopref.hardware.arm_model import ArmModel, names_for
from robopref.hardware.courier import Courier, said_of
from robopref.hardware.driver import check_servo
from robopref.hardware.lerobot_devices import (
    ANSWER_S,
    GRIPPER_OPEN,
    UNITS,
    check_joints,
    check_settings,
    connect_device,
    disconnect_device,
    make_device,
)
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.track import Track
from robopref.hardware.types import ArmCommand, ArmMode, ArmState, Fault, OperatorAck, StopLevel


@dataclass(frozen=True)
class LeRobotArmConfig:
    """A robot of LeRobot's."""

    model: ArmModel = field(default_factory=ArmModel)
    """Which arm it is; its zero has to be where the calibrated robot says 0."""
    robot: str = "so101_follower"
    """Its type, as `lerobot-teleoperate --robot.type` wants it."""
    settings: str = "{}"
    """Its settings as JSON, such as {"port": "/dev/ttyACM0", "id": "left"}."""
    joints: tuple[str, ...] = ()
    """What LeRobot calls its joints, in the model's order; empty takes the model's names."""
    gripper: str = "gripper"
    """What LeRobot calls its gripper; empty without one."""
    unit: str = "degrees"
    """What its positions are in: degrees or radians."""
    rate_hz: float = 30.0
    """Positions a second."""

    def __post_init__(self) -> None:
        """Check form and ranges."""
        check_choice("unit", self.unit, UNITS)
        check_between("rate_hz", self.rate_hz, 1, 200)
        check_settings(self.settings)

    def build(self) -> "LeRobotArm":
        """Return the driver."""
        return LeRobotArm(self)


class LeRobotArm:
    """Talks to the robot through LeRobot.

    Args:
        config: Which arm, and where.

    Raises:
        ValueError: LeRobot's names are not as many as the joints.
    """

    def __init__(self, config: LeRobotArmConfig) -> None:
        self.config = config
        self.spec = replace(config.model.spec(config.rate_hz), effort_max_nm=())
        self.joints = names_for(self.spec, config.joints)
        self._scale = UNITS[config.unit]
        self._robot: Any = None
        self._courier: Courier | None = None
        self._track = Track()
        self._opening: float | None = None
        self._grip = 0.0
        self._mode = ArmMode.READY
        self._has_gripper = False

    def connect(self) -> None:
        """Reach the motors; LeRobot takes their torque off for a moment while it sets them up.

        Raises:
            HardwareError: They do not answer, are not calibrated, or are of another arm.
            MissingExtraError: LeRobot is not installed.
        """
        if self._courier is not None:
            return
        robot = self._robot = make_device("robot", self.config.robot, self.config.settings)
        self._has_gripper = self.config.gripper in check_joints(
            "robot", self.config.robot, robot, self.joints
        )
        courier = self._courier = Courier(f"the robot '{self.config.robot}'")
        self._mode = ArmMode.READY
        self._track.clear()
        try:
            connect_device(courier, "robot", "robot", self.config.robot, robot)
            courier.ask(self._observe, ANSWER_S, "Reading its position")
        except HardwareError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Let go of the arm; most robots take the torque off, and it sinks."""
        courier, robot = self._courier, self._robot
        if courier is None:
            return
        self._mode = ArmMode.READY
        courier.stop(lambda: None)  # What waits is not sent any more.
        disconnect_device(courier, robot)
        self._courier = self._robot = None

    def read(self) -> ArmState:
        """Return the newest state that was read, and have the next one read soon."""
        courier, newest = self._connected(), self._track.newest()
        if newest is None:
            raise NotConnected("No state of the arm came yet; call connect() first.")
        mode, faults = self._mode, tuple[Fault, ...]()
        if courier.trouble:
            mode, faults = ArmMode.FAULT, (Fault("bus", courier.trouble),)
        elif courier.is_idle and time.monotonic() - newest[0] > self.spec.period_s / 2:
            courier.send(self._observe)
        return ArmState(*newest, mode, gripper=self._opening, faults=faults)

    def start_servo(self) -> None:
        """Follow commands from now on.

        Raises:
            HardwareError: The motors do not answer, or a stop was not acknowledged.
        """
        state = self.read()
        if state.faults or state.mode is ArmMode.ESTOP:
            raise HardwareError(said_of(state))
        self._connected().ask(self._observe, ANSWER_S, "Reading its position")
        self._grip, self._mode = self._opening or 0.0, ArmMode.SERVO

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period."""
        target = check_servo(command, self.spec.num_joints)
        courier = self._connected()
        if self._mode is not ArmMode.SERVO:
            return
        action = {
            f"{name}.pos": float(place) * self._scale
            for name, place in zip(self.joints, target, strict=True)
        }
        if self._has_gripper:
            # Kept where it was sent, not where it is: what it holds would slip otherwise.
            self._grip = self._grip if command.gripper is None else command.gripper
            action[f"{self.config.gripper}.pos"] = GRIPPER_OPEN * self._grip
        courier.send(lambda: self._send(action))

    def stop(self, level: StopLevel) -> None:
        """Send nothing more: it stands at the last position, with its torque on."""
        courier = self._courier
        if courier is None or level is StopLevel.HOLD or self._mode is ArmMode.ESTOP:
            return
        # Without torque it would fall: an immediate stop differs in needing an acknowledgement.
        self._mode = ArmMode.ESTOP if level is StopLevel.IMMEDIATE else ArmMode.READY
        courier.stop(self._observe)

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Take none: what a robot has, such as `max_relative_target`, is among its settings."""
        del config
        return frozenset()

    def recover(self, ack: OperatorAck) -> None:
        """Try whether the motors answer again.

        Raises:
            HardwareError: They do not.
        """
        del ack
        courier = self._connected()
        courier.ask(self._observe, ANSWER_S, "Reading its position")
        courier.forget()
        self._mode = ArmMode.READY

    def freedrive(self, *, on: bool) -> None:
        """Refuse.

        Raises:
            HardwareError: LeRobot has no common way to do it.
        """
        if on:
            raise HardwareError(
                "LeRobot has no common way to let an arm be pushed. Disconnect: then most robots "
                "take the torque off."
            )

    def _send(self, action: dict[str, float]) -> None:
        robot = self._robot
        robot.send_action(action)
        self._observe()

    def _observe(self) -> None:
        robot = self._robot
        begun_s = time.monotonic()
        found = robot.get_observation()
        position = [float(found[f"{name}.pos"]) / self._scale for name in self.joints]
        if self._has_gripper:
            opening = float(found[f"{self.config.gripper}.pos"]) / GRIPPER_OPEN
            self._opening = min(max(opening, 0.0), 1.0)
        self._track.add(begun_s, position)

    def _connected(self) -> Courier:
        if self._courier is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._courier

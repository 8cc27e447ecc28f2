"""A leader arm through LeRobot: whoever moves it by hand moves the tool of another arm.

Any `lerobot.teleoperators.Teleoperator` that says joint positions, such as SO-101's leader. The two
arms need not be of one kind: where the leader's tool goes, by its model, the other tool goes too,
as far and along the same axes of its base, from where both were when the person took over.

Shapes: J joints of the leader.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float, Float32

from robopref.errors import HardwareError, check_above, check_choice
from robopref.hardware.arm_model import ArmModel, names_for
from robopref.hardware.courier import Courier
from robopref.hardware.kinematics import Kinematics
from robopref.hardware.lerobot_devices import (
    GRIPPER_OPEN,
    UNITS,
    check_joints,
    check_settings,
    connect_device,
    disconnect_device,
    make_device,
)
from robopref.hardware.teleop import Word, turned

READ_S = 0.5
"""How long reading its position may take [s]."""
AHEAD = 5.0
"""A leader that is more steps ahead of the arm than these leaves it behind: nothing goes on moving
long after the hand has stopped."""


@dataclass(frozen=True)
class LeaderConfig:
    """A leader arm of LeRobot's.

    Raises:
        ValueError: Form or range of a setting is wrong.
    """

    model: ArmModel = field(default_factory=ArmModel)
    """Which arm it is; its zero has to be where the calibrated leader says 0."""
    teleoperator: str = "so101_leader"
    """Its type, as `lerobot-teleoperate --teleop.type` wants it."""
    settings: str = "{}"
    """Its settings as JSON, such as {"port": "/dev/ttyACM1", "id": "left", "use_degrees": true}."""
    joints: tuple[str, ...] = ()
    """What LeRobot calls its joints, in the model's order; empty takes the model's names."""
    gripper: str = "gripper"
    """What LeRobot calls its gripper; empty without one."""
    unit: str = "degrees"
    """What its positions are in: degrees or radians."""
    scale: float = 1.0
    """How far the tool goes for each metre of the leader's."""
    turned_rad: float = 0.0
    """How far the leader's x is turned from that of the arm's base, counterclockwise [rad]."""

    def __post_init__(self) -> None:
        """Check form and ranges."""
        check_choice("unit", self.unit, UNITS)
        check_above("scale", self.scale, 0)
        check_settings(self.settings)

    def build(self) -> "Leader":
        """Return the device."""
        return Leader(self)


class Leader:
    """Reads a leader arm.

    It has no deadman's button; a leader that lies still asks for no motion.

    Args:
        config: Which arm, and where.

    Raises:
        ValueError: LeRobot's names are not as many as the joints.
    """

    has_deadman = False
    shown = "move the leader arm: the tool goes where its tool goes"

    def __init__(self, config: LeaderConfig) -> None:
        self.config = config
        # What it can do does not matter here, only where its links are.
        spec = config.model.spec(1.0)
        self.joints = names_for(spec, config.joints)
        self._kinematics = Kinematics(spec)
        self._device: Any = None
        self._courier: Courier | None = None
        self._has_gripper = False
        self._trouble = self._told = ""
        self._grip, self._reach_m = 0.0, 0.01
        self._followed_m = np.zeros(3)

    @property
    def is_held(self) -> bool:
        """Whether it answers."""
        return not self._trouble

    @property
    def trouble(self) -> str:
        """What is wrong with it; empty where nothing is."""
        return self._trouble

    def connect(self) -> None:
        """Reach its motors.

        Raises:
            HardwareError: They do not answer, are not calibrated, or are of another arm.
            MissingExtraError: LeRobot is not installed.
        """
        if self._courier is not None:
            return
        name = self.config.teleoperator
        device = self._device = make_device("teleoperator", name, self.config.settings)
        self._has_gripper = self.config.gripper in check_joints(
            "teleoperator", name, device, self.joints
        )
        courier = self._courier = Courier(f"the leader '{name}'")
        self._trouble = self._told = ""
        try:
            connect_device(courier, "teleoperator", "leader", name, device)
            self._followed_m = self._tool_m(self._read(courier))
        except HardwareError:
            self.disconnect()
            raise

    def disconnect(self) -> None:
        """Let go of it; may be called twice."""
        courier, device = self._courier, self._device
        if courier is None:
            return
        disconnect_device(courier, device)
        self._courier = self._device = None

    def begin(self, grip: float, reach_m: float) -> None:
        """Follow it from where it is now."""
        self._grip, self._reach_m = grip, reach_m
        found = self._newest()
        if found is not None:
            self._followed_m = self._tool_m(found)

    def action(self) -> Float32[np.ndarray, " 4"]:
        """Return how the tool has to go to come to where the leader's is."""
        found = self._newest()
        if found is None:
            return np.array([0, 0, 0, self._grip], np.float32)
        way = (self._tool_m(found) - self._followed_m) / self._reach_m
        motion = np.clip(way, -1, 1)
        left = np.clip(way - motion, -AHEAD, AHEAD)
        self._followed_m = self._tool_m(found) - self._reach_m * left
        if self._has_gripper:
            opening = float(found[f"{self.config.gripper}.pos"]) / GRIPPER_OPEN
            self._grip = 1 - 2 * min(max(opening, 0.0), 1.0)
        return np.array([*motion, self._grip], np.float32)

    def words(self) -> Sequence[Word]:
        """Return a stop when it does not answer any more; it has no buttons."""
        if self._trouble == self._told:
            return ()
        self._told = self._trouble
        return (Word.STOP,)

    def _newest(self) -> dict[str, float] | None:
        """Return what it says now; None where it does not answer, which is kept as its trouble."""
        if self._courier is None or self._trouble:
            return None
        try:
            return self._read(self._courier)
        except HardwareError as error:
            self._trouble = f"The leader '{self.config.teleoperator}' is gone: {error}"
            return None

    def _read(self, courier: Courier) -> dict[str, float]:
        device = self._device
        found: dict[str, float] = courier.ask(
            lambda: device.get_action(), READ_S, "Reading its position"
        )
        if not np.isfinite([float(value) for value in found.values()]).all():
            raise HardwareError(f"It says {found}, which are no positions.")
        return found

    def _tool_m(self, found: dict[str, float]) -> Float[np.ndarray, " 3"]:
        """Return where its tool is, along the axes of the arm's base, scaled [m]."""
        position = tuple(
            float(found[f"{name}.pos"]) / UNITS[self.config.unit] for name in self.joints
        )
        tool = self._kinematics.place([position]).tool_m[0]
        return self.config.scale * turned(tool, self.config.turned_rad)

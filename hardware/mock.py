"""An arm that exists in memory only and goes where it is sent at once, with faults on request.

It stands in for the parts of an arm that fail: late and lost commands, a controller that stops by
itself, a state that is not a number. `sim` has physics.

Shapes: J joints.
"""

import time
from dataclasses import dataclass, replace

import numpy as np

from robopref.errors import HardwareError, NotConnected, check_at_least, check_between, check_choice
from robopref.hardware.arms import MODELS
from robopref.hardware.driver import check_servo
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import (
    ArmCommand,
    ArmMode,
    ArmState,
    Fault,
    Joints,
    OperatorAck,
    StopLevel,
)


@dataclass(frozen=True)
class MockFaults:
    """What goes wrong, and when; times count from `start_servo`."""

    lost_share: float = 0.0
    """Share of the commands that do not arrive."""
    late_s: float = 0.0
    """How long a late call takes [s]."""
    late_every: int = 0
    """Every so many commands one call is late; 0 for none."""
    stops_after_s: float | None = None
    """The controller makes a protective stop then."""
    nan_after_s: float | None = None
    """The state is not a number from then on."""
    frozen_after_s: float | None = None
    """The state does not change any more from then on."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("lost_share", self.lost_share, 0, 1)
        check_at_least("late_s", self.late_s, 0)
        check_at_least("late_every", self.late_every, 0)


@dataclass(frozen=True)
class MockArmConfig:
    """An arm in memory."""

    model: str = "xarm7"
    """ur5e, xarm7, panda, fr3 or sawyer."""
    error_rad: float = 0.0
    """How far it is from where it was sent, at most [rad]."""
    faults: MockFaults = MockFaults()
    """What goes wrong."""
    seed: int = 0
    """Decides errors and losses."""

    def __post_init__(self) -> None:
        """Check the model's name."""
        check_choice("model", self.model, MODELS)
        check_at_least("error_rad", self.error_rad, 0)

    def build(self) -> "MockArm":
        """Return the driver."""
        return MockArm(self)


class MockArm:
    """Goes where it is sent at once.

    Args:
        config: Which arm, and what goes wrong.
    """

    def __init__(self, config: MockArmConfig) -> None:
        self.config = config
        self.spec = MODELS[config.model]()
        self._rng = np.random.default_rng(config.seed)
        self._position = self.spec.rest_rad
        self._velocity = (0.0,) * self.spec.num_joints
        self._gripper = 1.0
        self._mode = ArmMode.DISCONNECTED
        self._started_s = float("inf")
        self._num_commands = 0
        self._frozen: ArmState | None = None

    def connect(self) -> None:
        """Begin."""
        self._mode = ArmMode.READY

    def disconnect(self) -> None:
        """End."""
        self._mode = ArmMode.DISCONNECTED

    def read(self) -> ArmState:
        """Return the state, with what goes wrong."""
        self._check_connected()
        faults, now = self.config.faults, time.monotonic()
        age = now - self._started_s
        if faults.stops_after_s is not None and age > faults.stops_after_s:
            self._mode = ArmMode.PROTECTIVE_STOP
        error = self._rng.uniform(-1, 1, self.spec.num_joints) * self.config.error_rad
        position = tuple((np.array(self._position) + error).tolist())
        state = ArmState(now, position, self._velocity, self._mode, gripper=self._gripper)
        if self._mode is ArmMode.PROTECTIVE_STOP:
            state = replace(state, faults=(Fault("C153", "protective stop: unlock it"),))
        if faults.nan_after_s is not None and age > faults.nan_after_s:
            state = replace(state, position=(float("nan"),) * self.spec.num_joints)
        if faults.frozen_after_s is not None and age > faults.frozen_after_s:
            self._frozen = self._frozen or state
            return self._frozen
        return state

    def start_servo(self) -> None:
        """Follow commands from now on.

        Raises:
            HardwareError: It is in a protective stop.
        """
        self._check_connected()
        if self._mode is ArmMode.PROTECTIVE_STOP:
            raise HardwareError(
                "The controller is in a protective stop. Look at the arm, then acknowledge it: "
                "robopref arm recover."
            )
        self._mode, self._started_s = ArmMode.SERVO, min(self._started_s, time.monotonic())

    def servo(self, command: ArmCommand) -> None:
        """Go there, unless the command is lost."""
        self._check_connected()
        target = check_servo(command, self.spec.num_joints)
        faults = self.config.faults
        self._num_commands += 1
        if faults.late_every and self._num_commands % faults.late_every == 0:
            time.sleep(faults.late_s)
        if self._mode is not ArmMode.SERVO or self._rng.random() < faults.lost_share:
            return
        moved = np.subtract(target, self._position) * self.spec.rate_hz
        self._position, self._velocity = tuple(target), tuple(moved.tolist())
        if command.gripper is not None:
            self._gripper = command.gripper

    def stop(self, level: StopLevel) -> None:
        """Stand still."""
        self._velocity = (0.0,) * self.spec.num_joints
        if level is not StopLevel.HOLD and self._mode is ArmMode.SERVO:
            self._mode = ArmMode.READY if level is StopLevel.CONTROLLED else ArmMode.ESTOP

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Take none: there is no controller."""
        del config
        return frozenset()

    def recover(self, ack: OperatorAck) -> None:
        """Leave a stop."""
        del ack
        self._check_connected()
        self._mode = ArmMode.READY

    def freedrive(self, *, on: bool) -> None:
        """Be pushed, or not."""
        self._check_connected()
        self._mode = ArmMode.FREEDRIVE if on else ArmMode.READY

    def push(self, position: Joints) -> None:
        """Stand elsewhere, as a person's push would make it."""
        self._position = position

    def _check_connected(self) -> None:
        if self._mode is ArmMode.DISCONNECTED:
            raise NotConnected("The arm is not connected; call connect() first.")

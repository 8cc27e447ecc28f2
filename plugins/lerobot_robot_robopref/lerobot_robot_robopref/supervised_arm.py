"""An arm of robopref's as a robot of LeRobot's: every action passes the safety supervisor.

The control loop is a process of its own with a watchdog. LeRobot's loop may be as slow as it is, or
end without a word: the arm then holds and stops. What was truly sent is what `send_action` returns,
and so what `lerobot-record` writes down.

Shapes: J joints.
"""

import math
import time
from typing import Any

import numpy as np
from lerobot.cameras.utils import make_cameras_from_configs
from lerobot.robots.robot import Robot

from lerobot_robot_robopref.config_supervised_arm import SupervisedArmConfig
from robopref.errors import HardwareError, NotConnected
from robopref.hardware.arm_model import names_for
from robopref.hardware.arm_process import ArmProcess
from robopref.hardware.chunks import Chunk
from robopref.hardware.loop import LoopConfig
from robopref.hardware.types import ArmState

GRIPPER_OPEN = 100.0
"""LeRobot's number for an open gripper; closed is 0."""
ANSWER_PERIODS = 10
"""So many periods of the arm may pass until an action has been decided about."""


class SupervisedArm(Robot):
    """Moves an arm within its limits; positions are in degrees, as LeRobot's own robots have them.

    Args:
        config: Which arm, and its limits.
    """

    config_class = SupervisedArmConfig
    name = "robopref"

    def __init__(self, config: SupervisedArmConfig) -> None:
        super().__init__(config)
        self.config = config
        self._driver = config.driver()
        self.spec = self._driver.build().spec
        self.joints = names_for(self.spec, tuple(config.joints))
        self.cameras = make_cameras_from_configs(config.cameras)
        self._arm: ArmProcess | None = None
        self._number = 0

    @property
    def _positions(self) -> dict[str, type]:
        names = [*self.joints, *([self.config.gripper] if self.config.gripper else [])]
        return {f"{name}.pos": float for name in names}

    @property
    def observation_features(self) -> dict[str, Any]:
        """What `get_observation` returns: positions, and the shapes of pictures."""
        pictures = {
            name: (camera.height, camera.width, 3) for name, camera in self.config.cameras.items()
        }
        return {**self._positions, **pictures}

    @property
    def action_features(self) -> dict[str, type]:
        """What `send_action` takes: positions."""
        return self._positions

    @property
    def is_connected(self) -> bool:
        """Whether the control loop runs."""
        return self._arm is not None

    @property
    def is_calibrated(self) -> bool:
        """Always: the driver refuses an arm that is not."""
        return True

    def calibrate(self) -> None:
        """Do nothing."""

    def configure(self) -> None:
        """Do nothing: limits are set when the loop begins."""

    def connect(self, calibrate: bool = True) -> None:
        """Connect and arm; the arm holds until the first action.

        Raises:
            HardwareError: It cannot be reached or armed, or has no gripper.
        """
        del calibrate
        if self._arm is not None:
            return
        arm = ArmProcess(self._driver, self.spec, self.config.limits(), LoopConfig())
        try:
            arm.start()
            if self.config.gripper and arm.state().gripper is None:
                raise HardwareError(
                    f"'{self.spec.name}' has no gripper. Give `gripper` as an empty text."
                )
            for camera in self.cameras.values():
                camera.connect()
        except BaseException:
            arm.close()
            raise
        self._arm = arm

    def get_observation(self) -> dict[str, Any]:
        """Return where the arm is [degrees], and the cameras' newest pictures.

        Raises:
            NotConnected: It is not connected.
            StaleState: The arm was not heard of for too long.
        """
        state = self._connected().state(max_age_s=self.config.limits().watchdog_s)
        pictures = {name: camera.async_read() for name, camera in self.cameras.items()}
        return {**self._as_theirs(state.position, state.gripper), **pictures}

    def send_action(self, action: dict[str, Any]) -> dict[str, Any]:
        """Let the supervisor decide about positions [degrees]; return what was sent.

        Raises:
            KeyError: A joint is missing.
            NotConnected: It is not connected.
            SafetyStop: The arm was stopped; the message says why.
        """
        arm, number = self._connected(), self._number
        self._number += 1
        missing = [key for key in self._positions if key not in action]
        if missing:
            raise KeyError(f"`action` must hold '{missing[0]}', got {sorted(action)}.")
        target = np.radians([[float(action[f"{name}.pos"]) for name in self.joints]])
        grip = None
        if self.config.gripper:
            grip = np.array([float(action[f"{self.config.gripper}.pos"]) / GRIPPER_OPEN])
        arm.send(Chunk(number, time.monotonic(), self.spec.period_s, target, grip, "lerobot"))
        return self._sent(arm, number, grip)

    def disconnect(self) -> None:
        """Brake, let go of the arm, and end the control loop."""
        arm, self._arm = self._arm, None
        if arm is None:
            return
        arm.close()
        for camera in self.cameras.values():
            camera.disconnect()

    def _sent(self, arm: ArmProcess, number: int, grip: np.ndarray | None) -> dict[str, Any]:
        """Return what was sent for an action, once it has been decided about."""
        deadline = time.monotonic() + ANSWER_PERIODS * self.spec.period_s
        while arm.outcome()["chunk"] < number and time.monotonic() < deadline:
            arm.check_running()
            time.sleep(self.spec.period_s / 10)
        arm.check_running()
        sent = arm.outcome()["sent"]
        state: ArmState = arm.state(max_age_s=math.inf)
        # Where nothing is sent, the arm stays where it is.
        position = np.where(np.isfinite(sent), sent, state.position)
        return self._as_theirs(position, None if grip is None else float(np.clip(grip[0], 0, 1)))

    def _as_theirs(self, position: Any, gripper: float | None) -> dict[str, Any]:
        found = {
            f"{name}.pos": math.degrees(place)
            for name, place in zip(self.joints, position, strict=True)
        }
        if self.config.gripper and gripper is not None:
            found[f"{self.config.gripper}.pos"] = GRIPPER_OPEN * gripper
        return found

    def _connected(self) -> ArmProcess:
        if self._arm is None:
            raise NotConnected("The arm is not connected. Call connect() first.")
        return self._arm

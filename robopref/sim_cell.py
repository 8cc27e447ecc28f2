"""A cell whose arm is simulated: its cameras draw the arm that is there, wherever it is reached."""

from dataclasses import replace
from typing import Any

from robopref.config import to_dict
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimProcess
from robopref.hardware.synthetic_camera import SyntheticCameraConfig


class SimCell:
    """Starts the controller of a cell's arm, so that its driver and its cameras share it.

    Args:
        robot: Config of the cell's arm; one that is not simulated, or runs elsewhere, stays as it
            is.
    """

    def __init__(self, robot: Any) -> None:
        self._robot = robot
        self._process: SimProcess | None = None

    def robot(self) -> Any:
        """Return the config by which the arm is reached, once its controller runs.

        Raises:
            HardwareError: The controller does not start.
        """
        robot = self._robot
        if not isinstance(robot, SimArmConfig) or robot.address:
            return robot
        if self._process is None:
            self._process = SimProcess(to_dict(robot))
        return replace(robot, address="{}:{}".format(*self._process.address))

    def camera(self, camera: Any) -> Any:
        """Return the config of a camera; one that draws no arm of its own draws this one.

        Raises:
            HardwareError: The controller does not start.
        """
        robot = self.robot()
        is_of_this = isinstance(robot, SimArmConfig) and isinstance(camera, SyntheticCameraConfig)
        if not is_of_this or camera.address:
            return camera
        return replace(
            camera, model=robot.model, scene=robot.scene.model, address=robot.address
        )  # fmt: skip

    def close(self) -> None:
        """End the controller, if it was started here; may be called twice."""
        if self._process is not None:
            self._process.close()
        self._process = None

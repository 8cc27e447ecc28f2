"""Settings of an arm behind robopref's supervisor, as LeRobot's commands take them."""

from dataclasses import dataclass, field, fields
from typing import Any

from lerobot.cameras.configs import CameraConfig
from lerobot.robots.config import RobotConfig

from robopref.config import from_dict
from robopref.errors import check_name
from robopref.hardware import ARMS
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.workspace import Box, Workspace


@RobotConfig.register_subclass("robopref")
@dataclass(kw_only=True)
class SupervisedArmConfig(RobotConfig):
    """Any arm that robopref drives, any robot of LeRobot's among them."""

    arm: str = "lerobot"
    """Its driver, one of robopref's: lerobot, franka, ur, xarm, ros2, sim and others."""
    options: dict[str, Any] = field(default_factory=dict)
    """The driver's settings, fields of its config; those of a robot of LeRobot's are in `settings`
    there, as the text of a JSON object."""
    stay_in: list[float] = field(default_factory=list)
    """Where all links stay: lower and upper corner of a box in the frame of the base [m]."""
    speed_factor: float = 0.1
    """Share of the greatest speeds that may be used."""
    safety: dict[str, Any] = field(default_factory=dict)
    """Further limits, fields of `SafetyConfig`."""
    joints: list[str] = field(default_factory=list)
    """What datasets call the joints; empty takes the model's names."""
    gripper: str = "gripper"
    """What they call the gripper, open at 100; empty without one."""
    cameras: dict[str, CameraConfig] = field(default_factory=dict)
    """LeRobot's cameras, by name."""

    def __post_init__(self) -> None:
        """Check what can be checked without the arm."""
        super().__post_init__()
        self.driver()
        self.limits()

    def driver(self) -> Any:
        """Return the config of the driver.

        Raises:
            UnknownNameError: There is no such driver.
            ConfigError: `options` does not fit it.
        """
        return from_dict(ARMS.config_class(self.arm), self.options)

    def limits(self) -> SafetyConfig:
        """Return the limits.

        Raises:
            ValueError: `stay_in` is no box, or `safety` does not fit.
        """
        if len(self.stay_in) != 6:
            raise ValueError(
                "`stay_in` must be the lower and the upper corner of a box that all links stay in, "
                f"six numbers [m], got {self.stay_in}."
            )
        x, y, z, *high = self.stay_in
        workspace = Workspace(Box((x, y, z), (high[0], high[1], high[2])))
        further: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in self.safety.items()
        }
        known = {each.name for each in fields(SafetyConfig)} - {"workspace", "speed_factor"}
        for name in further:
            check_name("limit", name, known, heading="Known")
        return SafetyConfig(workspace, self.speed_factor, **further)

"""A robot's cell as one file: the arm, where it may be, what sees it, and what is done there.

Shapes: J joints.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from robopref.config import component, resolve
from robopref.errors import check_above, check_at_least, check_between
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmSpec
from robopref.hardware.workspace import Box, Workspace

STALL_S = 0.5
"""Oldest state and longest silence of a simulated arm [s]."""
SIMULATED = ("sim", "mock")
"""Drivers of arms that hurt nobody: their place need not be measured, nobody has to watch."""
_ANYWHERE = Workspace(Box((-1.5, -1.5, -0.2), (1.5, 1.5, 2.0)))


@dataclass(frozen=True)
class RigCamera:
    """A camera of the cell."""

    driver: Any = component("robopref.hardware:CAMERAS")
    """Which, and how it is opened."""


@dataclass(frozen=True)
class RigConfig:
    """A robot's cell.

    Raises:
        ValueError: A number is out of its range, or nobody says where a real arm may be.
    """

    robot: Any = component("robopref.hardware:ARMS", default="sim")
    """The arm, and how it is reached."""
    task: str = ""
    """What is done here, in words."""
    workspace: Workspace | None = None
    """Where every link has to stay, in the frame of the arm's base."""
    start_rad: tuple[float, ...] = ()
    """Where the arm begins, (J,); empty for where its maker lets it rest."""
    tool_speed_m_s: float = 0.25
    """Greatest speed of the tool [m/s]."""
    reach_m: float = 0.01
    """How far a step of a policy may move the tool along an axis [m]."""
    max_episode_steps: int = 200
    """Steps after which an episode is cut off."""
    off: tuple[str, ...] = ()
    """Filters of the supervisor that are turned off; recorded with the data."""
    cameras: dict[str, RigCamera] = field(default_factory=dict)
    """Cameras, by the names that they have in the data."""
    image_px: int = 224
    """Width and height of what they show a policy."""
    camera_age_s: float = 0.5
    """A camera whose newest picture is older does not see, and the arm is stopped [s]."""

    def __post_init__(self) -> None:
        """Check the values."""
        check_above("tool_speed_m_s", self.tool_speed_m_s, 0)
        check_between("reach_m", self.reach_m, 1e-4, 0.1)
        check_at_least("max_episode_steps", self.max_episode_steps, 1)
        check_at_least("image_px", self.image_px, 1)
        check_above("camera_age_s", self.camera_age_s, 0)
        if self.workspace is None and not self.is_simulated and "workspace" not in self.off:
            raise ValueError(
                "Say where the arm may be, by a box around all its links [m]: `workspace` with "
                "`stay_in`, which has `low_m` and `high_m`, and `half_spaces`, such as the top of "
                "a table: {normal: [0, 0, 1], offset_m: 0.0}. To go without, name 'workspace' in "
                "`off`; it is recorded with the data."
            )

    @property
    def is_simulated(self) -> bool:
        """Whether the arm hurts nobody."""
        return is_simulated(resolve(self, "robot"))

    @property
    def step_s(self) -> float:
        """How long a step takes at full speed [s]: the tool never has to be faster than it may."""
        return float(3**0.5) * self.reach_m / self.tool_speed_m_s

    def start_of(self, spec: ArmSpec) -> tuple[float, ...]:
        """Return where an arm begins [rad].

        Raises:
            ValueError: It is said for another number of joints, or outside of their limits.
        """
        start = self.start_rad or spec.rest_rad
        if len(start) != spec.num_joints:
            raise ValueError(
                f"`start_rad` has {len(start)} joints, and '{spec.name}' has {spec.num_joints}."
            )
        limits = zip(spec.position_min_rad, spec.position_max_rad, strict=True)
        for joint, place, (low, high) in zip(spec.joint_names, start, limits, strict=True):
            if not low <= place <= high:
                raise ValueError(
                    f"`start_rad` puts '{joint}' at {place} rad, outside of {low:.3f} to "
                    f"{high:.3f} rad. Are these degrees?"
                )
        return start

    def safety(self, speed_factor: float) -> SafetyConfig:
        """Return what the arm is kept to, with a share of the greatest speeds."""
        space = self.workspace or (None if "workspace" in self.off else _ANYWHERE)
        found = SafetyConfig(space, speed_factor, tool_speed_m_s=self.tool_speed_m_s, off=self.off)
        if not self.is_simulated:
            return found
        # A machine that is shared may not run for so long, and nothing is at stake in a simulation.
        return replace(found, state_age_s=STALL_S, watchdog_s=STALL_S)


def is_simulated(robot: Any) -> bool:
    """Return whether the arm of a driver's config hurts nobody."""
    from robopref.hardware import ARMS

    return ARMS.name_of(type(robot)) in SIMULATED

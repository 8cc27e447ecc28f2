"""What the supervisor keeps an arm to; every limit is on unless it is named as off."""

import math
from dataclasses import dataclass

from robopref.errors import check_above, check_at_least, check_between, check_choice
from robopref.hardware.workspace import Workspace

CAN_BE_OFF = frozenset(
    {
        "deadman", "workspace", "self-collision", "tool-speed", "effort", "budget", "first-command",
    }
)  # fmt: skip
"""Filters without which an arm can still be stopped; the others are always on."""


@dataclass(frozen=True)
class SafetyConfig:
    """Limits beside those of the arm itself."""

    workspace: Workspace | None = None
    """Where every link has to stay; to leave it out, name `workspace` in `off`."""
    speed_factor: float = 0.1
    """Share of the speeds below that may be used; a first run is slow."""
    joint_margin_rad: float = math.radians(3)
    """Distance kept from the joint limits [rad]."""
    self_distance_m: float = 0.01
    """Distance that links which are not neighbours keep from each other [m]."""
    tool_speed_m_s: float = 0.25
    """Greatest speed of the tool [m/s]."""
    tool_rotation_rad_s: float = 1.0
    """Greatest rotation of the tool [rad/s]."""
    tracking_error_rad: float = 0.1
    """How far a joint may be from where it was sent [rad]."""
    watchdog_s: float = 0.2
    """Without a valid command for so long, the arm is stopped [s]."""
    hold_after_periods: float = 1.5
    """Without a valid command for so many periods, it holds."""
    state_age_s: float = 0.1
    """Oldest state of the arm that is acted on [s]."""
    gate_rad: float = 0.02
    """A first command further away than this is approached slowly [rad]."""
    gate_speed: float = 0.1
    """Share of the usual speed at which it is approached."""
    needs_deadman: bool = False
    """Whether the arm moves only while a person holds a key, pedal or button."""
    effort_share: float = 0.8
    """Share of the greatest effort that may act together with an error of position."""
    effort_error_rad: float = 0.03
    """The error of position that counts [rad]."""
    effort_s: float = 0.1
    """How long both may last [s]."""
    episode_s: float = 600.0
    """Longest motion without a person's word [s]."""
    clamps_s: float = 5.0
    """Without a break, commands may be changed for so long before the arm is stopped [s]."""
    off: tuple[str, ...] = ()
    """Filters that are turned off; recorded with the data."""

    def __post_init__(self) -> None:
        """Check ranges, and that what is off may be."""
        for name in self.off:
            check_choice("off", name, CAN_BE_OFF)
        if self.workspace is None and "workspace" not in self.off:
            raise ValueError(
                "`workspace` must be given: a box that every link has to stay in. To go without "
                "one, name 'workspace' in `off`; it is recorded with the data."
            )
        check_between("speed_factor", self.speed_factor, 0.01, 1)
        check_between("gate_speed", self.gate_speed, 0.01, 1)
        check_between("effort_share", self.effort_share, 0, 1)
        check_at_least("joint_margin_rad", self.joint_margin_rad, 0)
        check_at_least("hold_after_periods", self.hold_after_periods, 1)
        check_between("self_distance_m", self.self_distance_m, 0, 0.2)
        for name in (
            "tool_speed_m_s", "tool_rotation_rad_s", "tracking_error_rad", "watchdog_s",
            "state_age_s", "gate_rad", "effort_error_rad", "effort_s", "episode_s", "clamps_s",
        ):  # fmt: skip
            check_above(name, getattr(self, name), 0)

    def has(self, name: str) -> bool:
        """Return whether the filter `name` is on."""
        return name not in self.off

"""What is known of where a camera looks from, and whether that still holds.

A camera has a mount: the place on the tool or beside the robot where somebody put it, and since
when. A calibration is of one camera on one mount, and is worth nothing once either has changed; so
both are kept in a folder, and whoever uses a camera checks them first.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from jaxtyping import Float

from robopref.config import load_yaml, save_yaml
from robopref.errors import ConfigError, HardwareError, check_choice
from robopref.hardware.driver import CameraInfo, Intrinsics

ON = ("base", "tool")
"""What a camera may be fixed to: what the robot stands on, or its tool."""
Rows = tuple[tuple[float, float, float, float], ...]


@dataclass(frozen=True)
class Mount:
    """Where a camera is fixed.

    Args:
        name: Its name, which is also the camera's in data.
        on: What it is fixed to, one of `ON`.
        since: When it was put there, as ISO 8601 in UTC.

    Raises:
        ValueError: The date is none, or the place is unknown.
    """

    name: str
    on: str
    since: str

    def __post_init__(self) -> None:
        """Check the values."""
        check_choice("on", self.on, ON)
        _date("since", self.since)


@dataclass(frozen=True)
class Calibration:
    """Where a camera looks from, and how it sees.

    Args:
        camera_serial: Which camera.
        mount: The mount that it was on.
        date: When it was measured, as ISO 8601 in UTC.
        intrinsics: How it maps what it sees to pixels.
        pose: Pose of the camera in the frame of what its mount is on, 4 x 4, as rows [m].
        num_views: Pictures of the board that were used.
        reprojection_px: How far corners of the board are from where they should be, root mean
            square [pixels].
        spread_m: How far the board seems to move between the views, root mean square [m].

    Raises:
        ValueError: The date is none, or the pose is no pose.
    """

    camera_serial: str
    mount: Mount
    date: str
    intrinsics: Intrinsics
    pose: Rows
    num_views: int
    reprojection_px: float
    spread_m: float

    def __post_init__(self) -> None:
        """Check date and pose."""
        _date("date", self.date)
        pose = np.array(self.pose, float)
        if pose.shape != (4, 4) or not np.allclose(pose[3], (0, 0, 0, 1)):
            raise ValueError("`pose` must be a 4 x 4 matrix that ends with 0, 0, 0, 1.")
        turn = pose[:3, :3]
        if not np.allclose(turn @ turn.T, np.eye(3), atol=1e-4) or np.linalg.det(turn) < 0:
            raise ValueError("`pose` must hold a rotation.")

    def camera_pose(
        self, T_base_tool: Float[np.ndarray, "4 4"] | None = None
    ) -> Float[np.ndarray, "4 4"]:
        """Return the pose of the camera in the robot's base [m].

        Args:
            T_base_tool: Where the tool was when the picture was taken; of use to a camera on it.

        Raises:
            ValueError: The camera is on the tool, and nothing says where that is.
        """
        pose = np.array(self.pose, float)
        if self.mount.on == "base":
            return pose
        if T_base_tool is None:
            raise ValueError(
                f"The camera on the mount '{self.mount.name}' moves with the tool: `T_base_tool` "
                "must say where that was when the picture was taken."
            )
        moved: np.ndarray = T_base_tool @ pose
        return moved


def now() -> str:
    """Return the date and time, as ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def save_mount(folder: Path, mount: Mount) -> None:
    """Keep a mount; what was calibrated on it before is out of date."""
    save_yaml(mount, folder / f"{mount.name}.mount.yaml")


def load_mount(folder: Path, name: str) -> Mount | None:
    """Return the mount of a camera; None where nobody said where it is."""
    path = folder / f"{name}.mount.yaml"
    return load_yaml(Mount, path) if path.is_file() else None


def save_calibration(folder: Path, calibration: Calibration) -> Path:
    """Keep a calibration, in the place of an older one; return its file."""
    path = _path(folder, calibration.mount.name)
    save_yaml(calibration, path)
    return path


def load_calibration(folder: Path, name: str, info: CameraInfo) -> Calibration:
    """Return the calibration of a camera that is open, if it still holds.

    Args:
        folder: Where mounts and calibrations are kept.
        name: The camera's.
        info: What the camera says of itself.

    Raises:
        HardwareError: There is none, or it is of another camera or size, or the camera was mounted
            anew since.
    """
    path = _path(folder, name)
    again = f"Calibrate it: robopref camera calibrate --name {name} --folder {folder}"
    if not path.is_file():
        raise HardwareError(f"Camera '{name}' has no calibration at '{path}'. {again}")
    try:
        found = load_yaml(Calibration, path)
    except ConfigError as error:
        raise HardwareError(f"The calibration '{path}' cannot be used: {error} {again}") from error
    reason = _why_void(found, load_mount(folder, name), info)
    if reason:
        raise HardwareError(f"The calibration of camera '{name}' does not hold: {reason}. {again}")
    return found


def _why_void(found: Calibration, mount: Mount | None, info: CameraInfo) -> str:
    """Return why a calibration does not hold; empty if it does."""
    if found.camera_serial != info.serial:
        return f"it is of the camera {found.camera_serial}, and this one is {info.serial}"
    size = (found.intrinsics.width, found.intrinsics.height)
    if size != (info.width, info.height):
        return f"it is of pictures of {size} pixels, and these have {(info.width, info.height)}"
    if mount is None:
        return "nobody said where the camera is mounted"
    if (mount.name, mount.on) != (found.mount.name, found.mount.on):
        return (
            f"it is of the mount '{found.mount.name}' on the {found.mount.on}, and the camera is "
            f"on '{mount.name}' on the {mount.on}"
        )
    if _date("since", mount.since) > _date("date", found.date):
        return f"it was made at {found.date}, and the camera was mounted anew at {mount.since}"
    return ""


def _path(folder: Path, name: str) -> Path:
    return folder / f"{name}.calibration.yaml"


def _date(field: str, text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ValueError(
            f"`{field}` must be a date and time with its zone, such as 2026-11-26T12:00:00+00:00, "
            f"got '{text}'."
        )
    return found

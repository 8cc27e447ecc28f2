"""What a driver does: small, facing its vendor, never blocking longer than one period.

A third party adds a driver with one file and an entry point in the group `robopref.arms` or
`robopref.cameras`.

Shapes: J joints, H height, W width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmCommand, ArmSpec, ArmState, OperatorAck, StopLevel


@runtime_checkable
class ArmDriver(Protocol):
    """An arm, and the gripper on it.

    A driver never clears a fault by itself, and never moves but by `servo`.
    """

    spec: ArmSpec

    def connect(self) -> None:
        """Reach the arm; power stays as it is.

        Raises:
            HardwareError: It cannot be reached; the message says at which address, and what to do.
        """
        ...

    def disconnect(self) -> None:
        """Let go of the arm, which stops; may be called twice, and never raises."""
        ...

    def read(self) -> ArmState:
        """Return the newest state, without waiting for a new one.

        Raises:
            NotConnected: `connect` was not called.
        """
        ...

    def start_servo(self) -> None:
        """Make the arm follow commands from now on.

        Raises:
            HardwareError: The controller refuses: a protective stop, brakes, a mode.
        """
        ...

    def servo(self, command: ArmCommand) -> None:
        """Send the joint positions of the next period."""
        ...

    def stop(self, level: StopLevel) -> None:
        """Stop the arm; may be called from any thread, and more than once."""
        ...

    def apply_native_limits(self, config: SafetyConfig) -> frozenset[str]:
        """Give the controller the limits that it can keep itself; return which it took."""
        ...

    def recover(self, ack: OperatorAck) -> None:
        """Clear a stop or a fault, on a person's word.

        Raises:
            HardwareError: It cannot be cleared from here; the message says what to do.
        """
        ...

    def freedrive(self, *, on: bool) -> None:
        """Let a person push the arm, or end that.

        Raises:
            HardwareError: This arm cannot.
        """
        ...


@dataclass(frozen=True, eq=False, slots=True)
class Frame:
    """A picture, with its depth where the camera measures it.

    Args:
        time_s: When it was taken [s, monotonic clock].
        colour: (H, W, 3).
        depth_m: Distance along the optical axis [m], 0 where there is none; None without.
    """

    time_s: float
    colour: UInt8[np.ndarray, "H W 3"]
    depth_m: Float[np.ndarray, "H W"] | None = None


@dataclass(frozen=True)
class Intrinsics:
    """How a camera maps what it sees to pixels.

    Axes of a camera: x to the right, y down, z along the view.

    Args:
        width: Pixels a row.
        height: Rows.
        focal_px: Focal lengths along x and y [pixels].
        centre_px: Where the axis of view meets the picture, x and y [pixels].
        distortion: OpenCV's coefficients k1, k2, p1, p2, k3, k4, k5, k6; () without.
    """

    width: int
    height: int
    focal_px: tuple[float, float]
    centre_px: tuple[float, float]
    distortion: tuple[float, ...] = ()

    @property
    def matrix(self) -> Float[np.ndarray, "3 3"]:
        """The camera matrix."""
        (fx, fy), (cx, cy) = self.focal_px, self.centre_px
        return np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])


@dataclass(frozen=True)
class CameraInfo:
    """What is known of a camera that is open.

    Args:
        serial: Its serial number, or what else tells it from others.
        width: Pixels a row.
        height: Rows.
        fps: Pictures a second [Hz].
        intrinsics: As its maker measured them; None where the camera does not say.
        has_depth: Whether its pictures have depth.
    """

    serial: str
    width: int
    height: int
    fps: float
    intrinsics: Intrinsics | None = None
    has_depth: bool = False


@runtime_checkable
class CameraDriver(Protocol):
    """A camera; its methods keep to what LeRobot's cameras promise.

    `robopref.hardware.camera.Camera` has all of them around a `CameraSource`, which is what a
    driver needs to write. The class of a camera's config has a static method `find_cameras()`,
    which returns what is attached: a dictionary each, with "id" and "name".
    """

    def info(self) -> CameraInfo:
        """Return what is known of it.

        Raises:
            NotConnected: `connect` was not called.
        """
        ...

    @property
    def is_connected(self) -> bool:
        """Whether it is open."""
        ...

    def connect(self, warmup: bool = True) -> None:
        """Open the camera and, with `warmup`, wait for its first picture.

        Raises:
            HardwareError: There is none, or no picture comes.
        """
        ...

    def read(self) -> Frame:
        """Return the next new picture, waiting for it.

        Raises:
            TimeoutError: None comes.
        """
        ...

    def async_read(self, timeout_ms: float = 200) -> Frame:
        """Return a picture that no call returned before.

        Raises:
            TimeoutError: None came in time.
        """
        ...

    def read_latest(self, max_age_ms: float = 500) -> Frame:
        """Return the newest picture at once.

        Raises:
            TimeoutError: It is older than that: the camera is frozen or unplugged.
        """
        ...

    def disconnect(self) -> None:
        """Close the camera; may be called twice, and never raises."""
        ...


def check_servo(command: ArmCommand, num_joints: int) -> Sequence[float]:
    """Return the joint positions of a command for a driver.

    Raises:
        ValueError: It is of another kind, or of another number of joints.
    """
    if command.kind != "joint position" or len(command.value) != num_joints:
        raise ValueError(
            f"A driver takes {num_joints} joint positions, got '{command.kind}' of "
            f"{len(command.value)} numbers."
        )
    return command.value

"""Point clouds in the robot's base, from a picture with depth and where the camera is.

Shapes: P points.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robopref.errors import check_above, check_at_least
from robopref.hardware.driver import Frame, Intrinsics
from robopref.registry import import_extra


@dataclass(frozen=True)
class CloudConfig:
    """What becomes of the points."""

    low_m: tuple[float, float, float] = (-1.5, -1.5, -0.05)
    """Lower corner of the box whose points are kept, in the robot's base [m]."""
    high_m: tuple[float, float, float] = (1.5, 1.5, 1.5)
    """Its upper corner [m]."""
    depth_max_m: float = 3.0
    """Points further from the camera are left out [m]."""
    voxel_m: float = 0.005
    """One point is kept in each cube of this size [m]; 0 keeps all."""
    neighbours: int = 20
    """A point is compared with so many around it; 0 keeps those that stand apart."""
    spread: float = 2.0
    """Points further from these than usual by so many standard deviations are left out."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if any(low >= high for low, high in zip(self.low_m, self.high_m, strict=True)):
            raise ValueError(f"`low_m` (={self.low_m}) must be below `high_m` (={self.high_m}).")
        check_above("depth_max_m", self.depth_max_m, 0)
        check_at_least("voxel_m", self.voxel_m, 0)
        check_at_least("neighbours", self.neighbours, 0)
        check_above("spread", self.spread, 0)


@dataclass(frozen=True, eq=False)
class Cloud:
    """Points and their colours.

    Args:
        points_m: Where they are in the robot's base [m], (P, 3).
        colours: Their colours, (P, 3).
    """

    points_m: Float[np.ndarray, "P 3"]
    colours: UInt8[np.ndarray, "P 3"]

    def save(self, path: Path) -> None:
        """Write it as a PLY file, which most viewers open."""
        o3d = _open3d()
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(self.points_m.astype(float)))
        cloud.colors = o3d.utility.Vector3dVector(self.colours / 255.0)
        if not o3d.io.write_point_cloud(str(path), cloud):
            raise OSError(f"'{path}' cannot be written.")


def make_cloud(
    frame: Frame,
    intrinsics: Intrinsics,
    T_base_camera: Float[np.ndarray, "4 4"],
    config: CloudConfig,
) -> Cloud:
    """Return the points that a picture shows, in the robot's base.

    In this order: back-projection, the box, one point a cube, points that stand apart.

    Args:
        frame: A picture with depth.
        intrinsics: How the camera sees.
        T_base_camera: Pose of the camera, as `Calibration.camera_pose` gives it [m].
        config: What becomes of the points.

    Raises:
        ValueError: The picture has no depth, or another size than the intrinsics.
    """
    if frame.depth_m is None:
        raise ValueError("Points need a picture with depth; this camera measures none.")
    if frame.depth_m.shape != (intrinsics.height, intrinsics.width):
        raise ValueError(
            f"`frame` has {frame.depth_m.shape} pixels and `intrinsics` "
            f"{(intrinsics.height, intrinsics.width)}."
        )
    o3d = _open3d()
    colour, depth = _undistorted(frame.colour, frame.depth_m, intrinsics)
    picture = o3d.geometry.RGBDImage.create_from_color_and_depth(
        o3d.geometry.Image(np.ascontiguousarray(colour)),
        o3d.geometry.Image(np.ascontiguousarray(depth, np.float32)),
        depth_scale=1.0, depth_trunc=config.depth_max_m, convert_rgb_to_intensity=False,
    )  # fmt: skip
    lens = o3d.camera.PinholeCameraIntrinsic(
        intrinsics.width, intrinsics.height, *intrinsics.focal_px, *intrinsics.centre_px
    )
    cloud = o3d.geometry.PointCloud.create_from_rgbd_image(picture, lens)
    cloud.transform(T_base_camera)
    cloud = cloud.crop(o3d.geometry.AxisAlignedBoundingBox(config.low_m, config.high_m))
    if config.voxel_m > 0:
        cloud = cloud.voxel_down_sample(config.voxel_m)
    if config.neighbours and len(cloud.points) > config.neighbours:
        cloud, _ = cloud.remove_statistical_outlier(config.neighbours, config.spread)
    return Cloud(
        np.asarray(cloud.points, np.float32).copy(),
        np.rint(255 * np.asarray(cloud.colors)).astype(np.uint8).reshape(-1, 3),
    )


def resample(
    points_m: Float[np.ndarray, "P 3"], num: int, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "num 3"], int]:
    """Return a fixed number of points, and how many there were.

    Of more, those are taken that are farthest apart; where there are fewer, some come again.

    Raises:
        ValueError: There are none, or `num` is below 1.
    """
    check_at_least("num", num, 1)
    if not len(points_m):
        raise ValueError("There are no points to take any from.")
    if len(points_m) > num:
        o3d = _open3d()
        cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points_m.astype(float)))
        taken = np.asarray(cloud.farthest_point_down_sample(num).points, np.float32)
        return taken.copy(), len(points_m)
    again = rng.integers(len(points_m), size=num - len(points_m))
    return np.concatenate([points_m, points_m[again]]).astype(np.float32), len(points_m)


def _undistorted(
    colour: np.ndarray, depth_m: np.ndarray, intrinsics: Intrinsics
) -> tuple[np.ndarray, np.ndarray]:
    """Return picture and depth as a camera without distortion would see them."""
    if not intrinsics.distortion:
        return colour, depth_m
    cv2 = import_extra("cv2", purpose="Undistorting a picture", extra="camera")
    matrix, size = intrinsics.matrix, (intrinsics.width, intrinsics.height)
    maps = cv2.initUndistortRectifyMap(
        matrix, np.array(intrinsics.distortion), None, matrix, size, cv2.CV_32FC1
    )
    # Between two distances there is nothing.
    return cv2.remap(colour, *maps, cv2.INTER_LINEAR), cv2.remap(depth_m, *maps, cv2.INTER_NEAREST)


def _open3d() -> Any:
    import open3d

    return open3d

"""Point clouds of what lies on the table, from the depth pictures of simulated cameras.

Shapes: P points of a cloud, N points that were seen, H rows and W columns of a picture.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from robopref.errors import DataError, check_at_least

MIN_POINTS = 8
"""Points below which a cloud says too little."""
COLORED = 40
"""Difference between the channels of a pixel above which it is not grey."""


@dataclass(frozen=True)
class CloudConfig:
    """How clouds are made of depth pictures."""

    num_points: int = 512
    """Points of a cloud; more are thinned out, fewer repeated."""
    voxel_m: float = 0.006
    """Side of the cubes of which each gives one point [m]."""
    noise_m: float = 0.001
    """Deviation of a distance that is measured [m]."""
    dropout: float = 0.02
    """Share of the pixels that measure nothing."""
    outlier_neighbours: int = 8
    """Neighbours by whose distance a point is judged to be an outlier; 0 keeps all points."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_points", self.num_points, MIN_POINTS)
        for name in ("voxel_m", "noise_m", "dropout", "outlier_neighbours"):
            check_at_least(name, getattr(self, name), 0)


def back_project(
    depth_m: Float[np.ndarray, "H W"], *, height_m: float, half_m: float
) -> Float[np.ndarray, "N 3"]:
    """Return the points of a picture that a camera straight above the table has taken.

    Args:
        depth_m: How far along the view each pixel is; 0 for none.
        height_m: Of the camera above the table.
        half_m: Half of what the picture's height shows at the level of the table.
    """
    rows, columns = depth_m.shape
    focal = rows / 2 * height_m / half_m
    seen = depth_m > 0
    y, x = np.nonzero(seen)
    z = depth_m[seen].astype(np.float64)
    across = (x + 0.5 - columns / 2) * z / focal
    up = -(y + 0.5 - rows / 2) * z / focal
    return np.stack([across, up, height_m - z], axis=1)


def is_colored(picture: UInt8[np.ndarray, "H W 3"]) -> Bool[np.ndarray, "H W"]:
    """Return where a picture is not grey: the material is coloured, table and tools are not."""
    channels = picture.astype(np.int16)
    colored: np.ndarray = channels.max(axis=-1) - channels.min(axis=-1) > COLORED
    return colored


def see(
    picture: UInt8[np.ndarray, "H W 3"],
    depth_m: Float[np.ndarray, "H W"],
    config: CloudConfig,
    rng: np.random.Generator,
    *,
    height_m: float,
    half_m: float,
) -> Float[np.ndarray, "N 3"]:
    """Return the points of the material that a depth camera above would measure [m].

    Args:
        picture: What the camera sees.
        depth_m: How far along the view each pixel is.
        config: How well it measures.
        rng: Draws noise and what is not measured.
        height_m: Of the camera above the table.
        half_m: Half of what the picture's height shows at the level of the table.
    """
    measured = depth_m + config.noise_m * rng.standard_normal(depth_m.shape)
    seen = is_colored(picture) & (rng.random(depth_m.shape) >= config.dropout)
    return back_project(np.where(seen, measured, 0.0), height_m=height_m, half_m=half_m)


def make_cloud(
    points: Float[np.ndarray, "N 3"], config: CloudConfig, rng: np.random.Generator
) -> tuple[Float[np.ndarray, "P 3"], int]:
    """Return a cloud of a fixed number of points, and how many there were before.

    Args:
        points: What was seen of the material [m].
        config: How it is thinned out and cleaned.
        rng: Draws which points are kept or repeated.

    Raises:
        DataError: There are too few points, or one is not finite.
    """
    if len(points) < MIN_POINTS or not np.isfinite(points).all():
        raise DataError(
            f"A cloud needs at least {MIN_POINTS} points that are finite, got {len(points)}. Is "
            "the material in the camera's view?"
        )
    thinned = _thinned(points, config)
    num = len(thinned)
    fixed = config.num_points
    chosen = rng.permutation(num)[:fixed] if num >= fixed else rng.integers(num, size=fixed - num)
    kept = thinned[chosen] if num >= fixed else np.concatenate([thinned, thinned[chosen]])
    return kept.astype(np.float32), num


def _thinned(points: np.ndarray, config: CloudConfig) -> np.ndarray:
    import open3d  # Takes a second, which those who need no cloud are spared.

    cloud = open3d.geometry.PointCloud(open3d.utility.Vector3dVector(points))
    if config.voxel_m:
        cloud = cloud.voxel_down_sample(config.voxel_m)
    neighbours = min(config.outlier_neighbours, len(cloud.points) - 1)
    if neighbours > 0:
        cloud, _ = cloud.remove_statistical_outlier(neighbours, 3.0)
    left = np.asarray(cloud.points)
    return left if len(left) >= MIN_POINTS else points

"""What a depth camera sees of a table, as the cloud that a policy of primitives is given.

The camera is one of the hardware layer, with its own time, noise and pose; the cloud is thinned out
as those of simulated tasks are (`robopref.envs.deformable.clouds`), so that a policy that learned
from these sees nothing new.

Shapes: H rows and W columns of a picture, Dq positions of the simulated material.
"""

import copy
import math
import threading
import time
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robopref.arm_cameras import ArmCameras
from robopref.envs.deformable.clouds import CloudConfig, is_colored, make_cloud
from robopref.errors import DataError
from robopref.hardware.camera import WAIT_S, Camera, stand_back
from robopref.hardware.driver import CameraInfo, Frame, Intrinsics
from robopref.hardware.point_cloud import CloudConfig as SeenConfig
from robopref.hardware.point_cloud import make_cloud as make_points
from robopref.hardware.synthetic_camera import view_pose
from robopref.render import FreeCamera, OffscreenRenderer, import_mujoco
from robopref.types import NUM_POINTS, POINTS

TOP = "top"
"""The camera over a simulated table."""
SEEN = SeenConfig(
    low_m=(-0.45, -0.45, -0.02), high_m=(0.45, 0.45, 0.3), voxel_m=0.0, neighbours=0
)  # fmt: skip
"""All that lies on a table, in the table's frame; thinned out later."""


def cloud_of(
    frame: Frame,
    intrinsics: Intrinsics,
    T_table_camera: Float[np.ndarray, "4 4"],
    config: CloudConfig,
    rng: np.random.Generator,
) -> dict[str, np.ndarray]:
    """Return the cloud of the material on a table, as an observation.

    The material is what is coloured; table and tools are grey.

    Args:
        frame: A picture with depth.
        intrinsics: How the camera sees.
        T_table_camera: Pose of the camera in the table's frame [m].
        config: How the cloud is thinned out and cleaned.
        rng: Draws which points are kept or repeated.

    Raises:
        DataError: Too little of the material is seen.
    """
    seen = make_points(frame, intrinsics, T_table_camera, SEEN)
    material = seen.points_m[is_colored(seen.colours[None])[0]]
    cloud, num = make_cloud(material.astype(np.float64), config, rng)
    return {POINTS: cloud, NUM_POINTS: np.array([num], np.float32)}


@dataclass(frozen=True)
class TableCamera:
    """A depth camera over a simulated table."""

    view: FreeCamera
    """Where it looks from, in the table's frame."""
    size_px: int = 192
    """Width and height of its pictures."""
    fps: float = 20.0
    """Pictures a second [Hz]."""
    noise_m: float = 0.001
    """Deviation of a distance that is measured [m]."""
    dropout: float = 0.02
    """Share of the pixels that measure nothing."""

    @property
    def pose(self) -> Float[np.ndarray, "4 4"]:
        """Its pose in the table's frame: x right, y down, z along the view [m]."""
        return view_pose(self.view)


class TableSource:
    """Draws what lies on a simulated table, in the camera's own thread.

    What lies there decides the noise, as in `DeformableEnv`: who comes back to it sees the same.

    Args:
        model: MuJoCo's model of the table, of which a copy is drawn.
        config: The camera.
    """

    def __init__(self, model: Any, config: TableCamera) -> None:
        self.config = config
        self._model = copy.deepcopy(model)
        self._data = import_mujoco().MjData(self._model)
        self._changing = threading.Lock()
        self._positions = self._data.qpos.copy()
        self._renderer: OffscreenRenderer | None = None
        self._next_s = 0.0

    def show(self, positions: Float[np.ndarray, " Dq"]) -> None:
        """Let it draw this from now on; may be called from any thread."""
        with self._changing:
            self._positions = positions.copy()

    def open(self) -> CameraInfo:
        """Begin to draw."""
        stand_back()
        size = self.config.size_px
        self._renderer = OffscreenRenderer(self._model, {"view": self.config.view})
        self._draw()  # The first picture takes long.
        self._next_s = time.monotonic()
        focal = 0.5 * size / math.tan(math.radians(float(self._model.vis.global_.fovy)) / 2)
        # The first pixel's middle is at 0.
        centre = ((size - 1) / 2, (size - 1) / 2)
        intrinsics = Intrinsics(size, size, (focal, focal), centre)
        return CameraInfo("simulated-table", size, size, self.config.fps, intrinsics, True)

    def grab(self) -> Frame | None:
        """Wait for the next picture."""
        wait_s = self._next_s - time.monotonic()
        if wait_s > 0:
            time.sleep(min(WAIT_S, wait_s))
            return None
        self._next_s = max(self._next_s + 1 / self.config.fps, time.monotonic())
        return self._draw()

    def close(self) -> None:
        """Free the renderer."""
        if self._renderer is not None:
            self._renderer.close()
        self._renderer = None

    def _draw(self) -> Frame:
        assert self._renderer is not None
        size, config = self.config.size_px, self.config
        with self._changing:
            self._data.qpos[:] = self._positions
            taken_s = time.monotonic()
        rng = rng_of(self._data.qpos)
        import_mujoco().mj_forward(self._model, self._data)
        colour, depth = self._renderer.render_depth(
            self._data, width=size, height=size, camera="view"
        )
        is_measured = (depth > 0) & (rng.random(depth.shape) >= config.dropout)
        noisy = depth + config.noise_m * rng.standard_normal(depth.shape).astype(np.float32)
        return Frame(taken_s, colour, np.where(is_measured, noisy, np.float32(0)))


class TableEye:
    """A depth camera over a simulated table, and the clouds that it sees.

    Args:
        model: MuJoCo's model of the table.
        camera: The camera.
        max_age_s: A newest picture that is older means that it does not see [s].

    Attributes:
        cameras: The camera as those of every arm, by the name `TOP`.
    """

    def __init__(self, model: Any, camera: TableCamera, max_age_s: float) -> None:
        self._source, self._pose = TableSource(model, camera), camera.pose
        # What lies still looks the same.
        driver = Camera(self._source, TOP, is_exact=True)
        self.cameras = ArmCameras({TOP: driver}, max_age_s)

    def see(
        self, positions: Float[np.ndarray, " Dq"], config: CloudConfig
    ) -> tuple[dict[str, np.ndarray], UInt8[np.ndarray, "H W 3"]]:
        """Return the cloud of what lies there now, as an observation, and the picture of it.

        Raises:
            HardwareError: No picture comes.
        """
        self._source.show(positions)
        self.cameras.wait_for_new(time.monotonic())
        frame, info = self.cameras.frame(TOP), self.cameras.drivers[TOP].info()
        cloud = cloud_of(frame, check_depth(info, TOP), self._pose, config, rng_of(positions))
        return cloud, frame.colour


def rng_of(positions: Float[np.ndarray, " Dq"]) -> np.random.Generator:
    """Return what draws the noise with which a camera sees simulated material."""
    return np.random.default_rng(zlib.crc32(positions.tobytes()))


def check_depth(info: CameraInfo, name: str) -> Intrinsics:
    """Return how a camera sees, after checking that it can see points.

    Raises:
        DataError: It measures no distances, or does not say how it sees.
    """
    if not info.has_depth or info.intrinsics is None:
        raise DataError(
            f"Clouds need a camera that measures depth and knows its lens; '{name}' does not."
        )
    return info.intrinsics

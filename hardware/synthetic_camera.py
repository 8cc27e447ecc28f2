"""A camera that draws a simulated arm and what stands around it, with faults on request.

It looks at the controller of a `sim` arm, as anybody may, and draws what it says in a thread of its
own. So what is recorded in simulation comes the way that a real camera's pictures come: at the
camera's own rate, a little late, and with noise.
"""

import math
import time
from collections import deque
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.errors import check_above, check_at_least, check_between, check_choice
from robopref.hardware.arms import MODELS
from robopref.hardware.camera import WAIT_S, Camera, stand_back
from robopref.hardware.driver import CameraInfo, Frame, Intrinsics
from robopref.hardware.kinematics import joint_ids
from robopref.hardware.sim_link import SimLink, parse_address
from robopref.hardware.sim_scene import SimScene
from robopref.render import FreeCamera, OffscreenRenderer, import_mujoco

FREE = "view"
"""Name of a camera that is not part of the scene."""


@dataclass(frozen=True)
class CameraFaults:
    """What goes wrong, and when; times count from the first picture."""

    frozen_after_s: float | None = None
    """It shows one and the same picture from then on."""
    silent_after_s: float | None = None
    """It shows nothing from then on, as if it were unplugged."""
    lost_share: float = 0.0
    """Share of the pictures that do not arrive."""
    late_s: float = 0.0
    """How much later than it was taken a picture arrives [s]."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("lost_share", self.lost_share, 0, 1)
        check_at_least("late_s", self.late_s, 0)


@dataclass(frozen=True)
class SyntheticCameraConfig:
    """A camera in the scene of a simulated arm."""

    model: str = "xarm7"
    """Arm in the scene: ur5e, xarm7, panda or sawyer."""
    scene: Path | None = None
    """MJCF file with the arm and all around it; None for the arm on a floor."""
    address: str = ""
    """HOST:PORT of the arm's controller; empty shows the arm at rest."""
    viewpoint: str = "front"
    """Camera of the scene, such as front."""
    view: FreeCamera | None = None
    """Where to look from instead of a camera of the scene."""
    width: int = 320
    """Pixels a row."""
    height: int = 240
    """Rows."""
    fps: float = 20.0
    """Pictures a second [Hz]."""
    depth: bool = False
    """Whether distances are measured."""
    depth_max_m: float = 5.0
    """Farthest distance that is measured [m]."""
    noise: bool = True
    """Whether pictures differ by a grey level here and there, as a sensor's do."""
    faults: CameraFaults = field(default_factory=CameraFaults)
    """What goes wrong."""
    seed: int = 0
    """Decides noise and losses."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        check_choice("model", self.model, MODELS)
        check_at_least("width", self.width, 1)
        check_at_least("height", self.height, 1)
        check_above("fps", self.fps, 0)
        check_above("depth_max_m", self.depth_max_m, 0)
        if self.address:
            parse_address(self.address)

    def build(self) -> Camera:
        """Return the camera."""
        return Camera(SyntheticSource(self), self.viewpoint, is_exact=not self.noise)

    @staticmethod
    def find_cameras() -> list[dict[str, Any]]:
        """Return that it is always there."""
        return [{"id": "front", "name": "a drawing of a simulated arm"}]


class SyntheticSource:
    """Draws the scene at a steady rate.

    Args:
        config: What it draws.
    """

    def __init__(self, config: SyntheticCameraConfig) -> None:
        self.config = config
        self._link: SimLink | None = None
        self._renderer: OffscreenRenderer | None = None
        self._rng = np.random.default_rng(config.seed)
        self._late: deque[Frame] = deque()
        self._resets = -1
        self._first_s = self._next_s = 0.0
        self._last: Frame | None = None

    def open(self) -> CameraInfo:
        """Load the scene and reach the controller."""
        config = self.config
        # A real camera has a processor of its own.
        stand_back()
        mujoco = import_mujoco()
        spec = MODELS[config.model]()
        self._model = SimScene(config.scene).load(spec)
        self._data = mujoco.MjData(self._model)
        self._data.qpos[self._model.jnt_qposadr[joint_ids(self._model, spec)]] = spec.rest_rad
        self._viewpoint = config.viewpoint if config.view is None else FREE
        views = {} if config.view is None else {FREE: config.view}
        self._renderer = OffscreenRenderer(self._model, views)
        check_choice("viewpoint", self._viewpoint, self._renderer.cameras)
        if config.address:
            self._link = SimLink(parse_address(config.address))
        self._draw(time.monotonic())  # The first picture takes long.
        self._first_s = self._next_s = time.monotonic()
        return CameraInfo(
            f"synthetic-{spec.name}-{config.viewpoint}", config.width, config.height, config.fps,
            self._intrinsics(), config.depth,
        )  # fmt: skip

    def grab(self) -> Frame | None:
        """Wait for the next picture, and let what goes wrong go wrong."""
        faults, now = self.config.faults, time.monotonic()
        if now < self._next_s:
            time.sleep(min(WAIT_S, self._next_s - now))
            return self._arrived()
        # What could not be drawn in time is left out.
        self._next_s = max(self._next_s + 1 / self.config.fps, now)
        age_s = now - self._first_s
        if faults.silent_after_s is not None and age_s > faults.silent_after_s:
            return None
        if faults.frozen_after_s is not None and age_s > faults.frozen_after_s and self._last:
            return replace(self._last, time_s=now)
        self._last = self._draw(now)
        if self._rng.random() >= faults.lost_share:
            self._late.append(self._last)
        return self._arrived()

    def close(self) -> None:
        """Free the renderer and the connection."""
        if self._renderer is not None:
            self._renderer.close()
        if self._link is not None:
            self._link.close()
        self._renderer = self._link = None

    def _arrived(self) -> Frame | None:
        """Return the newest picture that is as late as pictures are."""
        found, now = None, time.monotonic()
        while self._late and now - self._late[0].time_s >= self.config.faults.late_s:
            found = self._late.popleft()
        return found

    def _draw(self, now_s: float) -> Frame:
        config = self.config
        assert self._renderer is not None
        taken_s = now_s if self._link is None else self._look(self._link)
        # Lights and cameras as well as bodies.
        import_mujoco().mj_forward(self._model, self._data)
        size: dict[str, Any] = {"width": config.width, "height": config.height}
        if not config.depth:
            colour = self._renderer.render(self._data, camera=self._viewpoint, **size)
            return Frame(taken_s, self._with_noise(colour))
        colour, depth = self._renderer.render_depth(self._data, camera=self._viewpoint, **size)
        depth[depth > config.depth_max_m] = 0.0
        return Frame(taken_s, self._with_noise(colour), depth)

    def _look(self, link: SimLink) -> float:
        """Take in where everything is; return when it was so [s]."""
        scene = link.ask("scene")
        if scene["resets"] != self._resets:
            scene = link.ask("scene", fixed=True)
            for name, values in scene["fields"].items():
                getattr(self._model, name)[:] = values
            self._resets = scene["resets"]
        self._data.qpos[:] = scene["qpos"]
        return float(scene["time_s"])

    def _with_noise(self, colour: np.ndarray) -> np.ndarray:
        if not self.config.noise:
            return colour
        random = np.frombuffer(self._rng.bytes(colour.size), np.uint8).reshape(colour.shape)
        noisy: np.ndarray = colour ^ (random & 1)
        return noisy

    def _intrinsics(self) -> Intrinsics:
        config, model = self.config, self._model
        fovy = model.vis.global_.fovy
        if config.view is None and config.viewpoint != "free":
            fovy = model.camera(config.viewpoint).fovy[0]
        focal = 0.5 * config.height / math.tan(math.radians(fovy) / 2)
        # The first pixel's middle is at 0.
        centre = ((config.width - 1) / 2, (config.height - 1) / 2)
        return Intrinsics(config.width, config.height, (focal, focal), centre)


def view_pose(view: FreeCamera) -> Float[np.ndarray, "4 4"]:
    """Return the pose of a free camera in the world: x right, y down, z along the view [m]."""
    azimuth, elevation = math.radians(view.azimuth_deg), math.radians(view.elevation_deg)
    forward = np.array([
        math.cos(elevation) * math.cos(azimuth), math.cos(elevation) * math.sin(azimuth),
        math.sin(elevation),
    ])  # fmt: skip
    right = np.array([math.sin(azimuth), -math.cos(azimuth), 0.0])
    pose = np.eye(4)
    pose[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    pose[:3, 3] = np.array(view.lookat) - view.distance * forward
    return pose

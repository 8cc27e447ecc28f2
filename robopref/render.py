"""Offscreen pictures of a MuJoCo model, made the fast way.

Shadows, reflections and multisampling are off: on a machine without a GPU they take nine tenths of
the time of a small picture and show nothing that a person comparing two clips needs.
"""

import atexit
import importlib
import importlib.util
import os
import platform
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from robopref.errors import MissingExtraError, check_at_least, check_choice
from robopref.gl import check_mujoco_gl

_NO_GL = (
    "Pictures need an OpenGL library that works without a screen ({reason}). Install one with: "
    "apt-get install libegl1 libgl1-mesa-dri; or apt-get install libosmesa6 and set "
    "MUJOCO_GL=osmesa."
)


@dataclass(frozen=True)
class FreeCamera:
    """A camera that is not part of the model.

    Args:
        lookat: Point in the middle of the picture, in the world frame [m].
        distance: From the camera to that point [m].
        azimuth_deg: Direction of view in the horizontal plane; 90 looks along +y.
        elevation_deg: Direction of view above the horizontal plane; negative looks down.
    """

    lookat: tuple[float, float, float]
    distance: float
    azimuth_deg: float
    elevation_deg: float


class OffscreenRenderer:
    """Draws one MuJoCo model at any size.

    Making one switches shadows and multisampling off in the model's settings; the physics does not
    read them. The OpenGL context is made at the first picture and freed by `close()`, at the latest
    when the interpreter exits.

    Args:
        model: The compiled model.
        cameras: Cameras to offer beside those of the model and "free", which sees all of it.
    """

    def __init__(self, model: Any, cameras: Mapping[str, FreeCamera] | None = None) -> None:
        self._mujoco = import_mujoco()
        self._model = model
        model.vis.quality.shadowsize = 0
        model.vis.quality.offsamples = 0
        self._cameras = {name: _free(self._mujoco, c) for name, c in (cameras or {}).items()}
        for index in range(model.ncam):
            name = model.camera(index).name or str(index)
            self._cameras.setdefault(name, _fixed(self._mujoco, index))
        overview = self._mujoco.MjvCamera()
        self._mujoco.mjv_defaultFreeCamera(model, overview)
        self._cameras.setdefault("free", overview)
        self._scene: Any = None
        self._gl: Any = None
        self._context: Any = None
        self._size = (0, 0)
        self.thread = 0

    @property
    def cameras(self) -> list[str]:
        """Names of the cameras, sorted."""
        return sorted(self._cameras)

    def render(
        self, data: Any, *, width: int, height: int, camera: str
    ) -> UInt8[np.ndarray, "{height} {width} 3"]:
        """Return a picture of `data`, whose derived quantities must be up to date.

        Args:
            data: State of the simulator.
            width: Pixels a row.
            height: Rows.
            camera: One of `cameras`.

        Raises:
            ValueError: The size is below 1, or there is no such camera.
            MissingExtraError: No OpenGL library works here.
        """
        picture, _ = self._draw(data, camera, width, height, with_depth=False)
        return picture

    def render_depth(
        self, data: Any, *, width: int, height: int, camera: str
    ) -> tuple[UInt8[np.ndarray, "{height} {width} 3"], Float[np.ndarray, "{height} {width}"]]:
        """Return a picture as `render` does, and how far along the view each pixel is [m].

        Where nothing is, the distance is 0.
        """
        picture, reversed_z = self._draw(data, camera, width, height, with_depth=True)
        assert reversed_z is not None
        # OpenGL's perspective: 1 at the near plane, 0 at the far one.
        extent, planes = self._model.stat.extent, self._model.vis.map
        near, far = planes.znear * extent, planes.zfar * extent
        depth = near * far / (near + reversed_z.astype(np.float64) * (far - near))
        depth[reversed_z <= 0] = 0.0
        return picture, depth.astype(np.float32)

    def _draw(
        self, data: Any, camera: str, width: int, height: int, *, with_depth: bool
    ) -> tuple[np.ndarray, np.ndarray | None]:
        check_at_least("width", width, 1)
        check_at_least("height", height, 1)
        check_choice("camera", camera, self._cameras)
        self._prepare(width, height)
        mujoco = self._mujoco
        mujoco.mjv_updateScene(
            self._model,
            data,
            self._option,
            None,
            self._cameras[camera],
            mujoco.mjtCatBit.mjCAT_ALL,
            self._scene,
        )
        rectangle = mujoco.MjrRect(0, 0, width, height)
        picture = np.empty((height, width, 3), np.uint8)
        reversed_z = np.empty((height, width), np.float32) if with_depth else None
        mujoco.mjr_render(rectangle, self._scene, self._context)
        mujoco.mjr_readPixels(picture, reversed_z, rectangle, self._context)
        # OpenGL's first row is the lowest.
        return picture[::-1].copy(), None if reversed_z is None else reversed_z[::-1]

    def close(self) -> None:
        """Free the OpenGL context; the next picture makes a new one."""
        if self._gl is not None:
            self._gl.make_current()
            self._context.free()
            self._gl.free()
        self._gl = self._context = self._scene = None

    def __del__(self) -> None:
        if getattr(self, "_gl", None) is not None:
            self.close()

    def _prepare(self, width: int, height: int) -> None:
        """Make the context current, with a buffer of the size asked for."""
        mujoco = self._mujoco
        if self._gl is not None:
            self._gl.make_current()
            if self._size != (width, height):
                mujoco.mjr_resizeOffscreen(width, height, self._context)
                self._size = (width, height)
            return
        self._model.vis.global_.offwidth = width
        self._model.vis.global_.offheight = height
        self._gl, self._context = _make_contexts(mujoco, self._model, width, height)
        self._scene = mujoco.MjvScene(self._model, maxgeom=10_000)
        self._scene.flags[mujoco.mjtRndFlag.mjRND_SHADOW] = 0
        self._scene.flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = 0
        self._option = mujoco.MjvOption()
        self._size = (width, height)
        self.thread = threading.get_ident()
        _close_at_exit(self)


def import_mujoco() -> ModuleType:
    """Import mujoco, which fails when MUJOCO_GL names a library that is not there.

    Raises:
        MissingExtraError: MUJOCO_GL names a library that is missing.
        ValueError: MUJOCO_GL names none.
    """
    check_mujoco_gl()
    try:
        return importlib.import_module("mujoco")
    except (ImportError, AttributeError) as error:  # PyOpenGL raises either.
        backend = os.environ.get("MUJOCO_GL")
        if backend is None:
            raise
        raise MissingExtraError(
            _NO_GL.format(reason=f"MUJOCO_GL={backend} is set and {error}")
        ) from error


def gl_backends() -> list[str]:
    """Return the OpenGL backends to try, best first: MUJOCO_GL if it is set, else what fits."""
    chosen = os.environ.get("MUJOCO_GL", "").strip().lower()
    if chosen in ("egl", "osmesa", "glfw", "cgl"):
        return [chosen]
    return {"Linux": ["egl", "osmesa"], "Darwin": ["cgl"]}.get(platform.system(), ["glfw"])


def _make_contexts(mujoco: Any, model: Any, width: int, height: int) -> tuple[Any, Any]:
    _import_triton_first()
    reasons = []
    for backend in gl_backends():
        try:
            gl = importlib.import_module(f"mujoco.{backend}").GLContext(width, height)
            gl.make_current()
            context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        except Exception as error:  # Drivers and PyOpenGL raise whatever they like.
            reasons.append(f"{backend}: {str(error) or type(error).__name__}")
            continue
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, context)
        # Numbers of floating point are dense at 0, which is where far things are then.
        context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        return gl, context
    raise MissingExtraError(_NO_GL.format(reason="; ".join(reasons)))


def _import_triton_first() -> None:
    """Import triton, where torch brought it, before OpenGL is there.

    Both bring an LLVM (OpenGL in software does), and triton's crashes the process when it comes
    second. torch imports it at odd times, such as when the first network is built. If something
    else has drawn already it is too late, and nothing is done.
    """
    maps = Path("/proc/self/maps")
    if importlib.util.find_spec("triton") is None or not maps.exists():
        return
    if "libLLVM" not in maps.read_text():
        importlib.import_module("triton")


def _free(mujoco: Any, camera: FreeCamera) -> Any:
    made = mujoco.MjvCamera()
    made.type = mujoco.mjtCamera.mjCAMERA_FREE
    made.lookat[:] = camera.lookat
    made.distance = camera.distance
    made.azimuth = camera.azimuth_deg
    made.elevation = camera.elevation_deg
    return made


def _fixed(mujoco: Any, index: int) -> Any:
    made = mujoco.MjvCamera()
    made.type = mujoco.mjtCamera.mjCAMERA_FIXED
    made.fixedcamid = index
    return made


_open: "weakref.WeakSet[OffscreenRenderer]" = weakref.WeakSet()


def _close_at_exit(renderer: OffscreenRenderer) -> None:
    # Registered after the context was made, so that it runs before the library shuts EGL down.
    if not _open:
        atexit.register(_close_all)
    _open.add(renderer)


def _close_all() -> None:
    for renderer in list(_open):
        # A context belongs to the thread that made it, which closes its own.
        if renderer.thread == threading.get_ident():
            renderer.close()

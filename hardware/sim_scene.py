"""What stands around a simulated arm, and the MuJoCo model of both."""

from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float

from robopref.hardware.kinematics import load_model
from robopref.hardware.types import ArmSpec

COLLISION_GROUP = 0
"""Robot models have the shapes that collide in this group, those to be seen in others."""


@dataclass(frozen=True)
class SimGripper:
    """How the model's gripper is driven and measured.

    Args:
        closed: Controls of the model's actuators with the gripper closed.
        open: The same, open.
        joint: Joint whose position tells the opening.
        closed_at: Its position when closed [m or rad].
        open_at: Its position when open.
    """

    closed: tuple[float, ...]
    open: tuple[float, ...]
    joint: str
    closed_at: float
    open_at: float


@dataclass(frozen=True)
class SimScene:
    """A scene that holds an arm.

    Args:
        model: MJCF file with the arm and all around it; None takes the arm's own model, on a floor
            where it has none, and moved by nothing but its joints.
        position: Where all joints of the model start (its `qpos`); empty: the arm at rest, the
            other joints where the model has them.
        gripper: How the gripper is driven; None without one.
        without_equalities: Whether constraints of the model that hold the arm are left out, such
            as the weld to a mocap body that otherwise moves it.
    """

    model: Path | None = None
    position: tuple[float, ...] = ()
    gripper: SimGripper | None = None
    without_equalities: bool = False

    def load(self, spec: ArmSpec) -> mujoco.MjModel:
        """Return the model.

        Raises:
            FileNotFoundError: There is no model file.
            HardwareError: MuJoCo cannot read it.
        """
        if self.model is not None:
            return load_model(self.model)
        alone = load_model(spec.model)
        has_floor = bool((alone.geom_bodyid == 0).any())
        return alone if has_floor else on_floor(spec.model)


def on_floor(arm: Path) -> mujoco.MjModel:
    """Return the model of an arm on a floor, with a light and a camera named "front"."""
    scene = mujoco.MjSpec.from_file(str(arm))
    # What drives it is computed; motors of the model would have to be left at 0.
    for actuator in list(scene.actuators):
        actuator.delete()
    for geom in scene.geoms:
        # What collides is drawn over what is to be seen.
        geom.rgba[3] *= geom.group != COLLISION_GROUP
    scene.add_texture(
        name="sky", type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
        builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT, width=64, height=64,
        rgb1=(0.9, 0.92, 0.95), rgb2=(0.6, 0.66, 0.72),
    )  # fmt: skip
    world = scene.worldbody
    world.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=(0, 0, 0.05), rgba=(0.8, 0.8, 0.78, 1)
    )
    world.add_light(
        pos=(0.5, -0.5, 2.5), dir=(-0.2, 0.3, -1), diffuse=(0.7, 0.7, 0.7), directional=True
    )
    place = np.array((1.5, -0.9, 0.9))
    world.add_camera(
        name="front", pos=place, fovy=45, quat=_looking(np.array((0.2, 0.0, 0.5)) - place)
    )
    return scene.compile()


def _looking(direction: Float[np.ndarray, " 3"]) -> Float[np.ndarray, " 4"]:
    """Return the rotation wxyz of a level camera that looks along `direction`."""
    right = np.cross(direction, (0.0, 0.0, 1.0))
    axes = np.stack([right, np.cross(right, direction), -direction], axis=1)
    rotation = np.empty(4)
    mujoco.mju_mat2Quat(rotation, (axes / np.linalg.norm(axes, axis=0)).ravel())
    return rotation

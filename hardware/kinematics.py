"""Where an arm's links are for given joint positions, from its MJCF or URDF by MuJoCo.

The supervisor and the simulated arm share one model file, so that they cannot disagree.

Shapes: J joints, N joint configurations, P points on the arm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import mujoco
import numpy as np
from jaxtyping import Float, Int

from robopref.errors import HardwareError
from robopref.hardware.types import ArmSpec


@dataclass(frozen=True, eq=False)
class Placed:
    """An arm in several configurations.

    Args:
        points_m: Origins of all moving links, the tool last, (N, P, 3).
        rotation: Rotation of the tool as a quaternion wxyz, (N, 4).
    """

    points_m: Float[np.ndarray, "N P 3"]
    rotation: Float[np.ndarray, "N 4"]

    @property
    def tool_m(self) -> Float[np.ndarray, "N 3"]:
        """Return the positions of the tool."""
        return self.points_m[:, -1]


class Kinematics:
    """Forward kinematics and the tool's Jacobian.

    Args:
        spec: The arm; its joints and tool must be in its model.

    Raises:
        FileNotFoundError: There is no model file.
        HardwareError: The model cannot be read, or a joint or the tool is not in it.
    """

    def __init__(self, spec: ArmSpec) -> None:
        self.spec = spec
        self.model = load_model(spec.model)
        self._data = mujoco.MjData(self.model)
        self.joints = joint_ids(self.model, spec)
        self.places = _span(self.model.jnt_qposadr[self.joints])
        self._columns = self.model.jnt_dofadr[self.joints]
        self.tool = _find(self.model, mujoco.mjtObj.mjOBJ_BODY, spec.tool, spec)
        # Links that no joint of the arm moves stand where they were mounted.
        moving = moving_bodies(self.model, self.joints)
        self.link_names = tuple(self.model.body(b).name for b in moving if b != self.tool)
        self._bodies = np.array([b for b in moving if b != self.tool] + [self.tool])
        self._jacobian = np.zeros((6, self.model.nv))
        # Views of what MuJoCo fills; to ask for them anew takes as long as the kinematics.
        self._qpos, self._points = self._data.qpos, self._data.xpos
        self._rotation = self._data.xquat[self.tool]

    def place(self, positions: Float[np.ndarray, "N J"] | Sequence[Sequence[float]]) -> Placed:
        """Return where the arm is in each configuration."""
        points = np.empty((len(positions), *self._points.shape))
        rotation = np.empty((len(positions), 4))
        for row, position in enumerate(positions):
            self._qpos[self.places] = position
            mujoco.mj_kinematics(self.model, self._data)
            points[row], rotation[row] = self._points, self._rotation
        return Placed(points.take(self._bodies, axis=1), rotation)

    def tool_jacobian(self, position: Sequence[float]) -> Float[np.ndarray, "6 J"]:
        """Return what turns joint velocities into the tool's: [m/s] above, [rad/s] below."""
        data = self._data
        self._qpos[self.places] = position
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)
        mujoco.mj_jacBody(self.model, data, self._jacobian[:3], self._jacobian[3:], self.tool)
        found: np.ndarray = self._jacobian[:, self._columns]
        return found


def load_model(path: Path) -> mujoco.MjModel:
    """Return the model of an MJCF or URDF file.

    Raises:
        FileNotFoundError: There is no such file.
        HardwareError: MuJoCo cannot read it.
    """
    if not path.is_file():
        raise FileNotFoundError(f"No robot model at '{path}'. Give an MJCF or URDF file.")
    try:
        return mujoco.MjModel.from_xml_path(str(path))
    except ValueError as error:
        raise HardwareError(f"The robot model '{path}' cannot be read: {error}") from error


def joint_ids(model: mujoco.MjModel, spec: ArmSpec) -> list[int]:
    """Return which joints of a model are the arm's.

    Raises:
        HardwareError: One is missing.
    """
    return [_find(model, mujoco.mjtObj.mjOBJ_JOINT, name, spec) for name in spec.joint_names]


def moving_bodies(model: mujoco.MjModel, joints: Sequence[int]) -> list[int]:
    """Return the bodies that one of the joints moves."""
    moved = {int(body) for body in model.jnt_bodyid[list(joints)]}
    for body in range(1, model.nbody):  # Parents come before their children.
        if int(model.body_parentid[body]) in moved:
            moved.add(body)
    return sorted(moved)


def _span(places: Int[np.ndarray, " J"]) -> slice | Int[np.ndarray, " J"]:
    """Return places as a slice where they follow each other, which is quicker to write to."""
    first = int(places[0])
    is_span = (places == np.arange(first, first + len(places))).all()
    return slice(first, first + len(places)) if is_span else places


def _find(model: mujoco.MjModel, kind: mujoco.mjtObj, name: str, spec: ArmSpec) -> int:
    found: int = mujoco.mj_name2id(model, kind, name)
    if found < 0:
        is_joint = kind == mujoco.mjtObj.mjOBJ_JOINT
        num = model.njnt if is_joint else model.nbody
        names = [(model.joint(i) if is_joint else model.body(i)).name for i in range(num)]
        what = "joint" if is_joint else "body"
        raise HardwareError(
            f"'{spec.name}' names the {what} '{name}', which is not in '{spec.model}'. It has "
            f"{sorted(names)}."
        )
    return found

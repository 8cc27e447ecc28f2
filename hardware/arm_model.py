"""Which arm a driver moves: one that is known by name, or one that a model file describes.

Shapes: J joints.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from xml.etree import ElementTree

import mujoco

from robopref.errors import HardwareError, check_above, check_choice
from robopref.hardware.arms import COMMANDS, MODELS
from robopref.hardware.kinematics import load_model
from robopref.hardware.types import ArmSpec, Joints


@dataclass(frozen=True)
class ArmModel:
    """An arm by name, or by its MJCF or URDF file."""

    name: str = ""
    """ur5e, xarm7, panda or sawyer; or what to call the arm of `file`."""
    file: Path | None = None
    """MJCF or URDF file of an arm that is not known by name."""
    joints: tuple[str, ...] = ()
    """With `file`: its joints in the controller's order; empty takes all that turn."""
    tool: str = ""
    """With `file`: the body that is the tool's frame."""
    velocity_max_rad_s: Joints = ()
    """With `file`: greatest joint speeds [rad/s]; empty takes those of a URDF."""
    acceleration_max_rad_s2: float = 2.0
    """With `file`: greatest joint acceleration [rad/s^2]; neither format says it."""
    jerk_max_rad_s3: float = 40.0
    """With `file`: greatest change of acceleration [rad/s^3]."""
    rest_rad: Joints = ()
    """With `file`: where the arm stands clear of itself and of a table [rad]."""

    def __post_init__(self) -> None:
        """Check that it is one of the two."""
        if self.file is None:
            if self.name:
                check_choice("name", self.name, MODELS)
        elif not self.tool:
            raise ValueError("`tool` must name the body of the model that is the tool's frame.")
        check_above("acceleration_max_rad_s2", self.acceleration_max_rad_s2, 0)
        check_above("jerk_max_rad_s3", self.jerk_max_rad_s3, 0)

    def spec(self, rate_hz: float | None = None) -> ArmSpec:
        """Return the arm's limits.

        Args:
            rate_hz: Commands a second; None takes what the arm is known for, or 100.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: Nobody said which arm it is.
            HardwareError: The file does not say enough.
        """
        if self.file is None and not self.name:
            raise ValueError(
                f"`model` must say which arm it is: a `name`, one of {sorted(MODELS)}, or a `file` "
                "(MJCF or URDF) with its `tool`."
            )
        spec = MODELS[self.name]() if self.file is None else self._read(self.file)
        return spec if rate_hz is None else replace(spec, rate_hz=rate_hz)

    def _read(self, file: Path) -> ArmSpec:
        model = load_model(file)
        joints = self.joints or tuple(
            model.joint(k).name
            for k in range(model.njnt)
            if model.jnt_type[k] == mujoco.mjtJoint.mjJNT_HINGE
        )
        low, high = zip(*(_range(model, name, file) for name in joints), strict=True)
        written = _urdf_limits(file, "velocity") if file.suffix == ".urdf" else {}
        velocity = self.velocity_max_rad_s or tuple(written.get(name, 0.0) for name in joints)
        if not all(limit > 0 for limit in velocity):
            raise HardwareError(
                f"'{file}' does not say how fast its joints may turn. Give "
                f"`velocity_max_rad_s`, one number for each of {list(joints)}."
            )
        num = len(joints)
        return ArmSpec(
            self.name or file.stem,
            joints,
            position_min_rad=low,
            position_max_rad=high,
            velocity_max_rad_s=velocity,
            acceleration_max_rad_s2=(self.acceleration_max_rad_s2,) * num,
            jerk_max_rad_s3=(self.jerk_max_rad_s3,) * num,
            rest_rad=self.rest_rad
            or tuple(min(max(0.0, a), b) for a, b in zip(low, high, strict=True)),
            rate_hz=100.0,
            model=file,
            tool=self.tool,
            kinds=COMMANDS,
        )


def names_for(spec: ArmSpec, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return what others call an arm's joints; without names, they are those of its model.

    Raises:
        ValueError: They are not as many as the joints.
    """
    found = names or spec.joint_names
    if len(found) != spec.num_joints:
        raise ValueError(
            f"`joints` must name the {spec.num_joints} joints of '{spec.name}', got {len(found)}."
        )
    return found


def _range(model: mujoco.MjModel, name: str, file: Path) -> tuple[float, float]:
    """Return a joint's limits [rad]; one without turns once around either way."""
    found = mujoco.mj_name2id(model, mujoco.mjtObj.mjOBJ_JOINT, name)
    if found < 0:
        names = sorted(model.joint(k).name for k in range(model.njnt))
        raise HardwareError(f"There is no joint '{name}' in '{file}'. It has {names}.")
    if not model.jnt_limited[found]:
        return -2 * math.pi, 2 * math.pi
    low, high = model.jnt_range[found]
    return float(low), float(high)


def _urdf_limits(file: Path, what: str) -> dict[str, float]:
    """Return a limit of a URDF's joints, by name: MuJoCo does not keep it."""
    found = {}
    for joint in ElementTree.parse(file).getroot().iter("joint"):
        limit = joint.find("limit")
        if limit is not None and limit.get(what):
            found[str(joint.get("name"))] = float(str(limit.get(what)))
    return found

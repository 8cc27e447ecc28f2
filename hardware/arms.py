"""Arms whose models come with a package: what their makers say that they can do."""

import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from robopref.errors import MissingExtraError
from robopref.hardware.types import ArmSpec, CommandKind

COMMANDS = frozenset({CommandKind.JOINT_POSITION, CommandKind.JOINT_VELOCITY, CommandKind.HOLD})


def ur5e() -> ArmSpec:
    """Return Universal Robots' UR5e (manual: joint ranges and speeds; 10 rad/s^2 is gentle)."""
    turn = 2 * math.pi
    return ArmSpec(
        "ur5e",
        (
            "shoulder_pan_joint", "shoulder_lift_joint", "elbow_joint",
            "wrist_1_joint", "wrist_2_joint", "wrist_3_joint",
        ),
        position_min_rad=(-turn, -turn, -math.pi, -turn, -turn, -turn),
        position_max_rad=(turn, turn, math.pi, turn, turn, turn),
        velocity_max_rad_s=(math.pi,) * 6,
        acceleration_max_rad_s2=(10.0,) * 6,
        jerk_max_rad_s3=(200.0,) * 6,
        rest_rad=(0.0, -1.57, 1.2, -1.2, -1.57, 0.0),
        effort_max_nm=(150.0, 150.0, 150.0, 28.0, 28.0, 28.0),
        rate_hz=125.0,
        model=_of_robosuite("ur5e"),
        tool="right_hand",
        kinds=COMMANDS,
    )  # fmt: skip


def xarm7() -> ArmSpec:
    """Return UFACTORY's xArm 7 (developer manual: ranges, 180 deg/s, 1145 deg/s^2)."""
    degrees = math.radians
    return ArmSpec(
        "xarm7",
        tuple(f"joint{k}" for k in range(1, 8)),
        position_min_rad=tuple(map(degrees, (-360, -118, -360, -11, -360, -97, -360))),
        position_max_rad=tuple(map(degrees, (360, 120, 360, 225, 360, 180, 360))),
        velocity_max_rad_s=(degrees(180),) * 7,
        acceleration_max_rad_s2=(degrees(1145),) * 7,
        jerk_max_rad_s3=(degrees(28647),) * 7,
        rest_rad=(0.0, -0.3, 0.0, 0.8, 0.0, 1.0, 0.0),
        rate_hz=100.0,
        model=_of_robosuite("xarm7"),
        tool="right_hand",
        kinds=COMMANDS,
    )


def fr3() -> ArmSpec:
    """Return the Franka Research 3 (Franka Control Interface documentation: joint space limits).

    The nearer a joint is to its limit, the lower is the speed that its controller allows; the
    speeds here hold in the middle. The supervisor brakes before a limit, which keeps below that.
    """
    return ArmSpec(
        "fr3",
        tuple(f"fr3_joint{k}" for k in range(1, 8)),
        position_min_rad=(-2.7437, -1.7837, -2.9007, -3.0421, -2.8065, 0.5445, -3.0159),
        position_max_rad=(2.7437, 1.7837, 2.9007, -0.1518, 2.8065, 4.5169, 3.0159),
        velocity_max_rad_s=(2.62, 2.62, 2.62, 2.62, 5.26, 4.18, 5.26),
        acceleration_max_rad_s2=(10.0,) * 7,
        jerk_max_rad_s3=(5000.0,) * 7,
        rest_rad=(0.0, -0.3, 0.0, -2.0, 0.0, 1.9, 0.7),
        effort_max_nm=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
        rate_hz=100.0,
        model=Path(__file__).parent / "assets/fr3.xml",
        tool="hand",
        kinds=COMMANDS,
    )


def panda() -> ArmSpec:
    """Return Franka's Panda (Franka Control Interface documentation: joint space limits)."""
    return ArmSpec(
        "panda",
        tuple(f"joint{k}" for k in range(1, 8)),
        position_min_rad=(-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973),
        position_max_rad=(2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973),
        velocity_max_rad_s=(2.175, 2.175, 2.175, 2.175, 2.61, 2.61, 2.61),
        acceleration_max_rad_s2=(15.0, 7.5, 10.0, 12.5, 15.0, 20.0, 20.0),
        jerk_max_rad_s3=(7500.0, 3750.0, 5000.0, 6250.0, 7500.0, 10000.0, 10000.0),
        rest_rad=(0.0, -0.3, 0.0, -2.0, 0.0, 1.9, 0.7),
        effort_max_nm=(87.0, 87.0, 87.0, 87.0, 12.0, 12.0, 12.0),
        rate_hz=100.0,
        model=_of_robosuite("panda"),
        tool="right_hand",
        kinds=COMMANDS,
    )


def sawyer() -> ArmSpec:
    """Return Rethink's Sawyer as Meta-World has it (limits of its ROS description)."""
    return ArmSpec(
        "sawyer",
        tuple(f"right_j{k}" for k in range(7)),
        position_min_rad=(-3.0503, -3.8095, -3.0426, -3.0439, -2.9761, -2.9761, -4.7124),
        position_max_rad=(3.0503, 2.2736, 3.0426, 3.0439, 2.9761, 2.9761, 4.7124),
        velocity_max_rad_s=(1.74, 1.328, 1.957, 1.957, 3.485, 3.485, 4.545),
        acceleration_max_rad_s2=(3.5, 2.5, 5.0, 5.0, 5.0, 5.0, 5.0),
        jerk_max_rad_s3=(100.0,) * 7,
        rest_rad=(1.889, -0.9, -0.977, 1.642, 0.943, 1.044, 2.293),
        rate_hz=100.0,
        model=_of_package("metaworld", "assets/sawyer_xyz/sawyer_reach_v3.xml"),
        tool="hand",
        kinds=COMMANDS,
    )


MODELS: dict[str, Callable[[], ArmSpec]] = {
    "ur5e": ur5e, "xarm7": xarm7, "panda": panda, "fr3": fr3, "sawyer": sawyer
}  # fmt: skip
"""Arms by name."""


def _of_robosuite(name: str) -> Path:
    return _of_package("robosuite", f"models/assets/robots/{name}/robot.xml")


def _of_package(package: str, path: str) -> Path:
    # Importing it takes seconds, and only a file of it is wanted.
    found = find_spec(package)
    if found is None or found.origin is None:
        extra = {"robosuite": "robomimic"}.get(package)
        wanted = f"'robopref[{extra}]'" if extra else package
        raise MissingExtraError(
            f"The arm's model comes with {package}. Install it: pip install {wanted}"
        )
    return Path(found.origin).parent / path

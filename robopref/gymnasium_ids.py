"""Ids by which `gymnasium.make` knows an arm, once this module was imported.

Example:
    >>> import gymnasium
    >>> env = gymnasium.make("robopref.gymnasium_ids:robopref/SimArm-v0", model="ur5e")
    >>> env.action_space.shape
    (4,)
    >>> env.close()
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gymnasium

if TYPE_CHECKING:
    from robopref.real_arm import RealArmEnv


def make_real_arm(rig: str | Path, cameras: Sequence[str] = (), **_options: Any) -> "RealArmEnv":
    """Return the environment of a robot's cell.

    Args:
        rig: File with the fields of `robopref.rig.RigConfig`.
        cameras: Its cameras that become part of the observation.

    Raises:
        FileNotFoundError: There is no such file.
        ConfigError: It describes no cell.
    """
    from robopref.config import load_yaml
    from robopref.real_arm import RealArmEnv
    from robopref.rig import RigConfig

    found = load_yaml(RigConfig, Path(rig))
    return RealArmEnv(found).with_cameras(cameras, found.image_px)


def make_sim_arm(model: str = "xarm7", **_options: Any) -> "RealArmEnv":
    """Return the environment of an arm in simulation, which moves as a real one does.

    Raises:
        ValueError: There is no model of such an arm.
    """
    from robopref.hardware.sim import SimArmConfig
    from robopref.real_arm import RealArmEnv
    from robopref.rig import RigConfig

    return RealArmEnv(RigConfig(SimArmConfig(model)), "robopref/SimArm-v0")


gymnasium.register(
    "robopref/RealArm-v0", entry_point=f"{__name__}:make_real_arm", order_enforce=False
)
gymnasium.register(
    "robopref/SimArm-v0", entry_point=f"{__name__}:make_sim_arm", order_enforce=False
)

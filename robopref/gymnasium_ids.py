"""Ids by which `gymnasium.make` knows an arm; Gymnasium calls `register` when it is imported.

Example:
    >>> import gymnasium
    >>> env = gymnasium.make("robopref/SimArm-v0", model="ur5e")
    >>> env.action_space.shape
    (4,)
    >>> env.close()
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robopref.real_arm import RealArmEnv


def register() -> None:
    """Register the ids, in the namespace `robopref`."""
    import gymnasium

    for name, maker in (("RealArm-v0", "make_real_arm"), ("SimArm-v0", "make_sim_arm")):
        gymnasium.register(name, entry_point=f"{__name__}:{maker}", order_enforce=False)


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

"""An arm that is given on the command line, as the file of a cell that all commands take."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.config import load_yaml, save_yaml, to_dict
from robopref.errors import ConfigError

if TYPE_CHECKING:
    from robopref.rig import RigConfig

CELL = "cell.yaml"
ARM_TASK = "arm/button-press-topdown-v3"
"""Where the arm is unless something is said."""
Corners = tuple[float, float, float, float, float, float]
"""Lower and upper corner of a box, x, y and z each."""


def env_of(env: str, robot: Any, stay_in: Corners | None, out: Path) -> str:
    """Return the environment that a command acts in; an arm that is given is written down first.

    The arm takes the place of that in the cell of `env`. Without a cell it is alone; an arm in
    simulation then comes with the camera that draws it.

    Args:
        env: `ARM_TASK`, or another environment.
        robot: Config of the arm's driver; None leaves `env` as it is.
        stay_in: Box around all its links, in the frame of its base [m]; None as the cell has it.
        out: Folder of the run, which gets the cell's file.

    Raises:
        FileNotFoundError: There is no such cell.
        ConfigError: The file describes no cell, or `out` holds episodes of another one.
        DataError: `out` holds something else.
        ValueError: `env` is no cell, or nobody says where a real arm may be.
    """
    if robot is None:
        if stay_in is not None:
            raise ValueError("`stay_in` is about an arm that is given with `robot`.")
        return env
    from robopref.data.store import EpisodeStore

    path, cell = out / CELL, _cell(env, robot, stay_in)
    if not (out / "meta" / "info.json").is_file():
        # A data set is made in an empty folder only, so it comes before the file.
        EpisodeStore.create(out, fps=1 / cell.step_s)
    if not path.is_file() or not EpisodeStore.open(out).rows:
        save_yaml(cell, path)
    elif to_dict(load_yaml(type(cell), path)) != to_dict(cell):
        raise ConfigError(
            f"'{out}' holds episodes of another cell, which '{path}' describes. Choose another "
            "folder with --out."
        )
    return f"real/{path}"


def first_camera(env: str) -> tuple[str, ...]:
    """Return the camera of an environment that is recorded where nobody says which, if it has one.

    Raises:
        UnknownNameError: There is no such environment.
    """
    from robopref.envs.make import make_env

    made = make_env(env)
    made.close()
    return (made.default_camera,) if made.default_camera else ()


def _cell(env: str, robot: Any, stay_in: Corners | None) -> "RigConfig":
    from robopref.rig import RigConfig, is_simulated

    simulator, _, file = env.partition("/")
    if env == ARM_TASK:
        base: dict[str, Any] = {}
    elif simulator == "real":
        base = vars(load_yaml(RigConfig, Path(file)))
    else:
        raise ValueError(
            f"`robot` takes the place of the arm in a cell: `env` must read 'real/<file>' beside "
            f"it, got '{env}'."
        )
    workspace = _within(base.get("workspace"), stay_in)
    if workspace is None and not is_simulated(robot) and "workspace" not in base.get("off", ()):
        raise ValueError(
            "Say where the arm may be, by the lower and upper corner of a box around all its links "
            "in the frame of its base [m], such as --stay-in -0.2 -0.6 0 0.8 0.6 1, or by the file "
            "of a cell: --env real/FILE."
        )
    cameras = base.get("cameras") or _drawn(robot)
    return RigConfig(**base | {"robot": robot, "workspace": workspace, "cameras": cameras})


def _within(workspace: Any, stay_in: Corners | None) -> Any:
    if stay_in is None:
        return workspace
    from robopref.hardware.workspace import Box, Workspace

    box = Box(stay_in[:3], stay_in[3:])
    return Workspace(box) if workspace is None else replace(workspace, stay_in=box)


def _drawn(robot: Any) -> dict[str, Any]:
    from robopref.hardware.sim import SimArmConfig
    from robopref.rig import RigCamera

    is_on_a_floor = isinstance(robot, SimArmConfig) and robot.scene.model is None
    return {"front": RigCamera("synthetic")} if is_on_a_floor else {}

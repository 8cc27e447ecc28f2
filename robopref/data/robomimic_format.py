"""What robomimic's files and tasks are called, for those who write files and who make environments.

A file's `env_args` names robosuite's environment; an episode names the task: "robomimic/lift".
"""

from dataclasses import dataclass
from typing import Any

STATE_KEYS = ("robot0_eef_pos", "robot0_eef_quat", "robot0_gripper_qpos", "object")
"""What robomimic's own configs train on, in the order in which `observation.state` has it."""
IMAGE_SUFFIX = "_image"
"""What comes after a camera's name in the name of its pictures."""

ENV_NAMES: dict[str, str] = {
    "bread": "PickPlaceBread",
    "can": "PickPlaceCan",
    "cereal": "PickPlaceCereal",
    "door": "Door",
    "lift": "Lift",
    "milk": "PickPlaceMilk",
    "nut-assembly": "NutAssembly",
    "pick-place": "PickPlace",
    "round": "NutAssemblyRound",
    "square": "NutAssemblySquare",
    "stack": "Stack",
    "tool-hang": "ToolHang",
    "transport": "TwoArmTransport",
    "two-arm-handover": "TwoArmHandover",
    "two-arm-lift": "TwoArmLift",
}
"""robosuite's environment for each task. Four of robosuite 1.5.2 are left out: NutAssemblySingle
and PickPlaceSingle draw their object in an order that differs between processes, so that the same
seed gives another episode; Wipe keeps outside the simulator what is wiped already, so that a state
does not lead back; Wipe and TwoArmPegInHole have no gripper, which every observation here has."""


def env_id_of(env_name: str) -> str:
    """Return how episodes name the environment that `env_args` calls `env_name`.

    Example:
        >>> env_id_of("PickPlaceCan"), env_id_of("PickPlaceSingle")
        ('robomimic/can', 'robomimic/PickPlaceSingle')
    """
    tasks = {name: task for task, name in ENV_NAMES.items()}
    return f"robomimic/{tasks.get(env_name, env_name)}"


@dataclass(frozen=True)
class SimulatorFile:
    """What a robomimic file says about the simulator, so that robomimic can make it again.

    Args:
        env_args: Name, type and arguments of the environment.
        model_file: The model, as MuJoCo's XML.
        state_keys: The observations that make up `observation.state`, in order, and their sizes.
    """

    env_args: dict[str, Any]
    model_file: str
    state_keys: list[tuple[str, int]]

"""The tasks of robomimic and of the robosuite beneath it, in words: what the robot has to do."""

from robopref.data.robomimic_format import ENV_NAMES, STATE_KEYS

TASKS: dict[str, str] = {
    "bread": "Put the bread into its bin.",
    "can": "Put the can into its bin.",
    "cereal": "Put the box of cereal into its bin.",
    "door": "Open the door.",
    "lift": "Lift the cube off the table.",
    "milk": "Put the milk into its bin.",
    "nut-assembly": "Put both nuts on their pegs.",
    "pick-place": "Put each of the four objects into its bin.",
    "round": "Put the round nut on its peg.",
    "square": "Put the square nut on its peg.",
    "stack": "Put the red cube on the green one.",
    "tool-hang": "Put the frame together and hang the tool on it.",
    "transport": "Carry the hammer from one bin to the other with two arms.",
    "two-arm-handover": "Hand the hammer from one arm to the other.",
    "two-arm-lift": "Lift the pot with two arms.",
}


def num_arms(task: str) -> int:
    """Return how many arms a task takes.

    Example:
        >>> num_arms("lift"), num_arms("transport")
        (1, 2)
    """
    return 2 if ENV_NAMES[task].startswith("TwoArm") else 1


def has_shaped_reward(task: str) -> bool:
    """Return whether robosuite rewards the way to success.

    Example:
        >>> has_shaped_reward("lift"), has_shaped_reward("transport")
        (True, False)
    """
    return task not in ("tool-hang", "transport")


def state_keys(num_arms: int) -> tuple[str, ...]:
    """Return robomimic's observations that make up a state, in order.

    Example:
        >>> state_keys(2)[2:5]
        ('robot0_gripper_qpos', 'robot1_eef_pos', 'robot1_eef_quat')
    """
    *first, objects = STATE_KEYS
    arms = [key.replace("0", str(arm)) for arm in range(num_arms) for key in first]
    return (*arms, objects)

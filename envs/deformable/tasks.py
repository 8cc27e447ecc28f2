"""The deformable tasks by name."""

from robopref.envs.deformable.granular import Granular
from robopref.envs.deformable.rope import Rope
from robopref.envs.deformable.task import Task
from robopref.envs.deformable.tshirt import TShirt

MATERIALS: dict[str, type[Task]] = {"rope": Rope, "granular": Granular, "tshirt": TShirt}
"""What may lie on the table."""
TASKS = {
    f"{material}-{goal}-v0": words
    for material, kind in MATERIALS.items()
    for goal, words in kind.GOALS.items()
}
"""What is to be done, by name."""


def parse(name: str) -> tuple[str, str]:
    """Return the material and the goal of a task, one of `TASKS`.

    Example:
        >>> parse("rope-circle-v0")
        ('rope', 'circle')
    """
    material, goal, _ = name.split("-")
    return material, goal

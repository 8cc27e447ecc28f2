"""Demonstrations by a task's geometric rule, whose proposals a trial may check.

Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, where a person assigns several good actions
to a state; the rule's proposals take their place.
"""

from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.envs.deformable.env import DeformableEnv
from robopref.envs.deformable.simulation import UnstableSimulationError
from robopref.errors import RoboprefError, check_at_least
from robopref.types import SimState

NUM_CHECKED = {"rope": 1, "granular": 1, "tshirt": 4}
"""Proposals of which a demonstrator chooses, by material: a fling comes out well or ill."""


def demonstrate(
    env: DeformableEnv, rng: np.random.Generator, num_checked: int = 1
) -> tuple[Float[np.ndarray, " 6"], dict[str, Any]]:
    """Perform the first proposal after which the state is no worse, or else the best of them.

    Args:
        env: Where the primitive is performed, as by `env.perform`.
        rng: Draws the rule's proposals.
        num_checked: Most proposals that are tried from a snapshot; 1 takes the first as it is.

    Returns:
        The action, and `info` of its step.

    Raises:
        RoboprefError: The rule proposes nothing that can be performed here.
    """
    check_at_least("num_checked", num_checked, 1)
    state, now = env.get_state(), env.quality()
    best: tuple[np.ndarray, dict[str, Any], SimState] | None = None
    for action in env.propose(rng, num_checked):
        env.put(state)
        try:
            info = env.perform(action)
        except UnstableSimulationError:
            continue
        if best is None or info["quality"] > best[1]["quality"]:
            best = action, info, env.get_state()
        if info["quality"] >= now:
            break
    if best is None:
        env.put(state)
        raise RoboprefError(
            f"The geometric rule of {env.env_id} proposes nothing that can be performed here. "
            "Reset the environment."
        )
    env.put(best[2])
    return best[0], best[1]

"""Trying candidates from one state: what would come of each, without deciding for one.

Shapes: N candidates, Ds size of the simulator state.
"""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from robopref.envs.deformable.env import DeformableConfig, DeformableEnv
from robopref.envs.deformable.simulation import UnstableSimulationError
from robopref.types import SimState
from robopref.workers import Workers, at_end_of_work


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What came of candidates.

    Args:
        qualities: Quality after each; that of the state before where it could not be performed.
        states: State after each, with the episode's part of the state that they were tried from.
        problems: What was wrong with each; "" where nothing was.
    """

    qualities: Float[np.ndarray, " N"]
    states: Float[np.ndarray, "N Ds"]
    problems: list[str]


@dataclass
class Trials:
    """Tries candidates.

    Args:
        config: The environment that they are tried in.
        workers: Who tries them, running; those of one state are shared among them.
    """

    config: DeformableConfig
    workers: Workers = field(default_factory=lambda: Workers(0))

    def outcomes(self, state: SimState, actions: Float[np.ndarray, "N 6"]) -> Outcomes:
        """Return what comes of each action in `state`.

        Raises:
            ValueError: The state is one of another task, or an action is not finite.
        """
        items = [_Trial(self.config, state, action) for action in actions]
        qualities, states, problems = zip(*self.workers.map(_try, items), strict=True)
        return Outcomes(np.array(qualities), np.stack(states), list(problems))


@dataclass(frozen=True, eq=False)
class _Trial:
    config: DeformableConfig
    state: SimState
    action: np.ndarray


_ENVS: dict[DeformableConfig, DeformableEnv] = {}
"""Environments of this process, made once and kept."""


@at_end_of_work
def _close_envs() -> None:
    for env in _ENVS.values():
        env.close()
    _ENVS.clear()


def _try(trial: _Trial) -> tuple[float, np.ndarray, str]:
    if trial.config not in _ENVS:
        _ENVS[trial.config] = trial.config.build()
    env = _ENVS[trial.config]
    env.put(trial.state)
    try:
        info = env.perform(trial.action)
    except UnstableSimulationError as error:
        return env.quality(), env.get_state().step, str(error)
    return info["quality"], env.get_state().step, info["problem"]

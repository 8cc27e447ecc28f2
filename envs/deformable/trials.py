"""Trying candidates from one state: what would come of each, without deciding for one.

Shapes: N candidates, Ds size of the simulator state.
"""

from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import TracebackType
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.envs.deformable.env import DeformableConfig, DeformableEnv
from robopref.envs.deformable.simulation import UnstableSimulationError
from robopref.errors import check_at_least
from robopref.types import SimState


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
    """Tries candidates, in this process or in several others; to be used in a `with` block.

    Args:
        config: The environment that they are tried in.
        num_processes: Processes beside this one; 0 tries them here.
    """

    config: DeformableConfig
    num_processes: int = 0
    _pool: ProcessPoolExecutor | None = field(default=None, repr=False)
    _env: DeformableEnv | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Check the number of processes."""
        check_at_least("num_processes", self.num_processes, 0)

    def __enter__(self) -> "Trials":
        """Start the processes."""
        if self.num_processes:
            self._pool = ProcessPoolExecutor(
                self.num_processes, get_context("spawn"), _prepare, (self.config,)
            )
        else:
            self._env = self.config.build()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the processes."""
        if self._pool is not None:
            self._pool.shutdown()
        if self._env is not None:
            self._env.close()
        self._pool = self._env = None

    def outcomes(self, state: SimState, actions: Float[np.ndarray, "N 6"]) -> Outcomes:
        """Return what comes of each action in `state`.

        Raises:
            RuntimeError: This is outside of the `with` block.
            ValueError: The state is one of another task, or an action is not finite.
        """
        if self._pool is not None:
            jobs = [self._pool.submit(_try_there, state, action) for action in actions]
            found = [job.result() for job in jobs]
        elif self._env is not None:
            found = [_try(self._env, state, action) for action in actions]
        else:
            raise RuntimeError("The trials are not running. Use 'with Trials(config) as trials:'.")
        qualities, states, problems = zip(*found, strict=True)
        return Outcomes(np.array(qualities), np.stack(states), list(problems))


_there: dict[str, Any] = {}
"""The environment of a process that tries candidates."""


def _prepare(config: DeformableConfig) -> None:
    _there["env"] = config.build()


def _try_there(state: SimState, action: np.ndarray) -> tuple[float, np.ndarray, str]:
    return _try(_there["env"], state, action)


def _try(env: DeformableEnv, state: SimState, action: np.ndarray) -> tuple[float, np.ndarray, str]:
    env.put(state)
    try:
        info = env.perform(action)
    except UnstableSimulationError as error:
        return env.quality(), env.get_state().step, str(error)
    return info["quality"], env.get_state().step, info["problem"]

"""Simulators that draw what was recorded and play what is proposed.

Shapes: L actions, Da action size, Ds size of the simulator state, Do observation size.
"""

from typing import Any, NamedTuple

import numpy as np

from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate
from robopref.types import STATE


class Outcome(NamedTuple):
    """What follows from a candidate's actions.

    Args:
        states: Simulator states, the one before the first action included, (L + 1, Ds).
        observations: The state observations after each action, (L, Do).
        episode: What is fixed by the reset, as in `SimState`.
    """

    states: np.ndarray
    observations: np.ndarray
    episode: np.ndarray


class Simulators:
    """Environments by name, each built when it is first needed."""

    def __init__(self) -> None:
        self._envs: dict[str, Any] = {}

    def get(self, env_id: str) -> Any:
        """Return the environment called `env_id`.

        Raises:
            UnknownNameError: There is no such environment or task.
            MissingExtraError: It needs a package that is not installed.
            ClipError: MUJOCO_GL names no OpenGL library.
        """
        from robopref.envs.make import make_env
        from robopref.gl import check_mujoco_gl

        if env_id not in self._envs:
            try:
                check_mujoco_gl()
            except ValueError as error:  # No query is to blame for it.
                raise ClipError(str(error), passing=True) from error
            self._envs[env_id] = make_env(env_id)
        return self._envs[env_id]

    def cameras(self, env_id: str) -> list[str]:
        """Return the names of an environment's cameras, the one that shows most first."""
        env = self.get(env_id)
        return [env.default_camera, *(name for name in env.cameras if name != env.default_camera)]

    def play(self, episodes: EpisodeStore, candidate: ActionCandidate) -> Outcome:
        """Return what follows from a candidate's actions; less where the episode ends before.

        Raises:
            DataError: The episode cannot be read, has no simulator states, or is over at that step.
        """
        episode = episodes.episode(candidate.episode_id)
        start = episode.sim_state(candidate.step)
        env = self.get(episode.env)
        env.reset(seed=0)
        env.set_state(start)
        states, observations = [start.step], []
        for action in np.array(candidate.action, np.float32):
            try:
                obs, _, _, truncated, _ = env.step(action)
            except RuntimeError as error:
                raise DataError(
                    f"A candidate for step {candidate.step} of episode {episode.id} cannot be "
                    f"played: {error}"
                ) from error
            states.append(env.get_state().step)
            observations.append(obs[STATE])
            if truncated:
                break
        return Outcome(np.stack(states), np.stack(observations), start.episode)

    def close(self) -> None:
        """Free the simulators."""
        for env in self._envs.values():
            env.close()
        self._envs.clear()

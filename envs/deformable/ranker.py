"""How good action candidates are, by trying them: what a scripted teacher ranks them by.

`robopref.preferences.teachers` makes an annotator of it who errs, finds things hard to tell apart,
and skips.

Shapes: N candidates.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.data.episode import Episode
from robopref.envs.deformable.env import DeformableEnv
from robopref.envs.deformable.trials import Trials
from robopref.errors import DataError
from robopref.preferences.query import ActionCandidate
from robopref.seeding import make_rng
from robopref.types import SimState


@dataclass
class TrialScore:
    """Scores a candidate by the quality of the state that it leads to.

    What was tried once is remembered.

    Args:
        trials: Tries candidates; running.
        episode: Returns an episode by its id; it must hold simulator states.
        lookahead: So many proposals of the task's geometric rule are tried after each candidate,
            and the best state on the way counts; 0 looks no further than the candidate.
    """

    trials: Trials
    episode: Callable[[str], Episode]
    lookahead: int = 0
    _known: dict[ActionCandidate, float] = field(default_factory=dict, repr=False)
    _env: DeformableEnv | None = field(default=None, repr=False)

    def __call__(self, item: Any) -> Float[np.ndarray, " 1"]:
        """Return the score of a candidate.

        Raises:
            DataError: It is no candidate, or not for a state of this task.
        """
        if not isinstance(item, ActionCandidate):
            raise DataError(f"Trials score action candidates, got {type(item).__name__}.")
        if item not in self._known:
            self._known[item] = self._try(item)
        return np.array([self._known[item]])

    def close(self) -> None:
        """Free the environment that looks ahead."""
        if self._env is not None:
            self._env.close()
        self._env = None

    def _try(self, item: ActionCandidate) -> float:
        state = state_at(self.episode(item.episode_id), item.step, self.trials.config.task)
        found = self.trials.outcomes(state, np.array(item.action[:1], np.float32))
        quality = float(found.qualities[0])
        if not self.lookahead:
            return quality
        if self._env is None:
            self._env = self.trials.config.build()
        after = SimState(found.states[0], state.episode)
        self._env.put(after)
        # The same follow-ups whenever this candidate is tried.
        rng = make_rng(0, "lookahead", item.episode_id, str(item.step), str(item.action))
        following = self._env.propose(rng, self.lookahead)
        if self._env.is_over or not len(following):
            return quality
        return max(quality, float(self.trials.outcomes(after, following).qualities.max()))


def state_at(episode: Episode, step: int, task: str) -> SimState:
    """Return the simulator's state at a step of an episode.

    Raises:
        DataError: The episode is of another task, holds no states, or has no such step.
    """
    if episode.env != f"deformable/{task}":
        raise DataError(
            f"Episode {episode.id} is of '{episode.env}', and candidates are tried in "
            f"'deformable/{task}': a ranking for another state says nothing here."
        )
    if episode.sim_states is None or episode.sim_episode is None:
        raise DataError(f"Episode {episode.id} holds no simulator states to try candidates from.")
    if not 0 <= step < len(episode.sim_states):
        raise DataError(f"Episode {episode.id} has {len(episode)} steps, got step {step}.")
    return SimState(episode.sim_states[step], episode.sim_episode)

"""Candidates at states of recorded episodes, put before a teacher, and what was answered.

Shapes: N candidates, G rankings.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.deform.config import DeformConfig
from robopref.deform.feasible import feasible_for
from robopref.deform.outcomes import CachedTrials
from robopref.envs.deformable.ranker import TrialScore, state_at
from robopref.envs.deformable.trials import Trials
from robopref.errors import DataError
from robopref.preferences.candidates import CandidateView
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.store import PreferenceStore
from robopref.preferences.teachers import Teacher
from robopref.preferences.terminal import Person
from robopref.seeding import derive_uuid, make_generator, make_rng
from robopref.types import POINTS, Obs
from robopref.workers import Workers

REASON = "Which primitive helps most here?"


@dataclass
class Rankings:
    """Queries about candidates of one run, and the answers.

    Args:
        config: The run's settings.
        directory: The run's folder, which gets `preferences.sqlite`.
        pool: Episodes whose states candidates are proposed for.
        env: An environment of the run.
        workers: Who tries candidates for a scripted teacher, running.
    """

    config: DeformConfig
    directory: Path
    pool: EpisodeStore
    env: Any
    workers: Workers

    def __post_init__(self) -> None:
        """Open the store."""
        self.store = PreferenceStore(self.directory / "preferences.sqlite")

    def propose(self, number: int, proposer: Any, episodes: Sequence[Episode], num: int) -> int:
        """Add queries about candidates at states of `episodes`; return how many there are.

        States are drawn among all that a primitive was performed in. Candidates that cannot be
        performed are left out, and a state with fewer than two others is passed over.

        Args:
            number: Of the round; the same one adds nothing twice.
            proposer: Policy whose candidates they are.
            episodes: Where the states come from.
            num: States.

        Raises:
            DataError: The episodes have too few states.
        """
        states = [(episode, step) for episode in episodes for step in range(len(episode))]
        order = make_rng(self.config.seed, "states", number).permutation(len(states))
        queries: list[Query] = []
        for episode, step in (states[place] for place in order):
            if len(queries) == num:
                break
            items = self._candidates(proposer, episode, step)
            if len(items) > 1:
                query_id = derive_uuid(self.config.seed, "candidates", episode.id, step)
                queries.append(Query(query_id, items, "candidates", REASON))
        if len(queries) < num:
            raise DataError(
                f"{len(episodes)} episodes have {len(queries)} states to ask about, and {num} were "
                "wanted. Record more (`num_pool_episodes`), or ask about fewer (`num_states`)."
            )
        context = {"data": str(self.pool.root), "round": number}
        self.store.add_queries(queries, cut_hash=self.pool.content_hash, context=context)
        return len(self.store.queries())

    def ask(self, person: Person | None = None) -> dict[str, float]:
        """Have what waits answered; return how many rankings and labels there are.

        Args:
            person: How a person is reached, for a teacher who is one.

        Raises:
            KeyboardInterrupt: The teacher stopped; every answer so far is kept.
        """
        config = resolve(self.config, "teacher")
        waiting = self.store.pending(config.annotator, config.criterion)
        if waiting:
            outcomes = self.directory / "outcomes.sqlite"
            trials = CachedTrials(self.env.config, self.workers, path=outcomes)
            teacher = self._teacher(config, trials, person)
            for query in waiting:
                answer = teacher.answer(query)
                if answer is None:
                    raise KeyboardInterrupt
                self.store.answer(answer)
        return {"rankings": len(self.preferences()), "labels": self.store.num_labels()}

    def preferences(self) -> list[Preference]:
        """Return the answers so far."""
        return self.store.preferences()

    def view(self) -> CandidateView:
        """Return the answers so far as losses and scorers learn from them."""
        return CandidateView.from_preferences(self.preferences(), self.observe)

    def observe(self, item: ActionCandidate) -> Obs:
        """Return the observation that a candidate is for."""
        return {POINTS: self.pool.episode(item.episode_id).obs[POINTS][item.step]}

    def _candidates(
        self, proposer: Any, episode: Episode, step: int
    ) -> tuple[ActionCandidate, ...]:
        obs = {key: torch.from_numpy(value[step])[None, None] for key, value in episode.obs.items()}
        generator = make_generator(self.config.seed, "candidates", episode.id, step)
        candidates = proposer.sample(obs, self.config.num_candidates, generator)
        allowed = feasible_for(self.env.task.primitive)(obs, candidates)[0]
        space = self.env.action_space
        actions = [
            tuple(float(x) for x in action.clip(space.low, space.high))
            for action in candidates[0, :, 0][allowed].numpy()
        ]
        return tuple(
            ActionCandidate(episode.id, step, (action,)) for action in dict.fromkeys(actions)
        )

    def _teacher(self, config: Any, trials: Trials, person: Person | None) -> Teacher:
        score, spread = TrialScore(trials, self.pool.episode, self.config.lookahead), 1.0
        if hasattr(config, "measure_returns"):
            # All queries so far, answered or not, so that a resumed run measures the same.
            queries = self.store.queries()
            self._try(trials, queries)
            spread = spread_of(score, queries)
        teacher: Teacher = config.build(
            score, spread=spread, person=person,
            rng=make_rng(self.config.seed, "teacher", config.criterion),
        )  # fmt: skip
        return teacher

    def _try(self, trials: Trials, queries: Sequence[Query]) -> None:
        """Try the candidates of each query at once: the processes share them."""
        for query in queries:
            items = [item for item in query.items if isinstance(item, ActionCandidate)]
            episode = self.pool.episode(items[0].episode_id)
            state = state_at(episode, items[0].step, trials.config.task)
            trials.outcomes(state, np.array([item.action[0] for item in items], np.float32))


def spread_of(score: Callable[[Any], np.ndarray], queries: Sequence[Query]) -> float:
    """Return how far apart the candidates of one state are: the deviation from its mean.

    States are good or bad by themselves, which says nothing of their candidates.

    Raises:
        DataError: All candidates of each state come to the same.
    """
    scores = [np.array([score(item)[0] for item in query.items]) for query in queries]
    spread = float(np.sqrt(np.mean(np.concatenate([(s - s.mean()) ** 2 for s in scores]))))
    if not spread > 0:
        raise DataError(
            f"All candidates of each of {len(queries)} states come to the same: a scripted teacher "
            "has nothing to compare. Train the policy longer, or record other episodes."
        )
    return spread

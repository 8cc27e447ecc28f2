"""The middle of the loop: choosing queries, having them answered, fitting the reward.

Queries compare whole episodes of the pool, or segments of them. Each round fits the reward to all
answers so far and asks what its members disagree about; the first round knows nothing and asks
what needs no reward.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.checks import labels_a_query
from robopref.align.evaluate import measure_episode, score_segment, usable
from robopref.align.reward_fitting import RewardFitting
from robopref.align.run import load_figures, save_figures
from robopref.align.shown import Shown
from robopref.config import resolve
from robopref.data.episode import Episode, batch_segments
from robopref.data.rows import EpisodeRow
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.envs import BEHAVIOURS
from robopref.errors import DataError, NothingLearnedError
from robopref.preferences.pool import CandidatePool
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.store import PreferenceStore
from robopref.preferences.teachers import Teacher
from robopref.preferences.terminal import Person
from robopref.seeding import make_rng
from robopref.types import Obs

NUM_PARTS = 5
"""One of so many decided queries is held out, where any are."""
FEWEST_TO_HOLD_OUT = 20
"""Of fewer decided queries none is held out: so few could not judge a policy."""
FEWEST_TO_ASK_ABOUT = 20
"""Where fewer episodes succeeded, those that failed are asked about as well."""
MAX_QUERIES_PER_LABEL = 5
"""A teacher who passes on more than this gives too little to learn from."""


class Labels:
    """Queries, answers and the reward of one run.

    Args:
        config: The run's settings.
        directory: The run's folder.
        pool: Episodes that queries are made of.
        behaviour: Gives the scripted teacher its measure; nothing that learns sees it.
        shown: What rewards see of episodes; None for what the config says.
        holds_out: Keep some answers away from all that learns, if there are enough.
    """

    def __init__(
        self,
        config: Any,
        directory: Path,
        pool: EpisodeStore,
        behaviour: Any,
        *,
        shown: Shown | None = None,
        holds_out: bool = False,
    ) -> None:
        self.config = config
        self._holds_out = holds_out
        self.shown = Shown(config, directory) if shown is None else shown
        self.pool = pool
        self.behaviour = behaviour
        self._curve_path = directory / "label-curve.json"
        self._believed_path = directory / "reward" / "believed.json"
        self.preference_store = PreferenceStore(directory / "preferences.sqlite")
        self.teacher_config = resolve(config, "teacher")
        self.strategy_config = resolve(config, "strategy")
        self._labels_a_query = labels_a_query(config)

    def preferences(self) -> list[Preference]:
        """Return all answers so far, in the order they were given."""
        return self.preference_store.preferences()

    def ask(self, person: Person | None = None) -> dict[str, Any]:
        """Ask until the budget of labels is used; return how the reward learned on the way.

        Args:
            person: How a person is reached, for a teacher who is one.

        Raises:
            DataError: The teacher passes on too many queries.
            KeyboardInterrupt: The teacher stopped; every answer so far is kept.
        """
        teachers = [self._teacher(*judge, person) for judge in self.judges()]
        curve = self._read_curve()
        # An answer may count several labels; no more than the budget are asked for.
        while (missing := self._missing()) >= self._labels_a_query:
            self._check_progress()
            pending = self._pending()
            if not pending:
                reward = self._reward_so_far(curve)
                pending = self._propose(reward, min(missing, self.config.labels_per_round))
            for query in pending:
                # They take turns, also across interruptions.
                teacher = teachers[len(self.preferences()) % len(teachers)]
                preference = teacher.answer(query)
                if preference is None:
                    raise KeyboardInterrupt
                self.preference_store.answer(preference)
        return {"curve": curve, "labels": self.preference_store.num_labels()}

    def fit_reward(self) -> tuple[Any, dict[str, float]]:
        """Fit a fresh reward to all answers so far; return it and what `fit` measured.

        Raises:
            NothingLearnedError: No answer has a winner.
        """
        if not self._has_winner():
            raise NothingLearnedError(
                f"All {self.preference_store.num_labels()} answers are ties, which tell a reward "
                "nothing. Begin again in a new folder (--out) with more answers (--num-labels), "
                "or with another teacher or behaviour."
            )
        fitting = RewardFitting(
            self.config, self.learned_from(), self._cut, doubt=self.config.find_mistakes
        )
        save_figures(fitting.view.prefers_b.tolist(), self._believed_path)
        return fitting.fit("reward", str(self.preference_store.num_labels()))

    def fitting(self) -> RewardFitting:
        """Return all answers so far as pairs to fit rewards to."""
        return RewardFitting(self.config, self.preferences(), self._cut)

    def held_out(self) -> list[Preference]:
        """Return the answers that nothing learns from; none where there are too few."""
        answers = self.preferences()
        decided = [p.query.id for p in answers if any(o != 0.5 for *_, o in p.ranking.pairs())]
        # By queries: what one person said of a pair would teach what another will say.
        queries = list(dict.fromkeys(decided))
        if not self._holds_out or len(queries) < FEWEST_TO_HOLD_OUT:
            return []
        held = set(queries[::NUM_PARTS])
        return [preference for preference in answers if preference.query.id in held]

    def learned_from(self) -> list[Preference]:
        """Return the answers that a reward and a method learn from."""
        held = {preference.query.id for preference in self.held_out()}
        return [p for p in self.preferences() if p.query.id not in held]

    def judgements(self) -> tuple[list[Episode], list[Any]]:
        """Return the judged episodes, and the answers as fine-tuning methods take them.

        With `find_mistakes` each answer counts as far as the reward's fit believed it.
        """
        from robopref.policies.finetune.data import judgements_of

        doubts = self.config.find_mistakes
        believed: list[float] | None = load_figures(self._believed_path, list) if doubts else None
        return judgements_of(self.learned_from(), self.pool.episode, believed=believed)

    def watched_pairs(self) -> list[tuple[str, str, float]]:
        """Return two episode ids, and whether the second won, of all pairs that judge a policy."""
        return [
            (preference.query.items[a].episode_id, preference.query.items[b].episode_id, prefers_b)
            for preference in self.held_out() or self.preferences()
            for a, b, prefers_b in preference.ranking.pairs()
            if prefers_b != 0.5
        ]

    def curve_point(self, reward: Any, figures: dict[str, float]) -> dict[str, float]:
        """Return where a fitted reward lies on the learning curve."""
        labels = self.preference_store.num_labels()
        return {"labels": labels, **figures, "pool_accuracy": self.true_accuracy(reward)}

    def returns(self, reward: Any, episodes: Sequence[Episode]) -> np.ndarray:
        """Return the learned return of each episode."""
        returns: np.ndarray = reward.segment_return(self.shown.whole(episodes))
        return returns

    def rewards_along(
        self, reward: Any, episodes: Sequence[Episode]
    ) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return the learned rewards and their spread along each episode, (T,) each."""
        batch = self.shown.whole(episodes)
        rewards, spread = reward.rewards(batch), reward.uncertainty(batch)
        return [(rewards[i, :n], spread[i, :n]) for i, n in enumerate(batch.lengths)]

    def true_accuracy(self, reward: Any, *, num_pairs: int = 2000) -> float:
        """Return the share of pool pairs that the reward orders as the behaviour's measure does.

        For the report only: it uses the measure, which no learner may see.
        """
        episodes = list(self.pool)
        truth = np.array([measure_episode(self.behaviour, e) for e in episodes])
        learned = self.returns(reward, episodes)
        rng = make_rng(self.config.seed, "accuracy")
        a, b = rng.integers(len(episodes), size=(2, num_pairs))
        differ = truth[a] != truth[b]
        right = (truth[a] > truth[b]) == (learned[a] > learned[b])
        return float(right[differ].mean()) if differ.any() else float("nan")

    def _missing(self) -> int:
        missing: int = self.config.num_labels - self.preference_store.num_labels()
        return missing

    def _pending(self) -> list[Query]:
        """Return the queries that nobody has answered, oldest first."""
        store = self.preference_store
        pending = [store.pending(config.annotator, config.criterion) for config, _ in self.judges()]
        return [query for query in pending[0] if all(query in others for others in pending[1:])]

    def _check_progress(self) -> None:
        num_answers, num_labels = len(self.preferences()), self.preference_store.num_labels()
        if num_answers >= MAX_QUERIES_PER_LABEL * max(num_labels, self.config.num_labels):
            raise DataError(
                f"The teacher answered {num_answers} queries with only {num_labels} labels, the "
                "rest were skipped or could not be told. Ask about another behaviour, or episodes "
                "that differ more."
            )

    def judges(self) -> list[tuple[Any, Any]]:
        """Return who answers, each with the behaviour that they judge.

        A behaviour of several criteria has a scripted annotator for each; nobody judges the whole.
        """
        config, behaviour = self.teacher_config, self.behaviour
        if not (hasattr(behaviour, "criteria") and hasattr(config, "measure_returns")):
            return [(config, behaviour)]
        return [
            (
                replace(
                    config,
                    annotator=f"{config.annotator}-{number}",
                    criterion=BEHAVIOURS.name_of(type(criterion)),
                ),
                criterion,
            )
            for number, criterion in enumerate(behaviour.criteria(), start=1)
        ]

    def _teacher(self, config: Any, behaviour: Any, person: Person | None) -> Teacher:
        def score(item: Any) -> np.ndarray:
            return score_segment(behaviour, self.pool.episode(item.episode_id), item)

        spread, centre = 1.0, 0.0
        if hasattr(config, "measure_returns"):
            spread, centre = config.measure_returns(score, self._segments())
        teacher: Teacher = config.build(
            score, spread=spread, centre=centre, person=person,
            rng=make_rng(self.config.seed, "teacher", config.criterion),
        )  # fmt: skip
        return teacher

    def _asked_about(self) -> Sequence[EpisodeRow]:
        """Return the episodes that queries are made of.

        Nothing that failed is imitated where success is used, and failures are so unlike all else
        that telling them apart would take most of the labels.
        """
        rows = usable(self.config, self.pool.rows)
        return rows if len(rows) >= FEWEST_TO_ASK_ABOUT else self.pool.rows

    def _segments(self) -> list[Segment]:
        """Return what is compared: whole episodes, or one random window of each."""
        length = self.config.segment_length
        segments = []
        for row in self._asked_about():
            rng = make_rng(self.config.seed, "segment", row.episode_id)
            size = row.length if length is None else min(length, row.length)
            start = int(rng.integers(row.length - size + 1))
            segments.append(Segment(row.episode_id, start, size))
        return segments

    def _propose(self, reward: Any, num: int) -> list[Query]:
        """Choose the next queries and keep them."""
        asked = self.preference_store.queries()
        segments = self._segments()
        rng = make_rng(self.config.seed, "queries", len(asked))
        pool = CandidatePool.build(
            segments, batch_segments([self._cut(s) for s in segments]), rng=rng, asked=asked,
            groups=self._groups(),
        )  # fmt: skip
        strategy = self.strategy_config.build()
        queries: list[Query] = strategy.propose(pool, reward, num // self._labels_a_query, rng)
        self.preference_store.add_queries(queries, cut_hash=self.pool.content_hash)
        return queries

    def _groups(self) -> list[str] | None:
        """Return which episodes are compared with each other; None for all.

        What tells a demonstration from an episode of the policy is not what is preferred: queries
        between them would be wasted on it.
        """
        if not getattr(self.config, "ask_about_demonstrations", False):
            return None
        own = [row.metadata.get("name") == "pool" for row in self._asked_about()]
        return ["pool" if is_own else "demonstrations" for is_own in own]

    def _has_winner(self) -> bool:
        """Return whether any answer prefers an item to another; ties alone cannot be fitted."""
        pairs = (pair for preference in self.preferences() for pair in preference.ranking.pairs())
        return any(prefers_b != 0.5 for _, _, prefers_b in pairs)

    def _reward_so_far(self, curve: list[dict[str, float]]) -> Any:
        """Return a reward fitted to the answers so far, None before one of them has a winner."""
        if not self._has_winner():
            return None
        num_labels = self.preference_store.num_labels()
        reward, figures = self.fitting().fit("reward", str(num_labels))
        if num_labels not in {row["labels"] for row in curve}:
            curve.append(self.curve_point(reward, figures))
            save_figures(curve, self._curve_path)
        return reward

    def _read_curve(self) -> list[dict[str, float]]:
        """Return the points of the learning curve that an interrupted run had reached."""
        if not self._curve_path.is_file():
            return []
        curve: list[dict[str, float]] = load_figures(self._curve_path, list)
        return curve

    def _cut(self, segment: Segment) -> tuple[Obs, np.ndarray]:
        """Return what a reward sees of a segment of the pool, and its actions."""
        return self.shown.cut(self.pool.episode(segment.episode_id), segment)

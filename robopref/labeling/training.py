"""Refitting the reward while people label, and asking what it would learn most from next.

Runs in a process of its own: it needs torch, which the server does not. What it finds is in the
database: priorities of the queue with the reason of each, and the history of the held-out accuracy.
"""

import logging
import shutil
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from robopref.config import resolve
from robopref.data.episode import batch_segments
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import CheckpointError, DataError
from robopref.labeling.compared import STRATEGY
from robopref.labeling.first_queries import draw_pairs
from robopref.labeling.fitting_sizes import check_reward_fits
from robopref.labeling.queue import LabelQueue
from robopref.labeling.recent import (
    add_to_history,
    count_revisions,
    num_ranked_since,
    read_history,
    recent_answers,
    recent_queries,
)
from robopref.labeling.training_config import FitSettings, TrainerConfig
from robopref.labeling.value import value_of_more
from robopref.preferences.belief import believe, settle
from robopref.preferences.database import known_answers
from robopref.preferences.pool import CandidatePool, sample_segments
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.store import PreferenceStore
from robopref.seeding import make_rng
from robopref.statistics import wilson

if TYPE_CHECKING:
    from robopref.align.reward_fitting import RewardFitting

MIN_LABELS = 8
"""Decided pairs before a reward is fitted: with fewer, folds hold out one or two."""
MAX_FITTED = 2_000
"""Answers that the reward is fitted to, the newest; a refit is to take seconds."""
MAX_RANKED = 500
"""Open queries that are put in order."""
NUM_ASKED = 5_000
"""Queries, the newest, that are not asked again."""
NUM_HISTORY = 200
"""Fits, the newest, that say how the accuracy rises."""
NUM_KEPT = 3
"""Fitted rewards, the newest of a criterion, whose folders are kept."""
FIXED = ("asked", STRATEGY)
"""Strategies whose queries keep the priority that they came with."""

log = logging.getLogger(__name__)


class Refitter:
    """Fits rewards to the answers so far, and puts the queue in order by them.

    Args:
        config: How.
    """

    def __init__(self, config: TrainerConfig) -> None:
        self.config = config
        self.episodes = EpisodeStore.open(config.data)
        self.store = PreferenceStore(config.db, create=False)
        self.queue = LabelQueue(self.store.database, config.project)
        self.strategy = resolve(config, "strategy").build()
        self._rewards: dict[str, Any] = {}
        self._lacking: dict[str, tuple[int, list[int], str]] = {}

    def close(self) -> None:
        """Let go of the database."""
        self.store.close()

    def is_due(self, criterion: str) -> bool:
        """Return whether the reward is to be fitted again.

        That is so when enough was answered since it was fitted last, or what it was fitted to has
        changed: answers were taken back, or decided otherwise. Where it could not be fitted,
        something must have changed since.
        """
        database = self.store.database
        tried, seen, _ = self._lacking.get(criterion, (0, [], ""))
        if (
            criterion in self._lacking
            and seen == count_revisions(database, criterion, tried)
            and not num_ranked_since(database, criterion, tried)
        ):
            return False
        figures = self._last_figures(criterion)
        last, revised = figures.get("last_seq", 0), figures.get("revised")
        if revised and revised != count_revisions(database, criterion, last):
            return True
        num = num_ranked_since(database, criterion, last)
        return num >= (self.config.refit_every if last else MIN_LABELS)

    def problems(self) -> list[str]:
        """Return why no reward could be fitted, for each criterion where that is so."""
        return [words for *_, words in self._lacking.values()]

    def refit(self, criterion: str) -> dict[str, Any] | None:
        """Fit a reward, measure it, and put the queue in order; None if there is too little.

        Returns:
            What stands in the history: accuracy on held-out pairs with its interval, what ten
            more labels are worth, the seconds that it took, and the folder of the reward.
        """
        import torch

        torch.set_num_threads(1)  # the others are for who waits for clips
        start = time.monotonic()
        self.episodes.refresh()
        preferences, last_seq, revised = self._answers(criterion)
        fitting = self._fitting(preferences)
        if fitting is None:
            problem = (
                f"No reward by '{criterion}' yet: it takes {MIN_LABELS} pairs of which one was "
                "preferred. Ties, and answers whose clips are gone, decide nothing."
            )
            self._lacking[criterion] = (last_seq, revised, problem)
            return None
        self._lacking.pop(criterion, None)
        margins = fitting.held_out_margins()
        known = margins[np.isfinite(margins)]
        share = wilson(int((known > 0).sum()), len(known))
        reward, _ = fitting.fit("label", str(last_seq))
        folder = self._save(reward, criterion, last_seq)
        self._rewards[criterion] = reward
        self.reorder(criterion, reward)
        measured = [*self._history(criterion), (len(fitting.view), share.value)]
        figures = {
            "accuracy": share.value if share.num else None, "low": share.low, "high": share.high,
            "value_of_ten": value_of_more(measured) if share.num else None,
            "seconds": time.monotonic() - start, "strategy": self.strategy.name,
            "reward": str(folder), "last_seq": last_seq, "revised": revised,
        }  # fmt: skip
        add_to_history(self.store.database, criterion, len(fitting.view), figures)
        return figures

    def _fitting(self, preferences: list[Preference]) -> "RewardFitting | None":
        """Return answers ready to be fitted to, or None if they decide too little."""
        from robopref.align.reward_fitting import RewardFitting

        settings = FitSettings(self.config.learner, self.config.seed)
        try:
            fitting = RewardFitting(settings, preferences, self.episodes.cut)
        except DataError:
            return None
        decided = int((fitting.view.prefers_b != 0.5).sum())
        return fitting if decided >= MIN_LABELS else None

    def reorder(self, criterion: str, reward: Any) -> int:
        """Put the open pairs in the order in which the strategy would ask them; return how many.

        What a strategy asks that is no pair keeps its order.
        """
        if self.strategy.num_items != 2:
            return 0
        found = self.queue.open_queries(criterion, MAX_RANKED)
        waiting: dict[frozenset[Segment], list[Query]] = defaultdict(list)
        for query in found:
            compared = frozenset(item for item in query.items if isinstance(item, Segment))
            is_pair = len(compared) == len(query.items) == 2
            if is_pair and query.strategy not in FIXED and self._is_here(query):
                waiting[compared].append(query)
        if not waiting:
            return 0
        segments = list({segment: None for pair in waiting for segment in sorted(pair, key=repr)})
        place = {segment: i for i, segment in enumerate(segments)}
        pairs = np.array([[place[s] for s in sorted(pair, key=repr)] for pair in waiting])
        rng = make_rng(self.config.seed, "reorder", len(found))
        pool = CandidatePool.build(segments, self._batch(segments), rng=rng, pairs=pairs)
        returns = pool.member_returns(reward) if self.strategy.needs_returns else None
        choice = self.strategy.choose(pool, returns, len(pool.pairs), rng)
        order = []
        for rank, ((a, b), why) in enumerate(zip(choice.items, choice.reasons, strict=True)):
            for query in waiting[frozenset((segments[a], segments[b]))]:
                order.append((query.id, 1 - rank / len(pool.pairs), why))
        self.queue.reorder(criterion, order)
        return len(order)

    def refill(self, criterion: str) -> int:
        """Make more queries if few are open; return how many were made."""
        if self.queue.num_open(criterion) >= self.config.min_open:
            return 0
        self.queue.fill()
        if self.queue.num_open(criterion) >= self.config.min_open:
            return 0
        asked = recent_queries(self.store.database, NUM_ASKED)
        rng = make_rng(self.config.seed, "refill", len(asked), asked[-1].id if asked else "")
        reward = self._reward(criterion)
        try:
            made = self._propose(reward, asked, rng)
        except DataError as error:
            log.info("No more queries: %s", error)
            return 0
        context = {"data": str(self.config.data)}
        num = self.store.add_queries(made, cut_hash=self.episodes.content_hash, context=context)
        self.queue.fill()
        if reward is not None:
            self.reorder(criterion, reward)
        return num

    def _propose(self, reward: Any, asked: list[Query], rng: np.random.Generator) -> list[Query]:
        config = self.config
        self.episodes.refresh()
        if reward is None:
            return draw_pairs(
                self.episodes, config.num_new, rng, segment_length=config.segment_length,
                asked=asked,
            )  # fmt: skip
        lengths = {row.episode_id: row.length for row in self.episodes.rows}
        if config.segment_length is None:
            chosen = rng.permutation(list(lengths))[: config.num_segments]
            segments = [Segment(str(i), 0, lengths[str(i)]) for i in chosen]
        else:
            length = min(config.segment_length, max(lengths.values()))
            segments = sample_segments(lengths, length, config.num_segments, rng)
        pool = CandidatePool.build(segments, self._batch(segments), rng=rng, asked=asked)
        num = min(config.num_new, len(pool.pairs))
        proposed: list[Query] = self.strategy.propose(pool, reward, max(num, 1), rng)
        return proposed

    def _batch(self, segments: list[Segment]) -> Any:
        return batch_segments([self.episodes.cut(segment) for segment in segments])

    def _reward(self, criterion: str) -> Any:
        """Return the reward that was fitted last, the one given at first, or None."""
        if criterion in self._rewards:
            return self._rewards[criterion]
        from robopref.align.actors import find_saved
        from robopref.rewards.serialization import load_reward

        last = self._last_figures(criterion).get("reward")
        for folder in (last, self.config.reward):
            if folder is not None and Path(folder).is_dir():
                saved = find_saved(Path(folder), "reward")
                try:
                    check_reward_fits(saved, self.episodes)
                except CheckpointError as error:
                    log.warning("%s", error)  # Of another data set before, say.
                    continue
                self._rewards[criterion] = load_reward(saved)
                return self._rewards[criterion]
        return None

    def _is_here(self, query: Query) -> bool:
        """Return whether a query's episodes are in this data set; others' are on other servers."""
        try:
            for item in query.items:
                self.episodes.row(item.episode_id)
        except DataError:
            return False
        return True

    def _answers(self, criterion: str) -> tuple[list[Preference], int, list[int]]:
        """Return the newest answers, believed as far as they deserve.

        With them come the last one's number, and what of those before was revised by then.
        """
        database = self.store.database
        answers, last = recent_answers(database, criterion, MAX_FITTED, ranked=True)
        revised = count_revisions(database, criterion, last)
        decisions = database.decisions(criterion)
        known = {**known_answers(database, criterion), **decisions}
        settled = settle(believe(answers, known), decisions)
        return [p for p in settled if self._can_be_cut(p)], last, revised

    def _can_be_cut(self, preference: Preference) -> bool:
        try:
            for item in preference.query.items:
                if isinstance(item, Segment):
                    self.episodes.cut(item)
        except DataError as error:
            log.warning("An answer is left out: %s", error)
            return False
        return True

    def _save(self, reward: Any, criterion: str, number: int) -> Path:
        place = self.config.project.names.index(criterion)
        folder = self.config.out / "rewards" / f"{place}-{number:08d}"
        reward.save_pretrained(folder)
        # The one before may still be drawn under a clip.
        for old in sorted(folder.parent.glob(f"{place}-*"))[:-NUM_KEPT]:
            shutil.rmtree(old, ignore_errors=True)
        return folder

    def _history(self, criterion: str) -> list[tuple[int, float]]:
        """Return labels and held-out accuracy of the rewards fitted so far."""
        found = read_history(self.store.database, criterion, NUM_HISTORY)
        return [(row["labels"], row["accuracy"]) for row in found if row["accuracy"] is not None]

    def _last_figures(self, criterion: str) -> dict[str, Any]:
        found = read_history(self.store.database, criterion, 1)
        return found[0] if found else {}

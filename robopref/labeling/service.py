"""A labelling project as the server sees it: queries as the page shows them, answers taken in."""

import contextlib
import logging
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from robopref.data.reader import Recent
from robopref.data.store import EpisodeStore
from robopref.labeling.answers import Answers, Stored
from robopref.labeling.assignment import Assigned, Assignment
from robopref.labeling.clip_service import ClipService
from robopref.labeling.compared import STRATEGY
from robopref.labeling.config import KINDS, LabelConfig
from robopref.labeling.counting import Counting
from robopref.labeling.judging import preference_of, rating_of
from robopref.labeling.kinds import find_query
from robopref.labeling.messages import AnswerIn, RatingIn
from robopref.labeling.presence import FAULT, AbsentError, Presence
from robopref.labeling.presenting import Presenter
from robopref.labeling.queue import LabelQueue
from robopref.labeling.refreshing import Refresher
from robopref.labeling.refusals import RefusedError, UnknownError
from robopref.labeling.worker import ClipError
from robopref.preferences.changes import changed_items, changed_ratings
from robopref.preferences.query import Query
from robopref.preferences.rating import RatingQuery
from robopref.preferences.store import PreferenceStore

MAX_BLOCKED_AT_ONCE = 20
"""Queries that are passed over within one request because they cannot be shown."""
RETRY_S = 3.0
"""When a page without a query asks again [s]."""

log = logging.getLogger(__name__)


class LabelService:
    """Everything behind the HTTP interface.

    Args:
        config: The project.
        store: Where answers go.
        episodes: What the queries are about; only this class uses it.
        clips: Shows them.
    """

    def __init__(
        self, config: LabelConfig, store: PreferenceStore, episodes: EpisodeStore,
        clips: ClipService,
    ) -> None:  # fmt: skip
        self.config = config
        self.store = store
        self.episodes = episodes
        self.refresher = Refresher(episodes)
        self.clips = clips
        self.queue = LabelQueue(store.database, config)
        self.presence = Presence(store.database, episodes, config.names)
        self.assignment = Assignment(store.database, config, but=self.presence.passed_over)
        self.answers = Answers(store.database, self.assignment)
        self.criteria = {criterion.name: criterion for criterion in config.criteria}
        self.presenter = Presenter(clips, self.criteria)
        self._queries: Recent[Query | RatingQuery] = Recent(20_000)
        self._unchanged: Recent[int] = Recent(20_000)
        self.lock = threading.Lock()
        self.counting = Counting(store.database)

    def next(self, annotator: str, criterion: str | None, kinds: Sequence[str]) -> dict[str, Any]:
        """Return the next query for an annotator as the page shows it, or why there is none."""
        criteria = [] if criterion is None else [self.check_criterion(criterion)]
        for _ in range(MAX_BLOCKED_AT_ONCE):
            assigned = self.assignment.next(annotator, criteria, kinds or KINDS)
            if assigned is None and (self.queue.fill() or self._data_changed()):
                continue
            if assigned is None:
                reason = self.assignment.why_nothing(annotator, criteria)
                return {"query": None, "reason": reason, "retry_s": RETRY_S}
            try:
                return self.present(assigned, annotator, kinds or KINDS)
            except AbsentError:
                continue  # It is passed over from now on.
            except ClipError as error:
                if error.passing:
                    return {"query": None, "reason": str(error), "retry_s": RETRY_S}
                self.queue.block(assigned.entry.query_id, str(error))
            except (ValueError, LookupError, TypeError):
                # A fault of the server, or it would be one of the above. The query is this
                # annotator's: without this they would be handed it again and again.
                log.exception("Query '%s' is passed over.", assigned.entry.query_id)
                self.presence.passed_over[assigned.entry.query_id] = FAULT
        return {"query": None, "reason": "many queries cannot be shown", "retry_s": 0.1}

    def present(
        self, assigned: Assigned, annotator: str, kinds: Sequence[str] = KINDS
    ) -> dict[str, Any]:
        """Return a query as the page shows it, with those ahead; their clips are asked for.

        Raises:
            ClipError: It cannot be shown.
        """
        entry, query = assigned.entry, assigned.query
        self._check_unchanged(query)
        shown = self.presenter.describe(query, entry.criterion)
        ahead = [
            self.presenter.look_ahead(self.query(query_id))
            for query_id in self.assignment.ahead(annotator, entry.criterion, kinds)
        ]
        return {
            "query": {
                **shown,
                "why": entry.why,
                "role": "attention" if entry.role == "attention" else "ask",
                "order": list(assigned.lease.shown),
                "lease": {"id": assigned.lease.id, "expires_s": assigned.lease.expires_s},
                "answered_by_others": entry.num_answers,
                "compares_policies": query.strategy == STRATEGY,
            },
            "ahead": [each for each in ahead if each is not None],
            "progress": self.counting.count(annotator, entry.criterion),
        }

    def take_answer(self, annotator: str, body: AnswerIn) -> Stored:
        """Keep an answer.

        Raises:
            UnknownError: There is no such query.
            RefusedError: The order does not fit it.
            ConflictError: It comes too late.
        """
        query = self.query(body.query)
        if not isinstance(query, Query):
            raise RefusedError(f"Query '{body.query}' is rated, not ordered: use /api/ratings.")
        criterion = self.check_criterion(body.criterion)
        stored = self.answers.answer(preference_of(query, criterion, annotator, body))
        self.counting.answered(annotator, stored)
        return stored

    def take_rating(self, annotator: str, body: RatingIn) -> Stored:
        """Keep a rating; raises as `take_answer` does."""
        query = self.query(body.query)
        if not isinstance(query, RatingQuery):
            raise RefusedError(f"Query '{body.query}' is ordered, not rated: use /api/answers.")
        criterion = self.criteria[self.check_criterion(body.criterion)]
        stored = self.answers.rate(rating_of(query, criterion, annotator, body))
        self.counting.answered(annotator, stored)
        return stored

    def undo(self, annotator: str, answer_id: uuid.UUID) -> dict[str, Any]:
        """Take an answer back; return its query as `next` does."""
        assigned = self.answers.undo(str(answer_id), annotator)
        self.counting.outdate(annotator, assigned.entry.criterion)
        return self.present(assigned, annotator)

    def query(self, query_id: str) -> Query | RatingQuery:
        """Return a query of either kind.

        Raises:
            UnknownError: There is none of this id.
        """
        with self.lock:
            known = self._queries.get(query_id)
        if known is not None:
            return known
        with self.store.database.reading() as connection:
            query = find_query(connection, query_id)
        if query is None:
            raise UnknownError(f"There is no query '{query_id}'.")
        with self.lock:
            return self._queries.fetch(query_id, lambda: query)

    @property
    def trouble(self) -> str | None:
        """What keeps clips from being drawn, or queries from being asked here; None if nothing."""
        return self.clips.trouble or self.presence.words()

    def block(self, query_id: str, reason: str) -> None:
        """Ask a query of nobody that cannot be shown; one whose episodes are elsewhere not here."""
        query = self.query(query_id)
        try:
            with self.lock:
                self.presence.check(query)
        except AbsentError:
            return
        self.queue.block(query_id, reason)

    def show_reward(self, folder: Path) -> None:
        """Draw a reward under the clips for who asks for it."""
        self.clips.reward = folder

    def check_criterion(self, criterion: str) -> str:
        """Return a criterion if the project has it.

        Raises:
            UnknownError: It has not.
        """
        if criterion not in self.criteria:
            raise UnknownError(
                f"Nothing is judged by '{criterion}' here. Criteria: {sorted(self.criteria)}."
            )
        return criterion

    def _check_unchanged(self, query: Query | RatingQuery) -> None:
        """Check that the clips are what they were when the query was made.

        Raises:
            ClipError: One is not.
        """
        with self.lock:
            self.refresher.refresh()
            self.presence.check(query)
            if self._unchanged.get(query.id) == self.episodes.revision:
                return
            find = changed_items if isinstance(query, Query) else changed_ratings
            changed = find(self.store.database, self.episodes.content_hash, [query.id])
            if not changed:
                self._unchanged.put(query.id, self.episodes.revision)
        if changed:
            problem = changed[0].problem.rstrip(".")
            raise ClipError(f"Item of episode {changed[0].item.episode_id}: {problem}.")

    def _data_changed(self) -> bool:
        """Return whether what was passed over may be here now."""
        if not self.presence.passed_over:
            return False
        with self.lock, contextlib.suppress(ClipError):  # It cannot be read: so it is not here.
            self.refresher.refresh()
            return self.presence.forget()
        return False

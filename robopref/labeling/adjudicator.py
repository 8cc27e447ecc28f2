"""What the page *Adjudicate* shows, and what is decided there: of several items, or of one clip."""

import time
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from robopref.labeling.adjudication import MAX_LISTED, decide, decide_rating, find_disagreements
from robopref.labeling.eligible import find_entry
from robopref.labeling.judging import check_verdict
from robopref.labeling.messages import AdjudicationIn, RatingDecisionIn
from robopref.labeling.queue import GOLD
from robopref.labeling.rated import find_contradictions
from robopref.labeling.refusals import RefusedError, UnknownError, refusing
from robopref.labeling.service import LabelService
from robopref.labeling.worker import ClipError
from robopref.preferences import tables
from robopref.preferences.database import find
from robopref.preferences.query import Query
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.rating import Rating, RatingQuery, Verdict
from robopref.preferences.records import Row

Plain = dict[str, Any]


class Adjudicator:
    """Shows where annotators differ, and keeps what is decided.

    Args:
        service: The project.
    """

    def __init__(self, service: LabelService) -> None:
        self.service = service
        self.database = service.store.database

    def disagreements(self, criterion: str) -> list[Plain]:
        """Return the queries that were answered differently, as the page shows them."""
        return self._shown(find_disagreements(self.database, criterion).items(), criterion)

    def rating_disagreements(self, criterion: str) -> list[Plain]:
        """Return the clips that were rated differently, as the page shows them."""
        found = find_contradictions(self.database, criterion, MAX_LISTED)
        return self._shown([(row["query_id"], row["ratings"]) for row in found], criterion)

    def adjudicate(self, annotator: str, body: AdjudicationIn) -> bool:
        """Keep a decision; return whether it is new.

        Raises:
            UnknownError: There is no such query.
            ConflictError: It is decided already, or there is nothing to decide.
        """
        query = self.service.query(body.query)
        if not isinstance(query, Query):
            raise RefusedError(
                f"Query '{body.query}' is rated, not ordered: use /api/adjudication/ratings."
            )
        order = tuple(tuple(group) for group in body.order)
        with refusing():
            ranking = Ranking(len(query.items), order, Answer(body.answer))
        row = {
            "id": str(body.id), "query_id": query.id,
            "criterion": self.service.check_criterion(body.criterion),
            "answer": body.answer, "order": [list(group) for group in ranking.order],
            "annotator": annotator, "reason": body.note, "time_s": time.time(),
        }  # fmt: skip
        with self.database.writing() as connection:
            new = decide(self.database, connection, row)
            if new and body.gold:
                before = find_entry(connection, query.id, body.criterion)
                # By this, taking the decision back knows what it did.
                known = {"answer": row["answer"], "order": row["order"], "decision": row["id"],
                         "before": before.expected if before.role == GOLD else None}  # fmt: skip
                self.service.queue.set_gold(connection, query.id, body.criterion, known)
        return new

    def adjudicate_rating(self, annotator: str, body: RatingDecisionIn) -> bool:
        """Keep a decision about one clip; raises as `adjudicate` does."""
        query = self.service.query(body.query)
        if not isinstance(query, RatingQuery):
            raise RefusedError(
                f"Query '{body.query}' is ordered, not rated: use /api/adjudication."
            )
        criterion = self.service.criteria[self.service.check_criterion(body.criterion)]
        with refusing():
            check_verdict(criterion, body.rating, but=(Verdict.SKIPPED,))
            # What cannot be said of a clip cannot be decided of it either.
            Rating(str(body.id), query, Verdict(body.rating), body.mark_step)
        row = {
            "id": str(body.id), "query_id": query.id, "criterion": criterion.name,
            "rating": body.rating, "mark_step": body.mark_step, "annotator": annotator,
            "reason": body.note, "time_s": time.time(),
        }  # fmt: skip
        with self.database.writing() as connection:
            return decide_rating(self.database, connection, row)

    def undo_decision(self, annotator: str, decision_id: str) -> None:
        """Take one's own decision back; what is known of its query is what was known before.

        Raises:
            UnknownError: There is no such decision of theirs.
        """
        with self.database.writing() as connection:
            for table in (tables.adjudications, tables.rating_adjudications):
                row = find(connection, table, decision_id)
                if row is not None and row["annotator"] == annotator:
                    break
            else:
                raise UnknownError(f"'{annotator}' has made no decision '{decision_id}'.")
            if table is tables.adjudications:
                self._forget_known(connection, row)
            connection.execute(table.delete().where(table.c.id == decision_id))

    def _forget_known(self, connection: sa.Connection, decision: Row) -> None:
        """Make a query what it was before a decision made its answer known, if that did."""
        entry = find_entry(connection, decision["query_id"], decision["criterion"])
        known = entry.expected or {}
        if entry.role != GOLD or known.get("decision") != decision["id"]:
            return
        queue = self.service.queue
        if known["before"] is None:
            queue.unset_gold(connection, entry)
        else:
            queue.set_gold(connection, entry.query_id, entry.criterion, known["before"])

    def _shown(self, given: Iterable[tuple[str, list[Plain]]], criterion: str) -> list[Plain]:
        found: list[Plain] = []
        for query_id, answers in given:
            query = self.service.query(query_id)
            try:
                # The others are asked for when their turn comes: annotators wait for theirs.
                shown = self.service.presenter.describe(query, criterion, prefetch=not found)
            except ClipError:
                continue  # It can be decided by nobody who cannot see it.
            found.append({"query": shown, "answers": answers})
        return found

"""What is done around the labelling: decisions, comparisons, files in and out."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import DataError
from robopref.labeling.adjudication import decide, find_disagreements
from robopref.labeling.compared import ComparedQueries
from robopref.labeling.comparison import compare, make_comparisons, policy_of
from robopref.labeling.eligible import find_entry
from robopref.labeling.exporting import Exporter
from robopref.labeling.messages import AdjudicationIn
from robopref.labeling.progress import Progress
from robopref.labeling.queue import GOLD
from robopref.labeling.refusals import UnknownError
from robopref.labeling.service import LabelService
from robopref.labeling.worker import ClipError
from robopref.preferences import tables
from robopref.preferences.database import find
from robopref.preferences.query import Query
from robopref.preferences.ranking import Answer, Ranking

Plain = dict[str, Any]


class Management:
    """What is done around the labelling of a project.

    Args:
        service: The project.
    """

    def __init__(self, service: LabelService) -> None:
        self.service = service
        self.store = service.store
        self.progress = Progress(service.store, service.queue)
        self.exporter = Exporter(service.store.database.location, service.episodes.root)
        self._compared = ComparedQueries(service.store.database)

    def close(self) -> None:
        """Give up files that are being written, let what is measured come to its end."""
        self.exporter.close()
        self.progress.close()

    def disagreements(self, criterion: str) -> list[Plain]:
        """Return the queries that were answered differently, as the page shows them."""
        found: list[Plain] = []
        for query_id, answers in find_disagreements(self.store.database, criterion).items():
            query = self.service.query(query_id)
            try:
                # The others are asked for when their turn comes: annotators wait for theirs.
                shown = self.service.presenter.describe(query, criterion, prefetch=not found)
            except ClipError:
                continue  # It can be decided by nobody who cannot see it.
            found.append({"query": shown, "answers": answers})
        return found

    def adjudicate(self, annotator: str, body: AdjudicationIn) -> bool:
        """Keep a decision; return whether it is new.

        Raises:
            UnknownError: There is no such query.
            ConflictError: It is decided already, or there is nothing to decide.
        """
        query = self.service.query(body.query)
        if not isinstance(query, Query):
            raise ValueError(f"Query '{body.query}' is rated, not ordered.")
        order = tuple(tuple(group) for group in body.order)
        ranking = Ranking(len(query.items), order, Answer(body.answer))
        row = {
            "id": str(body.id), "query_id": query.id,
            "criterion": self.service.check_criterion(body.criterion),
            "answer": body.answer, "order": [list(group) for group in ranking.order],
            "annotator": annotator, "reason": body.note, "time_s": time.time(),
        }  # fmt: skip
        new = decide(self.store.database, row)
        if new and body.gold:
            with self.store.database.writing() as connection:
                self.service.queue.set_gold(connection, query.id, body.criterion, _known(row))
        return new

    def undo_decision(self, annotator: str, decision_id: str) -> None:
        """Take one's own decision back; its query is no longer one whose answer is known by it.

        Raises:
            UnknownError: There is no such decision of theirs.
        """
        with self.store.database.writing() as connection:
            row = find(connection, tables.adjudications, decision_id)
            if row is None or row["annotator"] != annotator:
                raise UnknownError(f"'{annotator}' has made no decision '{decision_id}'.")
            entry = find_entry(connection, row["query_id"], row["criterion"])
            if entry.role == GOLD and entry.expected == _known(row):
                self.service.queue.unset_gold(connection, entry)
            table = tables.adjudications
            connection.execute(table.delete().where(table.c.id == decision_id))

    def unblock(self, query_id: str) -> bool:
        """Ask a query again that could not be shown; return whether that was so.

        Raises:
            UnknownError: There is no such query.
        """
        self.service.clips.forget_faults(self.service.query(query_id))
        was_blocked = self.service.queue.unblock(query_id)
        self.progress.outdate()
        return was_blocked

    def add_comparisons(self, num: int, policies: list[str]) -> list[str]:
        """Ask for comparisons of policies; return the ids of their queries.

        Raises:
            DataError: There is nothing to compare.
        """
        asked = self._compared.episodes().values()
        rng = np.random.default_rng()
        with self.service.lock:
            self.service.refresher.refresh()
            made = make_comparisons(self.service.episodes, num, rng, policies=policies, asked=asked)
            self.store.add_queries(made, cut_hash=self.service.episodes.content_hash)
        self.service.queue.fill()
        return [query.id for query in made]

    def comparison(self, *, reveal: bool) -> Plain:
        """Return how policies compare, and how many comparisons wait."""
        with self.service.lock:
            self.service.refresher.refresh()
            policies = {row.episode_id: policy_of(row) for row in self.service.episodes.rows}
        return {
            "criteria": compare(self._compared.judged(), policies, reveal=reveal),
            "waiting": self._compared.num_waiting(),
        }

    def import_jsonl(self, path: Path) -> int:
        """Add what `export` wrote as jsonl; return how many answers were new.

        Raises:
            ValueError: It is not such a file, or contradicts what the store holds.
        """
        try:
            new = self.store.import_jsonl(path)
        except DataError as error:
            raise ValueError(str(error).replace(f" of '{path}'", "")) from error
        self.service.queue.fill()
        return new


def _known(decision: Mapping[str, Any]) -> Plain:
    return {"answer": decision["answer"], "order": decision["order"]}

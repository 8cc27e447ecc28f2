"""What is done around the labelling: comparisons, files in and out."""

import logging
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from robopref.errors import DataError
from robopref.labeling.adjudicator import Adjudicator
from robopref.labeling.compared import ComparedQueries
from robopref.labeling.comparison import NOTHING_LEFT, compare, make_comparisons, policy_of
from robopref.labeling.exporting import Exporter
from robopref.labeling.last_known import AT_MOST_OFTEN
from robopref.labeling.messages import ComparisonIn
from robopref.labeling.progress import Progress
from robopref.labeling.refusals import RefusedError, UnknownError
from robopref.labeling.service import LabelService
from robopref.preferences.schema import StorageError

Plain = dict[str, Any]

NOTICED_S = 0.05
"""What takes longer is not done again for everybody who looks [s]."""
OLD_S = 2.0
"""So old at most is what they get [s]."""

log = logging.getLogger(__name__)


class Management:
    """What is done around the labelling of a project.

    Args:
        service: The project.
    """

    def __init__(self, service: LabelService) -> None:
        self.service = service
        self.store = service.store
        self.adjudicator = Adjudicator(service)
        self.progress = Progress(service.store, service.queue)
        self.exporter = Exporter(service.store.database.location, service.episodes.root)
        self._compared = ComparedQueries(service.store.database)
        self._comparing = threading.Lock()
        self._comparisons: dict[bool, tuple[float, Plain]] = {}

    def close(self) -> None:
        """Give up files that are being written, let what is measured come to its end."""
        self.exporter.close()
        self.progress.close()

    def unblock(self, query_id: str) -> bool:
        """Ask a query again that could not be shown; return whether that was so.

        Raises:
            UnknownError: There is no such query.
        """
        self.service.clips.forget_faults(self.service.query(query_id))
        was_blocked = self.service.queue.unblock(query_id)
        self.progress.outdate()
        return was_blocked

    def add_comparisons(self, body: ComparisonIn) -> list[str]:
        """Ask for comparisons of policies; return the ids of their queries.

        Raises:
            UnknownError: There is nothing to compare.
        """
        service, rng, context = self.service, np.random.default_rng(), {}
        asked = self._compared.episodes().values()
        with service.lock:
            if body.id is not None:
                if made_before := self._compared.made_by(str(body.id)):
                    return made_before
                context = {"request": str(body.id)}
            service.refresher.refresh()
            try:
                made = make_comparisons(
                    service.episodes, body.num, rng, policies=body.policies, asked=asked
                )
            except DataError as error:
                log.warning("%s", error)
                raise UnknownError(NOTHING_LEFT) from error
            self.store.add_queries(made, cut_hash=service.episodes.content_hash, context=context)
        service.queue.fill()
        with self._comparing:
            self._comparisons.clear()
        return [query.id for query in made]

    def comparison(self, *, reveal: bool) -> Plain:
        """Return how policies compare, and how many comparisons wait.

        Where that takes long, several who look get the same, which may be a little old.
        """
        with self._comparing:
            until, known = self._comparisons.get(reveal, (0.0, {}))
            start = time.monotonic()
            if start >= until:
                known = self._compare(reveal=reveal)
                now = time.monotonic()
                spent = now - start
                old = min(AT_MOST_OFTEN * spent, OLD_S) if spent > NOTICED_S else 0.0
                until = now + old
                self._comparisons[reveal] = (until, known)
            return known

    def _compare(self, *, reveal: bool) -> Plain:
        with self.service.lock:
            self.service.refresher.refresh()
            rows = self.service.episodes.rows
        return {
            "criteria": compare(
                self._compared.judged(), {row.episode_id: policy_of(row) for row in rows},
                reveal=reveal,
            ),
            "waiting": self._compared.num_waiting(),
        }  # fmt: skip

    def import_jsonl(self, path: Path) -> int:
        """Add what `export` wrote as jsonl; return how many answers were new.

        Raises:
            RefusedError: It is not such a file, or contradicts what the store holds.
        """
        try:
            new = self.store.import_jsonl(path)
        except StorageError:
            raise
        except DataError as error:
            words = str(error).replace(f" of '{path}'", "").replace(f"'{path}'", "The file")
            raise RefusedError(words.replace(self.store.database.name, "the store")) from error
        self.service.queue.fill()
        return new

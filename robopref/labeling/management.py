"""What is done around the labelling: comparisons, files in and out."""

import logging
from pathlib import Path

import numpy as np

from robopref.errors import DataError
from robopref.labeling.adjudicator import Adjudicator
from robopref.labeling.compared import ComparedQueries
from robopref.labeling.comparison import NOTHING_LEFT, make_comparisons
from robopref.labeling.exporting import Exporter
from robopref.labeling.figures import Figures
from robopref.labeling.messages import ComparisonIn
from robopref.labeling.refusals import RefusedError, UnknownError
from robopref.labeling.service import LabelService
from robopref.preferences.schema import StorageError

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
        self.figures = Figures(service)
        self.exporter = Exporter(service.store.database.location, Path(service.episodes.location))
        self._compared = ComparedQueries(service.store.database)

    def close(self) -> None:
        """Give up files that are being written, and what is measured by child processes."""
        self.exporter.close()
        self.figures.close()

    def unblock(self, query_id: str) -> bool:
        """Ask a query again that could not be shown; return whether that was so.

        Raises:
            UnknownError: There is no such query.
        """
        self.service.clips.forget_faults(self.service.query(query_id))
        was_blocked = self.service.queue.unblock(query_id)
        self.figures.outdate()
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
        self.figures.outdate()
        return [query.id for query in made]

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

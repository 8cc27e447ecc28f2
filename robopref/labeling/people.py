"""People who answer the queries of a run in a browser, by a labelling server of the run's own."""

import contextlib
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from robopref.errors import DataError
from robopref.labeling.config import Criterion
from robopref.preferences import tables
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.records import preference_of
from robopref.preferences.store import PreferenceStore

LOOK_S = 0.5
"""Time between two looks for an answer [s]."""
NOBODY = "nobody"
"""Annotator under whose name a query is passed on that nobody can be shown."""


@dataclass(frozen=True)
class PeopleConfig:
    """What people are asked about, and where their answers go."""

    data: Path
    """Data set that the queries are about."""
    db: Path
    """Preference store of the run."""
    out: Path
    """Folder for the clips."""
    criterion: Criterion
    """By what is judged."""
    annotator: str | None = None
    """Whose answers are waited for; None for anybody's."""
    port: int = 0
    """Port of the server; 0 for any that is free."""


class People:
    """Serves the queries of a run, and waits for their answers.

    Args:
        config: What and where.
        announce: Told the address.
    """

    def __init__(self, config: PeopleConfig, announce: Callable[[str], None]) -> None:
        self.config = config
        self.url: str | None = None
        self._announce = announce
        self._server: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End the server; every answer is on disk."""
        if self._server is not None:
            self._server.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._server.wait(10)
            self._server.kill()
            self._server.wait()
            if self._server.stdout is not None:
                self._server.stdout.close()
            self._server = None

    def wait(self, query: Query) -> Preference:
        """Return the first answer to a query that stands, once there is one.

        A query whose clips cannot be shown is passed on: a skip, with the reason, is returned.

        Raises:
            DataError: The server cannot be started.
        """
        with PreferenceStore(self.config.db, create=False) as store:
            while True:
                found = self._answer(store, query) or self._passed_on(store, query)
                if found is not None:
                    return found
                self._serve()
                time.sleep(LOOK_S)

    def _answer(self, store: PreferenceStore, query: Query) -> Preference | None:
        table = tables.preferences
        where: list[Any] = [
            table.c.query_id == query.id, table.c.criterion == self.config.criterion.name,
            ~table.c.undone,
        ]  # fmt: skip
        if self.config.annotator is not None:
            where.append(table.c.annotator == self.config.annotator)
        statement = sa.select(table).where(*where).order_by(table.c.seq).limit(1)
        with store.database.reading() as connection:
            row = connection.execute(statement).mappings().first()
        return None if row is None else preference_of(dict(row), query)

    def _passed_on(self, store: PreferenceStore, query: Query) -> Preference | None:
        queue = tables.label_queue
        statement = sa.select(queue.c.blocked).where(
            queue.c.query_id == query.id, queue.c.criterion == self.config.criterion.name,
            queue.c.blocked != "",
        )  # fmt: skip
        with store.database.reading() as connection:
            reason = connection.scalar(statement)
        if reason is None:
            return None
        self._announce(f"A query cannot be shown and is passed on: {reason}")
        return Preference(
            str(uuid.uuid5(uuid.NAMESPACE_OID, query.id)), query, Ranking.skipped(),
            annotator=NOBODY, criterion=self.config.criterion.name, reason=reason,
            time_s=time.time(),
        )  # fmt: skip

    def _serve(self) -> None:
        """Start the server, again if it has ended."""
        if self._server is not None and self._server.poll() is None:
            return
        self.close()
        config = self.config
        command = [
            sys.executable, "-m", "robopref.cli", "label", "--data", str(config.data),
            "--db", str(config.db), "--out", str(config.out), "--port", str(config.port),
            "--criterion", f"{config.criterion.name}={config.criterion.question}",
            # The run chooses what is asked, and fits its reward itself.
            "--learner", "none", "--first-queries", "0", "--no-browser",
        ]  # fmt: skip
        self._server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._server.stdout is not None
        line = self._server.stdout.readline().strip()
        if not line:
            raise DataError(
                f"The labelling server of '{config.db}' could not be started; what is printed "
                "above says why."
            )
        self.url = line.rpartition(" ")[2].partition("?")[0]
        self._announce(f"Waiting for answers. {line}")

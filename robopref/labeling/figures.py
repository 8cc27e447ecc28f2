"""How far a project is, and how its policies compare: measured when somebody looks, not too often.

Of many answers that takes seconds of a core, and a thread of the server would take turns with those
that serve annotators and make each of them wait: so child processes do it, at a lower priority. Of
few it takes less than to start one.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from robopref.data.rows import EpisodeRow
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.compared import ComparedQueries
from robopref.labeling.comparison import compare, policy_of
from robopref.labeling.config import LabelConfig
from robopref.labeling.last_known import AT_MOST_OFTEN, LastKnown
from robopref.labeling.progress import Progress
from robopref.labeling.queue import LabelQueue
from robopref.labeling.recent import newest_query
from robopref.labeling.refreshing import Refresher
from robopref.labeling.service import LabelService
from robopref.labeling.worker import ClipError, Workers
from robopref.preferences.store import PreferenceStore

MANY = 20_000
"""Queries from which on child processes measure."""
NOTICED_S = 0.05
"""What takes longer is not done again for everybody who looks [s]."""
OLD_S = 2.0
"""So old at most is a comparison that they get [s]."""
TIMEOUT_S = 3600.0
"""A child that measures for longer [s] is taken to hang."""

Plain = dict[str, Any]
Job = Literal["progress", "comparison", "comparison by name"]

NOT_YET: Plain = {
    "computed_s": None, "criteria": [], "ratings": [], "contradictions": [], "blocked": [],
    "skipped": [],
}  # fmt: skip


class Measurer:
    """Measures what is asked for.

    Args:
        store: The answers.
        queue: Of the project.
        policies: Returns which policy acted in each episode, by id.
    """

    def __init__(
        self, store: PreferenceStore, queue: LabelQueue, policies: Callable[[], Mapping[str, str]]
    ) -> None:
        self._progress = Progress(store, queue)
        self._compared = ComparedQueries(store.database)
        self._policies = policies

    def __call__(self, job: Job) -> Plain:
        """Return the figures."""
        if job == "progress":
            return self._progress.measure()
        reveal = job == "comparison by name"
        return {
            "criteria": compare(self._compared.judged(), self._policies(), reveal=reveal),
            "waiting": self._compared.num_waiting(),
        }


@dataclass(frozen=True)
class Project:
    """What a child process needs to measure a project.

    Args:
        location: Of the preference store.
        data: The data set.
        config: What is asked.
    """

    location: str | Path
    data: Path
    config: LabelConfig


class ProjectMeasurer:
    """Measures in a child process, which opens what it reads at the first job."""

    def __init__(self, project: Project) -> None:
        self._project = project

    def __call__(self, job: Job) -> Plain:
        """Return the figures."""
        return self._measurer(job)

    @cached_property
    def _measurer(self) -> Measurer:
        project = self._project
        store = PreferenceStore(project.location, create=False)
        refresher = Refresher(EpisodeStore.open(project.data, cache_size=1))

        def policies() -> dict[str, str]:
            refresher.refresh()
            return _policies(refresher.episodes.rows)

        return Measurer(store, LabelQueue(store.database, project.config), policies)


class Figures:
    """Figures of a project for whoever looks.

    Args:
        service: The project.
    """

    def __init__(self, service: LabelService) -> None:
        self._service = service
        self._here = Measurer(service.store, service.queue, self._policies)
        project = Project(
            service.store.database.location, Path(service.episodes.location), service.config
        )
        # Two, so that a comparison does not wait until all answers are counted.
        self._children = Workers(
            ProjectMeasurer, project, num_processes=2, what="measuring progress",
            timeout_s=TIMEOUT_S,
        )  # fmt: skip
        self._progress = LastKnown(lambda: self._measure("progress"))
        self._comparing = threading.Lock()
        self._comparisons: dict[Job, tuple[float, Plain]] = {}

    def progress(self) -> Plain:
        """Return how far the project was when that was measured last.

        See the description of the interface. Lists are empty and `computed_s` is None until it was
        measured once; nobody waits for that.
        """
        known, is_measuring = self._progress.look()
        return {**(known or NOT_YET), "is_measuring": is_measuring}

    def comparison(self, *, reveal: bool) -> Plain:
        """Return how policies compare, and how many comparisons wait.

        Where that takes long, several who look get the same, which may be a little old.
        """
        job: Job = "comparison by name" if reveal else "comparison"
        with self._comparing:
            until, known = self._comparisons.get(job, (0.0, {}))
            start = time.monotonic()
            if start >= until:
                known = self._measure(job)
                now = time.monotonic()
                spent = now - start
                until = now + (min(AT_MOST_OFTEN * spent, OLD_S) if spent > NOTICED_S else 0.0)
                self._comparisons[job] = (until, known)
            return known

    def outdate(self) -> None:
        """Have the next look measure: somebody changed what they look at."""
        self._progress.outdate()
        with self._comparing:
            self._comparisons.clear()

    def close(self) -> None:
        """End the child processes; let what is measured here come to its end."""
        self._children.close()
        self._progress.close()

    def _measure(self, job: Job) -> Plain:
        if newest_query(self._service.store.database) < MANY:
            return self._here(job)
        try:
            figures: Plain = self._children.submit(job, job, urgent=True).result()
        except ClipError as error:
            raise DataError(str(error)) from error
        return figures

    def _policies(self) -> dict[str, str]:
        with self._service.lock:
            self._service.refresher.refresh()
            rows = self._service.episodes.rows
        return _policies(rows)


def _policies(rows: Iterable[EpisodeRow]) -> dict[str, str]:
    """Return which policy acted in each episode, by id."""
    return {row.episode_id: policy_of(row) for row in rows}

"""Clips, lanes and clouds of queries, for the server: asked for ahead, made by child processes.

What is asked about a query that was seen before is looked up. The clips themselves are files whose
names follow from their content.
"""

import contextlib
import threading
import time
from collections.abc import Hashable, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import replace
from pathlib import Path
from typing import Any

from robopref.data.reader import Recent
from robopref.data.schema import SIM_STATE, camera_keys
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.labeling.clip_cache import ClipCache
from robopref.labeling.clip_jobs import (
    CameraJob,
    ChildSettings,
    ClipConfig,
    ClipJob,
    CloudJob,
    LanesJob,
    Measurer,
    Renderer,
    WarmJob,
)
from robopref.labeling.clip_plan import ItemView, Plan, Source, make_plan
from robopref.labeling.clips import ClipQuery
from robopref.labeling.clouds import Cloud
from robopref.labeling.encoding import find_codec
from robopref.labeling.lanes import Lane
from robopref.labeling.refreshing import Refresher
from robopref.labeling.worker import ClipError, Dropped, Workers
from robopref.preferences.query import ActionCandidate
from robopref.types import IMAGES

WAIT_S = 60.0
"""How long a child may take to start and answer [s]."""
RETRY_S = 30.0
"""Time after which what failed is tried again when it is asked for [s]."""
RETRY_PASSING_S = 5.0
"""The same where the query is not to blame [s]."""
_NUM_PLANS = 20_000
_NUM_RESULTS = 1_000
_WARM_ENVS = 4


class ClipService:
    """Shows queries about one data set; safe to use from several threads.

    Args:
        config: How clips are drawn and kept.
        data: The data set, or its folder.
        directory: Folder of the clips; several servers may share it.

    Attributes:
        reward: Run, or folder of a reward, that gets a lane; may be set, and written anew, at any
            time.

    Raises:
        FileNotFoundError: There is no such data set.
        DataError: It is damaged, or there is no codec to write clips with.
    """

    def __init__(self, config: ClipConfig, data: Path | EpisodeStore, directory: Path) -> None:
        self.codec = find_codec(config.codec)
        self.config = replace(config, codec=self.codec.name)
        self.reward: Path | None = None
        root = Path(data.location) if isinstance(data, EpisodeStore) else data
        # Its own, since a store is for one thread at a time.
        self._episodes = EpisodeStore.open(root, cache_size=1)
        self._refresher = Refresher(self._episodes)
        self._cache = ClipCache(directory, int(config.cache_gib * 2**30))
        settings = ChildSettings(root, directory, self.config)
        self._renderers = Workers(
            Renderer, settings, num_processes=config.num_processes, what="drawing clips"
        )
        self._measurers = Workers(Measurer, settings, what="measuring clips")
        self._lock = threading.RLock()
        self._plans: Recent[Plan] = Recent(_NUM_PLANS)
        self._results: Recent[Any] = Recent(_NUM_RESULTS)
        self._faults: Recent[tuple[float, ClipError]] = Recent(_NUM_PLANS)
        self._trouble: ClipError | None = None

    def start(self) -> None:
        """Start the processes that draw, which build their simulators at once."""
        if SIM_STATE in self._episodes.features:
            for env in list(dict.fromkeys(row.env for row in self._episodes.rows))[:_WARM_ENVS]:
                self._renderers.submit(CameraJob(env), CameraJob(env), urgent=True)
                self._renderers.submit(WarmJob(env), WarmJob(env))

    def check_cameras(self) -> None:
        """Check that every environment has one of the cameras that are wanted, if any are.

        Raises:
            DataError: One has none of them; every query about it would wait for ever.
        """
        features = self._episodes.features
        if not self.config.cameras:
            return
        for env in dict.fromkeys(row.env for row in self._episodes.rows):
            known = [key.removeprefix(IMAGES) for key in camera_keys(features)]
            if SIM_STATE in features:
                known += [name for name in self._cameras(env) if name not in known]
            if set(known).isdisjoint(self.config.cameras):
                raise DataError(
                    f"`cameras` must name some of {known}, got {list(self.config.cameras)}."
                )

    def close(self) -> None:
        """End the child processes."""
        self._renderers.close()
        self._measurers.close()

    @property
    def child_pids(self) -> list[int]:
        """Process ids of the children that live now."""
        return self._renderers.pids + self._measurers.pids

    @property
    def trouble(self) -> str | None:
        """What keeps clips from being drawn at all, such as a full disk; None if nothing does."""
        trouble = self._trouble
        return None if trouble is None else str(trouble)

    def describe(self, query: ClipQuery) -> list[ItemView]:
        """Return how the items of a query are shown; draws nothing.

        The first query of an environment waits until a child has built that.

        Raises:
            ClipError: An item cannot be shown. Unless the error is `passing`, it never can.
        """
        return list(self._plan(query).views)

    def request(
        self, query: ClipQuery, item: int, camera: str, *, urgent: bool = False
    ) -> "Future[None]":
        """Have a clip drawn unless it is there; the future is done when it is, or has failed.

        Raises:
            ClipError: There is no such item or camera, or the query cannot be shown.
        """
        job = self._plan(query).job(item, camera)
        with self._lock:
            fault = self._fault(job.name)
            if fault is not None or self._cache.find(job.name) is not None:
                return _done(fault)
            is_new = not self._renderers.has(job.name)
            future = self._renderers.submit(job.name, job, urgent=urgent)
        if is_new:
            future.add_done_callback(lambda done: self._note(job, done.exception()))
        return future

    def forget_faults(self, query: ClipQuery) -> None:
        """Try what failed for a query again as soon as it is asked for."""
        with contextlib.suppress(ClipError):
            plan = self._plan(query)
            with self._lock:
                for view in plan.views:
                    for camera in view.cameras:
                        self._faults.pop(plan.job(view.index, camera).name, None)

    def path(self, query: ClipQuery, item: int, camera: str) -> Path | None:
        """Return the file of a clip, or None as long as it is not drawn.

        Raises:
            ClipError: There is no such item or camera, or the query cannot be shown.
        """
        return self._cache.find(self._plan(query).job(item, camera).name)

    def state(self, query: ClipQuery, item: int, camera: str) -> str:
        """Return how a clip stands; it is drawn if nobody has asked for it before.

        Returns:
            "ready"; "pending"; "failed: reason"; or "stalled: reason" where the query is not to
            blame, and drawing is tried again.
        """
        try:
            request = self.request(query, item, camera)
        except ClipError as error:
            return _in_words(error)
        if not request.done():
            return "pending"
        fault = request.exception()
        return "ready" if fault is None else _in_words(fault)

    def lanes(self, query: ClipQuery, item: int) -> list[Lane]:
        """Return what was measured along a segment; nothing for a candidate.

        Raises:
            ClipError: There is no such item, or its episode cannot be read.
        """
        plan = self._plan(query)
        shown = plan.item(item)
        if isinstance(shown, ActionCandidate):
            return []
        job = LanesJob(shown, plan.hashes[item], plan.timing, _written_at(self.reward))
        lanes: list[Lane] = self._result(self._measurers, job)
        return lanes

    def cloud(self, query: ClipQuery) -> Cloud:
        """Return what the candidates of a query were proposed for, and where they lead.

        Raises:
            ClipError: It compares segments, or nothing tells where its candidates lead.
        """
        plan = self._plan(query)
        job = CloudJob(plan.candidates(), plan.hashes[0])
        cloud: Cloud = self._result(self._measurers, job)
        return cloud

    def _plan(self, query: ClipQuery) -> Plan:
        with self._lock:
            if self._refresher.refresh():
                self._plans.clear()
            known = self._plans.get(query.id)
            if known is not None:
                return known
            try:
                source = Source(
                    self._episodes.root, self._episodes.features, self._episodes.fps,
                    [self._episodes.row(item.episode_id) for item in query.items],
                )  # fmt: skip
            except DataError as error:
                raise ClipError(str(error)) from error
        plan = make_plan(query, source, self.config, self._cameras)
        with self._lock:
            return self._plans.fetch(query.id, lambda: plan)

    def _cameras(self, env: str) -> Sequence[str]:
        cameras: list[str] = self._result(self._renderers, CameraJob(env))
        return cameras

    def _result(self, workers: Workers, job: Hashable) -> Any:
        """Return what a child answers, now or before."""
        with self._lock:
            known = self._results.get(job)
        if known is not None:
            return known
        try:
            result = workers.submit(job, job, urgent=True).result(WAIT_S)
        except FutureTimeoutError as error:
            raise ClipError(
                f"The process for {workers.what} did not answer within {WAIT_S:.0f} s.",
                passing=True,
            ) from error
        with self._lock:
            return self._results.fetch(job, lambda: result)

    def _fault(self, name: str) -> ClipError | None:
        """Return why a clip failed not long ago; later it is tried again."""
        since, fault = self._faults.get(name, (0.0, None))
        if fault is None:
            return None
        wait_s = RETRY_PASSING_S if fault.passing else RETRY_S
        return fault if time.monotonic() - since < wait_s else None

    def _note(self, job: ClipJob, error: BaseException | None) -> None:
        with self._lock:
            if isinstance(error, Dropped):
                return
            self._faults.pop(job.name, None)
            if not isinstance(error, ClipError):
                self._trouble = None
                return
            self._faults.fetch(job.name, lambda: (time.monotonic(), error))
            if error.passing:
                self._trouble = error


def _written_at(reward: Path | None) -> tuple[Path, int] | None:
    """Return the folder of a reward and when it was written; None before there is one."""
    for folder in () if reward is None else (reward, reward / "reward"):
        try:
            return folder, (folder / "model.safetensors").stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return None


def _done(fault: ClipError | None) -> "Future[None]":
    future: Future[None] = Future()
    if fault is None:
        future.set_result(None)
    else:
        future.set_exception(fault)
    return future


def _in_words(fault: BaseException) -> str:
    passing = isinstance(fault, ClipError) and fault.passing
    return f"{'stalled' if passing else 'failed'}: {fault}"

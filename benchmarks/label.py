"""Many annotators at once on one labelling server, which is killed again and again meanwhile.

Annotators think for 1.5 s on average, a fraction of what people do, fetch a clip that is drawn
already, answer, send some answers twice and take some back. Some pages are left open on Progress
and Compare meanwhile, and the server draws the clips of every query on the side. First they work
undisturbed, which gives the times; then the server is killed (SIGKILL) and started again while they
work. At the end the database is compared with what was acknowledged.
"""

import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import sqlalchemy as sa

from benchmarks.label_data import CRITERION, fill, record
from benchmarks.label_load import Annotator, Log, annotate
from benchmarks.label_screen import open_browser, see_clips, see_first
from benchmarks.label_server import Server
from robopref.preferences import tables
from robopref.preferences.store import PreferenceStore

OVERLAP = 2
NUM_CLIPS = 8
NUM_READERS = 6
"""Pages that are left open."""


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    episodes: int = 10_000
    labels: int = 1_000_000
    annotators: int = 50
    seconds: float = 60.0
    kills: int = 10
    looks: int = 5
    """How often is measured what a browser sees."""

    @property
    def num_open(self) -> int:
        """More queries than can be answered: an annotator gives less than one answer a second."""
        return int(self.annotators * self.seconds * 2)


FULL, QUICK = (
    Size(),
    Size(episodes=1000, labels=100_000, annotators=10, seconds=15.0, kills=2, looks=1),
)


def run(quick: bool) -> dict[str, Any]:
    """Let 50 annotators work for 60 s, or 10 for 15 s, twice; see when a small project starts."""
    if quick:
        return measure(QUICK)
    return measure(FULL, also_start=replace(QUICK, looks=FULL.looks))


def measure(size: Size, *, also_start: Size | None = None) -> dict[str, Any]:
    """Make a project, let annotators work on it, and compare what they saw with what is stored."""
    started: dict[str, Any] = {}
    if also_start is not None:
        with _project(also_start) as (server, _):
            seen = _see(server, also_start)
            started = seen | _look_first(server, also_start)[0]
    with _project(size) as (server, location):
        found = _see(server, size)
        looked, clips = _look_first(server, size)
        found |= looked
        _say(f"{size.annotators} annotators for {size.seconds:.0f} s.")
        calm = _work(size, server, clips)
        _say(f"The same while the server is killed {size.kills} times.")
        with _killing(server, size) as restarts:
            troubled = _work(size, server, clips)
        both = Log()
        for log in (calm, troubled):
            both.add(log)
        figures = {
            **started,
            **found,
            **_times(calm, size),
            "kills that did not happen": _exactly(size.kills - len(restarts), size.kills),
            "restart after a kill [s]": _at_most(restarts, None),
            "wait of an annotator over a kill [s]": _at_most(troubled.outages, None),
            **_check(location, both),
        }
    refused = sorted(set(both.refused))
    return {
        "figures": figures, "size": vars(size), "cpus": os.cpu_count(),
        "load": list(os.getloadavg()), "refused": refused[:20],
    }  # fmt: skip


@contextlib.contextmanager
def _project(size: Size) -> Iterator[tuple[Server, str]]:
    """Make a project and serve it inside the block; yield the server and its preference store."""
    memory = Path("/dev/shm")  # Recording many episodes flushes many files.
    with (
        tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as episodes,
        tempfile.TemporaryDirectory() as work,
    ):
        data, location = Path(episodes) / "data", str(Path(work) / "preferences.sqlite")
        _say(f"Recording {size.episodes} episodes.")
        store = record(data, size.episodes)
        _say(f"Writing {size.labels} labels.")
        fill(location, store, num_labels=size.labels, num_open=size.num_open)
        server = Server(data, location, Path(work), overlap=OVERLAP)
        with server.running():
            yield server, location


def _look_first(server: Server, size: Size) -> tuple[dict[str, Any], list[str]]:
    """Return when a first query and its clips were there after a start, and drawn clips.

    With 1,000 episodes at most, that is to take 5 s.
    """
    server.kill()
    shutil.rmtree(server.clips, ignore_errors=True)
    began = time.monotonic()
    server.start()
    annotator = Annotator("first", server.port, [])
    annotator.request("POST", "/api/session", {"annotator": "first"}, "sign in")
    seconds: list[float] = []
    clips: list[str] = []
    while len(clips) < NUM_CLIPS:
        query = annotator.request("POST", "/api/next", {}, "next")["query"]
        seconds.append(time.monotonic() - began)
        for item in query["items"]:
            url = next(iter(item["clips"].values()))
            annotator.request("GET", url, None, "clip")
            clips.append(url)
        seconds.append(time.monotonic() - began)
        annotator.answer(query)
    annotator.close()
    if annotator.log.refused:
        raise RuntimeError(f"The server refuses to work: {annotator.log.refused[0]}")
    most = 5.0 if size.episodes <= QUICK.episodes else None
    figures = {
        f"start to first {what}, {size.episodes} episodes [s]": _at_most([value], most)
        for what, value in zip(("query", "clips"), seconds, strict=False)
    }
    return figures, clips


def _see(server: Server, size: Size) -> dict[str, Any]:
    """Return what a browser saw, which nothing else used meanwhile; nothing without a browser."""
    with open_browser() as browser:
        if browser is None:
            return {}
        first = see_first(browser, server, size.looks)
        clips = see_clips(browser, server, size.looks)
    most = 5.0 if size.episodes <= QUICK.episodes else None
    return {
        f"start to first query on screen, {size.episodes} episodes [s]": _at_most(first, most),
        f"clips begin, from cache, {size.episodes} episodes [ms]": _at_most(clips, 300.0),
    }


def _work(size: Size, server: Server, clips: list[str]) -> Log:
    """Let the annotators work, in two processes of their own."""
    names = [f"annotator {number}" for number in range(size.annotators)]
    readers = [f"reader {number}" for number in range(NUM_READERS)]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        parts = [
            pool.submit(
                annotate, names[half::2], readers[half::2], server.port, size.seconds, clips
            )
            for half in range(2)
        ]
        log = Log()
        for part in parts:
            log.add(part.result())
    return log


@contextlib.contextmanager
def _killing(server: Server, size: Size) -> Iterator[list[float]]:
    """Kill the server again and again inside the block; yield how long it took to start again."""
    restarts: list[float] = []
    stop = threading.Event()

    faults: list[Exception] = []

    def work() -> None:
        try:
            kill_all()
        except Exception as error:  # raised again by who waits for the thread
            faults.append(error)

    def kill_all() -> None:
        began = time.monotonic()
        for number in range(size.kills):
            due = began + (number + 1) * size.seconds / (size.kills + 1)
            if stop.wait(max(due - time.monotonic(), 0.0)):
                return
            server.kill()
            restarts.append(server.start())

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield restarts
    finally:
        stop.set()
        thread.join()
        if faults:
            raise faults[0]


def _check(location: str, log: Log) -> dict[str, Any]:
    """Compare the database with what was acknowledged."""
    answers = tables.preferences.c
    statement = sa.select(answers.id, answers.query_id, answers.undone).where(
        answers.annotator.like("annotator %"), answers.criterion == CRITERION
    )
    with PreferenceStore(location) as store, store.database.reading() as connection:
        rows = {row.id: row for row in connection.execute(statement)}
    lost = [
        name for name, query in log.answered.items()
        if name not in rows or rows[name].query_id != query
        or rows[name].undone != (name in log.undone)
    ]  # fmt: skip
    handed = [query for query, names in log.handed.items() if len(names) > OVERLAP]
    num, more = len(log.answered), set(rows) - set(log.answered)
    return {
        "acknowledged answers lost": _exactly(len(lost), num),
        "answers stored beside those acknowledged": _exactly(len(more), num),
        "queries handed to too many": _exactly(len(handed), len(log.handed)),
        "requests refused": _exactly(len(log.refused), num),
    }  # fmt: skip


def _times(log: Log, size: Size) -> dict[str, Any]:
    """Return the 95th percentiles of what annotators wait for."""
    milliseconds = {kind: np.array(values) * 1000 for kind, values in log.seconds.items()}
    return {
        "next, 95 % within [ms]": _percentile(milliseconds["next"], 150.0),
        "answer, 95 % within [ms]": _percentile(milliseconds["answer"], 150.0),
        "clip fetched from cache, 95 % within [ms]": _percentile(milliseconds["clip"], 300.0),
        "progress, 95 % within [ms]": _percentile(milliseconds["progress"], 1000.0),
        "comparison, 95 % within [ms]": _percentile(milliseconds["comparison"], 1000.0),
        "answers a second": len(log.answered) / size.seconds,
    }


def _percentile(values: np.ndarray, most: float) -> dict[str, Any]:
    """Return the 95th percentile, with the interval that its order statistics give."""
    ordered, num = np.sort(values), len(values)
    spread = 1.96 * np.sqrt(num * 0.95 * 0.05)
    places = np.clip([0.95 * num - spread, 0.95 * num, 0.95 * num + spread], 0, num - 1)
    low, value, high = ordered[places.astype(int)]
    return {
        "value": value, "low": low, "high": high, "n": num, "floor": most, "ok": value <= most
    }  # fmt: skip


def _at_most(values: list[float], most: float | None) -> dict[str, Any]:
    """Return the median and the range of few values."""
    if not values:
        return {"value": None, "n": 0, "floor": most, "ok": None}
    middle = float(np.median(values))
    ok = None if most is None else middle <= most
    return {
        "value": middle, "low": min(values), "high": max(values), "n": len(values), "floor": most,
        "ok": ok,
    }  # fmt: skip


def _exactly(num: int, of: int) -> dict[str, Any]:
    return {"value": num, "n": of, "floor": 0, "ok": num == 0}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)

"""A labelling project served for real, and a browser to look at it: for the tests of the pages."""

import contextlib
import shutil
import time
import uuid
from typing import Any

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.labeling.background import Trainer
from robopref.labeling.clip_jobs import ClipConfig
from robopref.labeling.config import Criterion, LabelConfig
from robopref.labeling.server import ServerConfig, open_project
from robopref.labeling.training_config import TrainerConfig
from robopref.preferences import tables
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.rating import RatingQuery, rating_query_row
from tests.labeling.clip_data import record_real
from tests.labeling.running import serving

# Headless as Debian runs it; WebGL2 without a graphics card.
ARGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
)  # fmt: skip
NUM_STEPS = 24
READY = "[data-state=ready]"
SHOWN = "selector => document.querySelector(selector)?.checkVisibility()"
WAIT_MS = 30_000


class Project:
    """A served project.

    Args:
        service: What is served.

    Attributes:
        address: Where, without a slash at the end.
        folder: Where its store is, if a test wants to know.
        visitors: Closes the pages that were opened on it.
    """

    def __init__(self, service):
        self.service = service
        self.address = ""
        self.folder: Any = None
        self.visitors = contextlib.ExitStack()
        self.episodes = [row.episode_id for row in service.episodes.rows]
        self._rng = np.random.default_rng(0)

    @property
    def answers(self):
        """What was answered, in the order of answering."""
        return self.service.store.preferences()

    @property
    def ratings(self):
        """Rows of the ratings that stand."""
        with self.service.store.database.reading() as connection:
            return list(
                connection.execute(
                    tables.ratings.select().where(~tables.ratings.c.undone)
                ).mappings()
            )

    def forget(self):
        """Ask nothing any more, and forget what was answered."""
        with self.service.store.database.writing() as connection:
            # Rows of queries stay: the queue counts on their numbers to rise.
            connection.execute(tables.label_queue.update().values(is_open=False, blocked=""))
            answered = (
                tables.preferences, tables.ratings, tables.adjudications,
                tables.rating_adjudications,
            )  # fmt: skip
            for table in (tables.label_leases, *answered):
                connection.execute(table.delete())

    def ask_clips(self, *counts, length=NUM_STEPS, why="The test asks."):
        """Queue queries that compare `counts` clips; return them."""
        queries = [self._clips(count, length, why) for count in counts]
        return self._add(queries)

    def ask_actions(self, *counts, step=3):
        """Queue queries that compare `counts` candidates; return them."""
        return self._add(
            [
                Query(
                    self._id(),
                    tuple(
                        ActionCandidate(
                            self.episodes[0], step, (tuple(self._rng.uniform(-0.8, 0.8, 6)),)
                        )
                        for _ in range(count)
                    ),
                    "test",
                    "Proposals of the policy for one observation.",
                )
                for count in counts
            ]
        )

    def ask_rating(self, *, length=NUM_STEPS):
        """Queue a clip to be judged by itself; return the query."""
        query = RatingQuery(self._id(), Segment(self.episodes[0], 0, length), "test", "A rollout.")
        content = self.service.episodes.content_hash(query.item)
        row = rating_query_row(query, content, context={}, created_s=time.time())
        with self.service.store.database.writing() as connection:
            connection.execute(tables.rating_queries.insert(), row)
        self.service.queue.fill()
        return query

    def _add(self, queries):
        self.service.store.add_queries(
            queries, cut_hash=self.service.episodes.content_hash, context={}
        )
        self.service.queue.fill()
        return queries

    def _clips(self, count, length, why):
        items: list[Segment] = []
        while len(items) < count:
            episode = self.episodes[len(items) % len(self.episodes)]
            start = int(self._rng.integers(0, NUM_STEPS - length + 1))
            item = Segment(episode, start, length)
            if item not in items:
                items.append(item)
        return Query(self._id(), tuple(items), "test", why)

    def _id(self):
        return str(uuid.UUID(bytes=self._rng.bytes(16), version=4))


@contextlib.contextmanager
def serve_project(folder, *, data=None, token=None, refit_every=None, **settings):
    """Serve a project on `data`, or on two recorded episodes; yield it.

    With `refit_every`, the reward is refitted after so many answers.
    """
    if data is None:
        data = folder / "data"
        if not data.exists():
            record_real(data, num_steps=NUM_STEPS)
    settings = {
        "criteria": (Criterion("overall", "Which one is better?"),), "repeat_every": 0,
        "gold_every": 0, **settings,
    }  # fmt: skip
    config = ServerConfig(
        data, str(folder / "preferences.sqlite"), folder / "out", port=0, token=token,
        clips=ClipConfig(num_processes=1),
    )  # fmt: skip
    label_config = LabelConfig(**settings)
    with open_project(config, label_config) as service, contextlib.ExitStack() as stack:
        project = Project(service)
        project.forget()
        trainer = None
        if refit_every is not None:
            training = TrainerConfig(
                config.data, config.db, config.out, label_config, refit_every=refit_every
            )
            trainer = stack.enter_context(
                Trainer(training, service.store.database, lambda folder: None)
            )
        address = stack.enter_context(serving(service, config, trainer))
        project.address = address.rstrip("/")
        # A page that outlives its server complains.
        stack.enter_context(project.visitors)
        yield project


@contextlib.contextmanager
def open_browser():
    """Yield Debian's Chromium, driven by Playwright."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("There is no chromium here: apt-get install chromium.")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=list(ARGS))
        try:
            yield browser
        finally:
            browser.close()


class Watched:
    """Pages of one test; what they complain about is kept.

    Args:
        browser: Where they are opened.
    """

    def __init__(self, browser):
        self.browser = browser
        self.errors = []
        self.projects = []

    def open(self, project, annotator="anna", *, path="/", ready=True, beside=None, **options):
        """Open the page for an annotator, by link; return it once a query is shown.

        The browser is one of its own, or that of the page `beside`.
        """
        options = {"viewport": {"width": 1280, "height": 800}, **options}
        context = beside.context if beside else self.browser.new_context(**options)
        self.projects.append(project)
        project.visitors.callback(context.close)
        page = self.watch(context)
        page.goto(f"{project.address}{path}?annotator={annotator}")
        if ready:
            until(page, SHOWN, READY)
        return page

    def watch(self, context):
        """Return a new page of a browser whose complaints are kept."""
        page = context.new_page()
        page.set_default_timeout(WAIT_MS)
        page.on("pageerror", lambda error: self.errors.append(error.stack or str(error)))
        page.on("console", self._heard)
        return page

    def close(self):
        """Close everything."""
        for project in self.projects:
            project.visitors.close()

    def _heard(self, message):
        # The browser remarks on its own speed, and on the tests' reading of pixels.
        remarks = ("GL Driver Message", "willReadFrequently")
        if message.type in ("error", "warning") and not any(r in message.text for r in remarks):
            self.errors.append(f"{message.type}: {message.text}")


def press(page, *keys):
    """Press keys one after the other."""
    for key in keys:
        page.keyboard.press(key)


def intercept(page, pattern, handler):
    """Let a handler answer requests of a page; return once it does."""
    # A request made right after `route` may still pass it.
    page.route("**/icon.svg?probe", lambda route: route.fulfill(status=204))
    page.route(pattern, handler)
    until(page, "fetch('/static/icon.svg?probe').then(({ status }) => status === 204)")


def until(page, expression, arg=None, *, seconds=30):
    """Wait until an expression of the page is true; return its value."""
    # Playwright's own waiting evaluates strings in the page, which its policy forbids.
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = page.evaluate(expression, arg)
        if value:
            return value
        page.wait_for_timeout(40)
    state = page.evaluate("robopref.page?.element?.dataset.state")
    shown = page.inner_text("main")
    pytest.fail(f"{expression} did not become true; the page is {state} and shows: {shown}")


def answer(page, *keys):
    """Press the keys of an answer, and wait for what comes after it."""
    before = page.evaluate("robopref.page.query?.id")
    press(page, *keys)
    until(
        page,
        "before => robopref.page.element.dataset.state === 'empty'"
        " || (robopref.page.element.dataset.state === 'ready'"
        " && robopref.page.query.id !== before)",
        before,
    )

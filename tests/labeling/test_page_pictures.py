"""Pictures of the pages on simulated episodes: looked at by people, the best are in the docs.

They go to the folder that ROBOPREF_PICTURES names, else to a temporary one.
"""

import contextlib
import json
import os
import time
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robopref.commands.collect import CollectCommand
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.labeling.comparison import make_comparisons
from robopref.labeling.config import Criterion
from robopref.labeling.training import Refitter
from robopref.labeling.training_config import TrainerConfig
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.ranking import Answer, Ranking
from tests.labeling.page_project import READY, intercept, press, serve_project, until

pytestmark = pytest.mark.slow

ENV = "metaworld/drawer-open-v3"
NUM_STARTS = 8
LENGTH = 40
LIMIT_BYTES = 150_000
CRITERIA = (
    Criterion("progress", "Which one comes closer to an open drawer?"),
    Criterion("gentle", "Which one is gentler?"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return episodes of two ways to open a drawer, from the same starts."""
    folder = tmp_path_factory.mktemp("data")
    merged = None
    for policy, share in (("swinging", 1.0), ("straight", 0.0)):
        recorded = folder / policy
        CollectCommand(
            out=recorded, env=ENV, num_episodes=NUM_STARTS, preferred_share=share, num_workers=1
        ).run()
        store = EpisodeStore.open(recorded)
        merged = merged or EpisodeStore.create(folder / "drawer", fps=store.fps)
        for episode in store:
            merged.add(replace(episode, metadata={"policy": policy}))
    return folder / "drawer"


@pytest.fixture(scope="module")
def project(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    with serve_project(
        folder, data=data, title="Opening a drawer", criteria=CRITERIA, overlap=3
    ) as served:
        served.folder = folder
        yield served


@pytest.fixture(scope="module")
def shown(project):
    """Return what the project's queries show, by kind; many pairs are answered by three people."""
    rng = np.random.default_rng(7)
    rows = list(project.service.episodes.rows)
    by_kind = {
        "pair": [_pair(rng, rows) for _ in range(60)],
        "ranking": [_query(rng, [Segment(r.episode_id, 20, LENGTH) for r in rows[:8:2]],
                           "A batch of four that differ most from each other.")],
        "candidates": [_candidates(rng, project, rows[1])],
    }  # fmt: skip
    comparisons = make_comparisons(project.service.episodes, 8, rng)
    project._add([*by_kind["pair"], *comparisons, *by_kind["ranking"], *by_kind["candidates"]])
    by_kind["rating"] = [project.ask_rating(length=LENGTH)]
    _answer(project, by_kind["pair"], comparisons, rng)
    return by_kind


@pytest.fixture(scope="module")
def take(tmp_path_factory):
    """Return what saves a picture of a page, small enough for the docs."""
    named = os.environ.get("ROBOPREF_PICTURES")
    folder = Path(named) if named else tmp_path_factory.mktemp("pictures")

    def save(page, name):
        page.wait_for_timeout(400)
        path = folder / f"label-{name}.jpg"
        page.screenshot(path=path, type="jpeg", quality=82)
        assert 10_000 < path.stat().st_size < LIMIT_BYTES

    return save


def _query(rng, items, reason):
    return Query(str(uuid.UUID(bytes=rng.bytes(16), version=4)), tuple(items), "test", reason)


def _pair(rng, rows):
    first, second = rng.choice(len(rows), 2, replace=False)
    starts = [int(rng.integers(0, rows[i].length - LENGTH)) for i in (first, second)]
    items = [
        Segment(rows[i].episode_id, start, LENGTH)
        for i, start in zip((first, second), starts, strict=True)
    ]
    return _query(rng, items, "Drawn at random.")


def _candidates(rng, project, row):
    action = project.service.episodes.episode(row.episode_id).action[12:30]
    chunks = [
        tuple(tuple(float(v) for v in step) for step in np.clip(action + push, -1, 1))
        for push in rng.uniform(-0.7, 0.7, (4, 1, action.shape[1]))
    ]
    items = [ActionCandidate(row.episode_id, 12, chunk) for chunk in chunks]
    return _query(rng, items, "Four proposals of the policy for one observation.")


def _answer(project, pairs, comparisons, rng):
    """Answer as three people who see how far the drawer is open, not equally well; refit."""
    store, episodes = project.service.store, project.service.episodes
    db, out = str(project.folder / "preferences.sqlite"), project.folder / "out"
    refitter = Refitter(TrainerConfig(episodes.root, db, out, project.service.config))
    for number, query in enumerate([*pairs[:50], *comparisons[:6]]):
        # Rewards of whole episodes would make a dead tie of the two policies.
        of = _straightness if query in comparisons else _reward
        worth = [of(episodes, item) for item in query.items]
        for annotator, skill in (("anna", 0.95), ("ben", 0.9), ("cleo", 0.7)):
            if rng.random() < 0.35 and number > 3:
                continue
            best = int(np.argmax(worth)) if rng.random() < skill else int(rng.integers(2))
            store.answer(_preference(query, annotator, best, rng))
        if number % 12 == 11:
            refitter.refit("progress")
    refitter.close()


def _reward(episodes, item):
    return episodes.episode(item.episode_id).reward[item.start : item.start + item.length].sum()


def _straightness(episodes, item):
    return float(episodes.row(item.episode_id).metadata["policy"] == "straight")


def _preference(query, annotator, best, rng):
    shown = [int(i) for i in rng.permutation(2)]
    kind = rng.random()
    ranking = Ranking(2, ((best,), (1 - best,)), Answer.RANKED)
    if kind < 0.08:
        ranking = Ranking(2, ((0, 1),), Answer.RANKED)
    elif kind < 0.12:
        ranking = Ranking.skipped()
    return Preference(
        id=str(uuid.UUID(bytes=rng.bytes(16), version=4)), query=query, ranking=ranking,
        annotator=annotator, criterion="progress", time_s=time.time() - 86_400 * rng.integers(0, 4),
        response_time_s=float(rng.uniform(2.5, 9)), details={"shown": shown},
    )  # fmt: skip


def only(page, kind):
    """Have the page ask queries of one kind."""

    def ask(route):
        route.continue_(post_data=json.dumps({"kinds": [kind], "criterion": "progress"}))

    intercept(page, "**/api/next", ask)


def look(pages, project, kind, **options):
    """Open the page on a query of one kind, at a picture in the middle."""
    page = pages.open(project, "dora", ready=False, path="/compare", **options)
    page.get_by_role("heading", level=1).wait_for()
    only(page, kind)
    page.goto(project.address)
    page.wait_for_selector(READY)
    return page


def stand_at(page, frame):
    press(page, "Space")
    page.evaluate("frame => robopref.page.judge.stage.player.seek(frame)", frame)
    until(page, "frame => robopref.page.judge.stage.player.frame === frame", frame)


def test_picture_of_a_pair(project, shown, pages, take):
    page = look(pages, project, "pair")
    press(page, "e", "d", "l")
    until(page, "document.querySelectorAll('.lane').length > 0")
    stand_at(page, 24)
    take(page, "pair")
    press(page, "?")
    take(page, "keys")


def test_picture_of_a_ranking_in_the_dark(project, shown, pages, take):
    page = look(pages, project, "ranking", color_scheme="dark")
    press(page, "3", "1", "=", "4")
    stand_at(page, 30)
    take(page, "ranking")


def test_picture_of_actions(project, shown, pages, take):
    page = look(pages, project, "candidates")
    press(page, "2", "4")
    take(page, "actions")
    press(page, "t")
    take(page, "actions-above")


def test_picture_of_a_rating_on_a_tablet(project, shown, pages, take):
    page = look(pages, project, "rating", viewport={"width": 820, "height": 1180})
    stand_at(page, 26)
    press(page, "m")
    take(page, "tablet")


def test_pictures_of_the_other_pages(project, shown, pages, take):
    page = pages.open(project, "dora", path="/progress", ready=False,
                      viewport={"width": 1280, "height": 1000})  # fmt: skip
    page.get_by_role("row").filter(has_text="anna").first.wait_for()
    take(page, "progress")
    page.goto(project.address + "/adjudicate")
    page.wait_for_selector(READY)
    stand_at(page, 30)
    take(page, "adjudicate")
    # The blind scores are slow, and must not be drawn over those with names.
    slow: list[Any] = []
    intercept(page, "**/api/comparison?reveal=0", lambda route: slow.append(route))
    page.goto(project.address + "/compare")
    page.get_by_role("button", name="Show the names").click()
    page.get_by_role("row").filter(has_text="swinging").first.wait_for()
    assert slow
    with contextlib.suppress(Exception):  # The page has given it up.
        slow[0].continue_()
    page.wait_for_timeout(500)
    assert "straight" in page.inner_text("main")
    take(page, "compare")

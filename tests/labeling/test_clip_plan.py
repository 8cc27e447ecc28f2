"""What is known of a query before anything is drawn."""

import dataclasses
from pathlib import Path

import pytest

from robopref.data.rows import EpisodeRow
from robopref.data.schema import FIRST_FILE, Feature
from robopref.data.segment import Segment
from robopref.labeling.clip_jobs import ClipConfig
from robopref.labeling.clip_plan import Source, make_plan
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate, Query

CONFIG = ClipConfig(codec="h264")
STATES = {"sim.state": Feature("float64", (9,))}
CAMERAS = {f"observation.images.{name}": Feature("video", (48, 64, 3)) for name in ("eye", "top")}
POINTS = {"observation.points": Feature("float32", (500, 3))}


def row(episode_id, *, length=40, content_hash="", env="sim/task"):
    return EpisodeRow(
        episode_id, 0, length, 0, FIRST_FILE, FIRST_FILE, {}, env, "task", 0, 20.0, False, True,
        False, content_hash or f"hash of {episode_id}",
    )  # fmt: skip


def plan(query, features, *, config=CONFIG, rows=None, drawn=lambda env: ["front", "top"]):
    rows = rows or [row(item.episode_id) for item in query.items]
    return make_plan(query, Source(Path("data"), features, 20.0, rows), config, drawn)


def query(first=("a", 0, 30), second=("b", 5, 10), name="q"):
    return Query(name, (Segment(*first), Segment(*second)))


def candidates():
    return Query("c", (ActionCandidate("a", 3, ((0.1,),)), ActionCandidate("a", 3, ((0.2,),))))


def names(found):
    return [{camera: job.name for camera, job in jobs.items()} for jobs in found.jobs]


def test_equal_content_has_one_name_and_other_content_another():
    usual = names(plan(query(), STATES))[0]["front"]
    assert usual == names(plan(query(name="another"), STATES))[0]["front"]
    assert usual.endswith(".mp4")
    rows = [row("a", content_hash="new"), row("b")]
    others = [
        names(plan(query(), STATES))[0]["top"],
        names(plan(query(first=("a", 1, 30)), STATES))[0]["front"],
        names(plan(query(second=("b", 0, 31)), STATES))[0]["front"],  # It holds the end longer.
        names(plan(query(), STATES, rows=rows))[0]["front"],
        names(plan(query(), STATES, config=dataclasses.replace(CONFIG, height=480)))[0]["front"],
        names(plan(query(), STATES, config=dataclasses.replace(CONFIG, codec="vp9")))[0]["front"],
    ]
    assert len({usual, *others}) == 7
    assert others[-1].endswith(".webm")


def test_all_items_are_shown_from_one_side_where_they_can_be():
    rows = [row("a"), row("b", env="sim/other")]
    sides = {"sim/task": ["front", "top", "side"], "sim/other": ["side", "top", "back"]}
    found = plan(query(), STATES, rows=rows, drawn=sides.__getitem__)
    assert [view.cameras for view in found.views] == [("top", "side")] * 2
    sides = {"sim/task": ["front"], "sim/other": ["back"]}
    found = plan(query(), STATES, rows=rows, drawn=sides.__getitem__)
    assert [view.cameras for view in found.views] == [("front",), ("back",)]


def test_cameras_can_be_chosen():
    features = {**STATES, **CAMERAS}
    config = dataclasses.replace(CONFIG, cameras=("eye", "front", "no"))
    found = plan(query(), features, config=config)
    assert found.views[0].cameras == ("eye", "front")
    with pytest.raises(ClipError) as error:
        plan(query(), features, config=dataclasses.replace(CONFIG, cameras=("no",)))
    assert str(error.value) == "`cameras` must name some of ['front', 'eye', 'top'], got ['no']."
    assert error.value.passing, "the query is not to blame"


def test_without_its_simulator_an_episode_is_shown_by_its_recorded_cameras():
    def missing(env):
        raise ClipError(f"No environment named '{env}'.")

    found = plan(query(), {**STATES, **CAMERAS}, drawn=missing)
    assert found.views[0].cameras == ("eye", "top")
    with pytest.raises(ClipError) as error:
        plan(query(), STATES, drawn=missing)
    assert str(error.value) == "No environment named 'sim/task'."


def test_what_nothing_shows_is_refused():
    expected = (
        "Nothing of episode a of 'data' can be shown: it has no simulator states, and no recorded "
        "camera that would show this query."
    )
    for asked, features in ((query(), {}), (query(), POINTS), (candidates(), CAMERAS)):
        with pytest.raises(ClipError) as error:
            plan(asked, features)
        assert str(error.value) == expected
        assert not error.value.passing
    by_cloud = plan(candidates(), POINTS)
    assert [view.cameras for view in by_cloud.views] == [(), ()]
    assert by_cloud.candidates() == candidates().items


def test_items_beyond_their_episode_are_refused():
    plan(query(first=("a", 10, 30)), STATES)
    with pytest.raises(ClipError) as error:
        plan(query(first=("a", 11, 30)), STATES)
    assert str(error.value) == (
        "An item that ends at step 41 does not fit episode a of 'data', which has 40 steps."
    )


def test_a_single_item_to_be_rated_has_a_plan_too():
    @dataclasses.dataclass(frozen=True)
    class Rated:
        id: str
        items: tuple

    found = plan(Rated("r", (Segment("a", 0, 40),)), CAMERAS)
    (view,) = found.views
    assert (view.num_frames, view.stride, view.fps) == (40, 1, pytest.approx(13.333, abs=1e-3))

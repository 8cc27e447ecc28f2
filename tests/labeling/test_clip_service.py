"""The service as a server uses it: real children draw real episodes into a real folder."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.envs.make import make_env
from robopref.labeling.clip_jobs import ClipConfig
from robopref.labeling.clip_service import ClipService
from robopref.labeling.worker import ClipError
from robopref.preferences.query import ActionCandidate, Query
from robopref.rewards.mlp import MLPRewardConfig
from tests.labeling.clip_data import ENV, SMALL, decode, pair, record_simulated

WAIT = 60


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "reach"
    record_simulated(folder, 3, cameras=[("eye", "top")])
    return folder


@pytest.fixture(scope="module")
def ids(data):
    return EpisodeStore.open(data).ids


@pytest.fixture(scope="module")
def shared(data, tmp_path_factory):
    """A service that many tests use, none of which harms it."""
    service = ClipService(SMALL, data, tmp_path_factory.mktemp("clips"))
    service.start()
    yield service
    service.close()


def test_both_clips_have_one_rate_and_one_length_and_show_the_states(shared, data, ids):
    query = pair(ids, "look")
    a, b = shared.describe(query)
    assert (a.num_frames, a.num_moving, a.fps, a.kind) == (9, 9, 3.0, "segment")
    assert (b.num_frames, b.num_moving, b.fps, b.index) == (9, 6, 3.0, 1)
    assert a.cameras[:3] == ("front", "eye", "behindGripper")
    assert [b.step_at(frame) for frame in (0, 4, 5, 8)] == [0, 4, 4, 4]
    for item in (0, 1):
        assert shared.request(query, item, "front", urgent=True).result(WAIT) is None
    first, second = (decode(shared.path(query, item, "front")) for item in (0, 1))
    assert first.shape == second.shape == (9, 64, 96, 3)
    episode = EpisodeStore.open(data).episode(ids[0])
    assert episode.sim_states is not None
    assert episode.sim_episode is not None
    env = make_env(ENV)
    expected = env.render_states(
        episode.sim_states[:9], episode.sim_episode, width=96, height=64, camera="front"
    )
    env.close()
    assert np.abs(first.astype(int) - expected).mean() < 6
    assert np.abs(second[6:].astype(int) - second[5]).mean() < 2


def test_a_recorded_camera_is_shown_too(shared, ids):
    query = pair(ids, "eye")
    shared.request(query, 0, "eye").result(WAIT)
    pictures = decode(shared.path(query, 0, "eye"))
    assert pictures.shape == (9, 48, 64, 3), "as it was recorded, and held at the end"


def test_states_go_from_pending_to_ready(shared, ids):
    query = pair(ids, "states", first=(1, 8))
    assert shared.path(query, 0, "front") is None
    assert shared.state(query, 0, "front") == "pending"
    again = shared.request(query, 0, "front", urgent=True)
    assert again.result(WAIT) is None
    assert shared.state(query, 0, "front") == "ready"
    assert shared.request(query, 0, "front").done(), "nothing is drawn twice"


def test_a_drawn_clip_is_found_in_microseconds(shared, ids):
    query = pair(ids, "quick")
    shared.request(query, 0, "front").result(WAIT)
    start = time.perf_counter()
    for _ in range(1000):
        assert shared.path(query, 0, "front") is not None
    assert (time.perf_counter() - start) / 1000 < 1e-3  # It takes 10 us; tests check shapes too.


def test_what_is_not_there_is_named_and_no_path_leaves_the_folder(shared, ids):
    query = pair(ids, "bad")
    for item, camera in ((0, "../../etc/passwd"), (0, ""), (0, "moon")):
        with pytest.raises(ClipError) as error:
            shared.path(query, item, camera)
        assert str(error.value).startswith(f"No camera '{camera}' shows query 'bad'. Cameras: [")
        assert shared.state(query, item, camera).startswith("failed: No camera")
    for item in (2, -1):
        with pytest.raises(ClipError) as error:
            shared.request(query, item, "front")
        assert str(error.value) == f"Query 'bad' has 2 items, not {item}."


def test_unknown_episodes_and_segments_too_long_never_can_be_shown(shared, data, ids):
    gone = Query("gone", (Segment("nobody", 0, 3), Segment(ids[0], 0, 3)))
    with pytest.raises(ClipError) as error:
        shared.describe(gone)
    assert str(error.value) == f"'{data}' has no episode 'nobody'. It has 3 episodes."
    assert not error.value.passing
    long = Query("long", (Segment(ids[0], 20, 5), Segment(ids[1], 0, 3)))
    with pytest.raises(ClipError) as error:
        shared.describe(long)
    assert str(error.value) == (
        f"An item that ends at step 25 does not fit episode {ids[0]} of '{data}', which has 24 "
        "steps."
    )


def test_candidates_are_played_and_drawn_in_space(shared, data, ids):
    episode = EpisodeStore.open(data).episode(ids[0])
    chunks = [episode.action[5:9], -episode.action[5:9], np.zeros((4, 4))]
    items = tuple(
        ActionCandidate(ids[0], 5, tuple(tuple(float(x) for x in row) for row in rows))
        for rows in chunks
    )
    query = Query("candidates", items)
    view = shared.describe(query)[2]
    assert (view.kind, view.num_frames, view.num_steps) == ("candidate", 5, 4)
    assert "eye" not in view.cameras, "nobody recorded what did not happen"
    for item in (0, 1):
        shared.request(query, item, "front").result(WAIT)
    executed, reverse = (decode(shared.path(query, item, "front")) for item in (0, 1))
    assert not np.array_equal(executed, reverse)
    segments = Query("executed", (Segment(ids[0], 5, 4), Segment(ids[1], 0, 4)))
    shared.request(segments, 0, "front").result(WAIT)
    np.testing.assert_array_equal(executed, decode(shared.path(segments, 0, "front")))
    cloud = shared.cloud(query)
    assert [len(path.points) for path in cloud.paths] == [5, 5, 5]
    assert shared.cloud(query) is cloud
    assert shared.lanes(query, 0) == []
    with pytest.raises(ClipError) as error:
        shared.cloud(segments)
    assert str(error.value) == "Query 'executed' compares segments, and has no point cloud."


def test_lanes_have_a_value_for_each_moving_picture(shared, ids):
    query = pair(ids, "lanes")
    views = shared.describe(query)
    for item, view in enumerate(views):
        lanes = shared.lanes(query, item)
        assert [lane.name for lane in lanes] == ["gripper opening", "speed"]
        assert {len(lane.values) for lane in lanes} == {view.num_moving}


def test_a_reward_gets_a_hidden_lane_which_follows_when_it_learns(shared, ids, tmp_path):
    query = pair(ids, "reward")
    shared.reward = tmp_path / "run"
    try:
        assert len(shared.lanes(query, 0)) == 2, "nothing is trained yet"
        found = []
        for width in (8, 16):
            config = MLPRewardConfig(num_members=2, hidden_sizes=(width,))
            reward = config.build(39, 4)
            reward.save_pretrained(tmp_path / "run" / "reward")
            *_, lane = shared.lanes(query, 0)
            assert (lane.name, lane.hidden, len(lane.values)) == ("learned reward", True, 9)
            found.append(lane.values)
        assert found[0] != found[1]
    finally:
        shared.reward = None


def test_many_threads_may_ask_at_once(shared, ids):
    queries = [pair(ids, f"t{n}", first=(n, 8)) for n in range(6)]

    def look(query):
        shared.describe(query)
        shared.request(query, 0, "top").result(WAIT)
        return shared.path(query, 0, "top")

    with ThreadPoolExecutor(12) as pool:
        paths = list(pool.map(look, queries * 4))
    assert len(set(paths)) == 6
    assert all(path is not None and path.stat().st_size for path in paths)


def test_a_killed_child_is_replaced(shared, ids):
    query = pair(ids, "killed", first=(2, 20))
    shared.describe(query)
    for pid in shared.child_pids:
        os.kill(pid, signal.SIGKILL)
    futures = [shared.request(query, item, "front") for item in (0, 1)]
    deadline = time.monotonic() + WAIT
    while not shared.child_pids and time.monotonic() < deadline:
        time.sleep(0.01)
    os.kill(shared.child_pids[0], signal.SIGKILL)  # Again, in the middle of a clip.
    for future in futures:
        assert future.result(WAIT) is None
    assert shared.trouble is None


def test_servers_share_what_was_drawn(services, filmed, tmp_path):
    one, other = (services(filmed.root, tmp_path / "clips") for _ in range(2))
    query = pair(filmed.ids, "query")
    one.request(query, 0, "wrist").result(WAIT)
    assert other.path(query, 0, "wrist") == one.path(query, 0, "wrist")
    renamed = pair(filmed.ids, "the same segments in another query")
    assert other.path(renamed, 0, "wrist") == one.path(query, 0, "wrist")
    assert other.child_pids == []
    larger = services(filmed, tmp_path / "clips", dataclasses.replace(SMALL, width=128))
    assert larger.path(query, 0, "wrist") is None
    one.close()
    one.request(query, 0, "wrist").result(0)  # What is there needs no process.
    stopped = one.request(query, 1, "wrist").exception(0)
    assert str(stopped) == "The server stops: no drawing clips."


def test_without_h264_clips_are_webm(services, filmed, tmp_path):
    service = services(filmed, tmp_path, dataclasses.replace(SMALL, codec="vp9"))
    query = pair(filmed.ids, "query")
    service.request(query, 0, "wrist").result(WAIT)
    path = service.path(query, 0, "wrist")
    assert (path.suffix, service.codec.media_type) == (".webm", "video/webm")
    assert decode(path).shape == (8, 48, 64, 3)


def test_a_server_needs_neither_torch_nor_a_simulator(data, tmp_path):
    script = f"""
import sys
from pathlib import Path
from robopref.labeling.clip_service import ClipService
from robopref.labeling.clip_jobs import ClipConfig
ClipService(ClipConfig(), Path({str(data)!r}), Path({str(tmp_path)!r})).close()
print(sorted({{"torch", "mujoco", "metaworld"}} & set(sys.modules)))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60,
        cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_bad_settings_are_named():
    with pytest.raises(ValueError) as error:
        ClipConfig(width=97)
    assert str(error.value) == "`width` must be even and at least 2, got 97."
    with pytest.raises(ValueError) as error:
        ClipConfig(codec="av1")
    assert str(error.value) == "`codec` must be one of ['auto', 'h264', 'vp9'], got 'av1'."
    with pytest.raises(ValueError) as error:
        ClipConfig(cache_gib=0)
    assert str(error.value) == "`cache_gib` must be at least 0.01, got 0."
    with pytest.raises(ValueError) as error:
        ClipConfig(num_processes=0)
    assert str(error.value) == "`num_processes` must be at least 1, got 0."

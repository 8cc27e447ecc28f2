"""What goes wrong with videos, data sets, disks and processes, and what is said about it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robopref.labeling import clip_service, refreshing
from robopref.labeling.worker import ClipError
from tests.labeling.clip_data import decode, pair, record_real, record_simulated

WAIT = 60


def test_a_missing_video_fails_with_its_reason_until_it_is_back(services, tmp_path, monkeypatch):
    store = record_real(tmp_path / "data")
    service = services(store.root, tmp_path / "clips")
    query = pair(store.ids, "query")
    (video,) = (store.root / "videos").rglob("file-000.mp4")
    shutil.move(video, tmp_path / "video")
    assert service.describe(query)[0].cameras == ("wrist",)
    with pytest.raises(ClipError) as error:
        service.request(query, 0, "wrist").result(WAIT)
    assert str(error.value).startswith(f"'{video}' is missing. Put back a copy of the file")
    assert not error.value.passing
    assert service.state(query, 0, "wrist") == f"failed: {error.value}"
    (tmp_path / "video").rename(video)
    assert service.state(query, 0, "wrist").startswith("failed"), "it is not tried at once"
    monkeypatch.setattr(clip_service, "RETRY_S", 0.0)
    assert service.request(query, 0, "wrist").result(WAIT) is None
    video_b = video.with_name("file-001.mp4")
    video_b.write_bytes(b"not a video")
    with pytest.raises(ClipError, match="is not readable as video"):
        service.request(query, 1, "wrist").result(WAIT)


def test_a_data_set_that_changes_underneath_is_noticed(services, tmp_path, monkeypatch):
    store = record_real(tmp_path / "data")
    ids = store.ids
    service = services(store.root, tmp_path / "clips")
    query = pair(ids, "query")
    service.request(query, 0, "wrist").result(WAIT)
    store.delete(ids)
    monkeypatch.setattr(refreshing, "_EVERY_S", 0.0)
    service._refresher._next_s = 0.0
    with pytest.raises(ClipError) as error:
        service.path(query, 0, "wrist")
    assert str(error.value).startswith(f"'{store.root}' has no episode '{ids[0]}'.")
    store.merge(record_real(tmp_path / "other", seed=1))
    # The same identity, other content: not what was asked about, but a clip of its own.
    service.request(query, 0, "wrist").result(WAIT)
    assert len(list((tmp_path / "clips").iterdir())) == 2


def test_an_episode_exchanged_after_the_plan_is_not_shown(services, tmp_path):
    store = record_real(tmp_path / "data")
    service = services(store.root, tmp_path / "clips")
    query = pair(store.ids, "query")
    service.describe(query)
    service._refresher._next_s = time.monotonic() + 1000  # It has not looked since.
    store.delete(store.ids)
    store.merge(record_real(tmp_path / "other", seed=1))
    with pytest.raises(ClipError) as error:
        service.request(query, 0, "wrist").result(WAIT)
    episode_id = query.items[0].episode_id
    assert str(error.value) == f"Episode {episode_id} of '{store.root}' has changed."


def test_a_data_set_that_is_away_stalls_clips_until_it_is_back(services, tmp_path):
    store = record_real(tmp_path / "data")
    service = services(store.root, tmp_path / "clips")
    query = pair(store.ids, "query")
    store.root.rename(tmp_path / "away")
    with pytest.raises(ClipError) as error:
        service.describe(query)
    assert str(error.value).startswith(f"No data set at '{store.root}'.")
    assert error.value.passing
    assert service.state(query, 0, "wrist") == f"stalled: {error.value}"
    (tmp_path / "away").rename(store.root)
    assert service.request(query, 0, "wrist").result(WAIT) is None


def test_a_wrong_opengl_library_is_no_query_s_fault(services, tmp_path, monkeypatch):
    store = record_simulated(tmp_path / "data", 2, num_steps=8)
    monkeypatch.setenv("MUJOCO_GL", "elg")
    service = services(store.root, tmp_path / "clips")
    with pytest.raises(ClipError) as error:
        service.describe(pair(store.ids, "query", second=(0, 5)))
    assert str(error.value).startswith("MUJOCO_GL must be one of ['egl', ")
    assert error.value.passing


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of one megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "none", str(place)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        pytest.skip(f"No file system can be mounted here: {done.stderr.strip()}")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_stalls_clips_until_there_is_room(services, filmed, tiny_disk, monkeypatch):
    filler = tiny_disk / "filler"
    filler.write_bytes(bytes(2**20))
    service = services(filmed, tiny_disk / "clips")
    query = pair(filmed.ids, "query", first=(0, 20))
    with pytest.raises(ClipError) as error:
        service.request(query, 0, "wrist").result(WAIT)
    assert error.value.passing
    assert str(error.value) == (
        f"Clips cannot be written to '{tiny_disk / 'clips'}': No space left on device. Free space "
        "or fix the permission; queries go on by themselves then."
    )
    assert service.trouble == str(error.value)
    assert service.state(query, 0, "wrist") == f"stalled: {error.value}"
    filler.unlink()
    monkeypatch.setattr(clip_service, "RETRY_PASSING_S", 0.0)
    assert service.request(query, 0, "wrist").result(WAIT) is None
    assert service.trouble is None
    assert decode(service.path(query, 0, "wrist")).shape == (20, 48, 64, 3)


def test_children_die_with_a_server_that_is_killed(filmed, tmp_path):
    script = f"""
import sys, time
from pathlib import Path
from robopref.labeling.clip_service import ClipService
from robopref.labeling.clip_jobs import ClipConfig
from robopref.preferences.query import Query
from robopref.data.segment import Segment
if __name__ == "__main__":
    service = ClipService(ClipConfig(), Path({str(filmed.root)!r}), Path({str(tmp_path)!r}))
    ids = service._episodes.ids
    service.request(Query("q", (Segment(ids[0], 0, 3), Segment(ids[1], 0, 3))), 0, "wrist")
    while not service.child_pids:
        time.sleep(0.01)
    print(service.child_pids[0], flush=True)
    time.sleep(60)
"""
    path = tmp_path / "server.py"
    path.write_text(script)
    root = str(Path(__file__).resolve().parents[2])
    server = subprocess.Popen(
        [sys.executable, str(path)], stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": root},
    )  # fmt: skip
    assert server.stdout is not None
    child = int(server.stdout.readline())
    server.kill()
    server.wait()
    server.stdout.close()
    deadline = time.monotonic() + 30
    while _lives(child) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _lives(child)


def _lives(pid):
    """Whether a process runs; one that ended and was not waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False

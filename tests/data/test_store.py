import json
import logging
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError

CAMERA = "observation.images.corner"


def assert_same(read, written):
    for key in ("id", "env", "task", "seed", "fps", "terminated", "truncated", "metadata"):
        assert getattr(read, key) == getattr(written, key)
    for key in ("action", "reward", "success", "sim_states", "sim_episode"):
        got, want = getattr(read, key), getattr(written, key)
        assert (got is None) == (want is None)
        if want is not None:
            np.testing.assert_array_equal(got, want)
            assert got.dtype == want.dtype
    cameras = {key for key in written.obs if "images" in key}
    assert read.obs.keys() == written.obs.keys() - cameras
    for key, value in read.obs.items():
        np.testing.assert_array_equal(value, written.obs[key])
        assert value.dtype == written.obs[key].dtype


@pytest.mark.parametrize("camera", [False, True])
def test_an_episode_comes_back_as_it_was(store, make_episode, camera):
    episodes = [make_episode(i, steps=4 + i, camera=camera) for i in range(4)]
    for episode in episodes:
        store.add(episode)
    opened = EpisodeStore.open(store.root)
    assert opened.ids == [episode.id for episode in episodes]
    assert len(opened) == 4
    assert opened.num_steps == 4 + 5 + 6 + 7
    for read, written in zip(opened, episodes, strict=True):
        assert_same(read, written)
        assert_same(store.episode(written.id), written)
    assert opened.validate() == []
    assert opened.report == []


def test_rows_say_what_is_known_without_reading_arrays(store, make_episode):
    store.add(make_episode(3, steps=9, success=np.arange(9) == 4))
    row = EpisodeStore.open(store.root).rows[0]
    assert (row.episode_id, row.length, row.env, row.task) == (
        make_episode(3).id, 9, "metaworld/reach-v3", "reach 0",
    )  # fmt: skip
    assert (row.seed, row.fps, row.terminated, row.truncated) == (2**62 + 3, 20, False, True)
    assert row.succeeded
    assert row.metadata == {"style": "left", "number": 3}


def test_a_data_set_has_one_row_a_step_and_no_padding(store, make_episode):
    for i in range(3):
        store.add(make_episode(i, steps=5))
    files = sorted((store.root / "data").glob("*/*.parquet"))
    assert [file.name for file in files] == [f"file-00{i}.parquet" for i in range(3)]
    table = pd.concat([pd.read_parquet(file) for file in files])
    assert list(table["index"]) == list(range(15))
    assert list(table["frame_index"]) == [*range(5)] * 3
    assert list(table["episode_index"]) == [0] * 5 + [1] * 5 + [2] * 5
    np.testing.assert_allclose(table["timestamp"][:5], np.arange(5) / 20, rtol=1e-6)
    row = pq.read_table(store.root / "meta/episodes/chunk-000/file-002.parquet").to_pylist()[0]
    last = make_episode(2, steps=5)
    np.testing.assert_array_equal(np.float32(row["final.observation.state"]), last.state[-1])
    np.testing.assert_array_equal(row["final.sim.state"], last.sim_states[-1])
    assert (row["dataset_from_index"], row["dataset_to_index"]) == (10, 15)


def test_tasks_are_a_pandas_frame_indexed_by_task(store, make_episode):
    for i in (0, 1, 0 + 3, 2):
        store.add(make_episode(i))
    tasks = pd.read_parquet(store.root / "meta/tasks.parquet")
    assert tasks.index.name == "task"
    assert dict(tasks["task_index"]) == {"reach 0": 0, "reach 1": 1, "reach 2": 2}


def test_info_counts_what_is_there(store, make_episode):
    for i in range(3):
        store.add(make_episode(i, steps=4, camera=True))
    info = json.loads((store.root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 12, 3)
    assert info["splits"] == {"train": "0:3"}
    assert info["features"][CAMERA]["shape"] == [32, 48, 3]
    assert info["features"]["sim.state"] == {"dtype": "float64", "shape": [11], "names": None}


def test_sizes_of_one_and_more_axes_come_back(store, make_episode):
    rng = np.random.default_rng(0)
    obs = {
        "observation.state": rng.normal(size=(6, 1)).astype(np.float32),
        "observation.points": rng.normal(size=(6, 4, 3)).astype(np.float32),
        "observation.points.count": rng.integers(0, 4, (6, 1)),
        "observation.touch": rng.random((6, 2)) > 0.5,
    }
    episode = make_episode(0, steps=5, obs=obs, action=np.ones((5, 1), np.float32))
    store.add(episode)
    store.add(make_episode(1, steps=5, obs=obs, action=np.ones((5, 1), np.float32)))
    store.compact()
    assert_same(EpisodeStore.open(store.root).episode(episode.id), episode)


def test_an_episode_without_simulator_comes_back(store, make_episode):
    episode = make_episode(0, sim_states=None, sim_episode=None)
    store.add(episode)
    assert_same(EpisodeStore.open(store.root).episode(episode.id), episode)


def test_cut_is_the_window_of_the_episode(store, make_episode):
    episode = make_episode(0, steps=8)
    store.add(episode)
    obs, action = EpisodeStore.open(store.root).cut(Segment(episode.id, 2, 4))
    np.testing.assert_array_equal(obs["observation.state"], episode.state[2:6])
    np.testing.assert_array_equal(action, episode.action[2:6])


def test_frames_are_the_pictures_before_each_action(store, make_episode):
    for i in range(3):
        store.add(make_episode(i, steps=8, camera=True))
    wanted = [make_episode(i, steps=8, camera=True).obs[CAMERA][3:7] for i in range(3)]
    for compacted in (False, True):
        for i in range(3):
            frames = store.frames(Segment(make_episode(i).id, 3, 4), CAMERA)
            assert frames.dtype == np.uint8
            # The codec blurs colours a little and moves nothing.
            assert np.abs(frames.astype(int) - wanted[i]).mean() < 6
            found = frames.mean(axis=(1, 3)).argmax(axis=1) - wanted[i].mean(axis=(1, 3)).argmax(1)
            assert (np.abs(found) <= 4).all()
        if not compacted:
            store.compact()


def test_frames_do_not_change_when_videos_are_joined(store, make_episode):
    for i in range(4):
        store.add(make_episode(i, steps=5 + i, camera=True))
    segments = [Segment(row.episode_id, 0, row.length) for row in store.rows]
    before = [store.frames(segment, CAMERA) for segment in segments]
    store.compact()
    assert len(list((store.root / "videos").glob("*/*/*.mp4"))) == 1
    store.delete([segments[1].episode_id])
    for i in (0, 2, 3):
        np.testing.assert_array_equal(store.frames(segments[i], CAMERA), before[i])
    assert store.validate() == []


def test_content_hash_differs_between_segments(store, make_episode):
    for i in range(2):
        store.add(make_episode(i))
    ids = store.ids
    hashes = {store.content_hash(Segment(i, s, n)) for i in ids for s in range(4) for n in (2, 3)}
    assert len(hashes) == 16


@pytest.mark.parametrize("camera", [False, True])
def test_content_survives_compact_merge_and_delete(tmp_path, store, make_episode, contents, camera):
    for i in range(6):
        store.add(make_episode(i, steps=5 + i, camera=camera))
    labelled = contents(store)
    store.compact()
    assert contents(store) == labelled
    other = EpisodeStore.create(tmp_path / "other", fps=20)
    for i in range(4, 9):
        other.add(make_episode(i, steps=5 + i, camera=camera))
    labelled |= contents(other)
    assert other.merge(store) == 4
    assert contents(other) == labelled
    gone = [make_episode(i).id for i in (1, 5, 8)]
    other.delete(gone)
    assert contents(other) == {i: h for i, h in labelled.items() if i not in gone}
    assert contents(EpisodeStore.open(other.root)) == contents(other)
    assert other.validate() == []
    assert other.row(make_episode(4).id).episode_index == 0  # numbered anew; the id stays


def test_compact_makes_few_files_and_numbers_through(store, make_episode):
    for i in range(5):
        store.add(make_episode(i, camera=True))
    store.delete([make_episode(2).id])
    files = [p.relative_to(store.root) for p in store.root.rglob("*-000.*")]
    assert len(files) == 3
    assert [row.episode_index for row in store.rows] == [0, 1, 2, 3]
    assert store.rows[-1].stop == store.num_steps == 28
    store.add(make_episode(9, camera=True))
    assert store.validate() == []


def test_delete_of_everything_leaves_an_empty_store(store, make_episode):
    store.add(make_episode(0))
    store.delete(store.ids)
    assert len(EpisodeStore.open(store.root)) == 0
    store.add(make_episode(1, action=np.ones((7, 3), np.float32)))
    assert store.validate() == []


def test_large_files_that_do_not_change_are_kept(store, make_episode, monkeypatch):
    monkeypatch.setattr("robopref.data.rewrite._EPISODES_PER_FILE", 4)
    for i in range(4):
        store.add(make_episode(i))
    store.compact()
    first = store.root / "data/chunk-000/file-000.parquet"
    inode = first.stat().st_ino
    for i in range(4, 7):
        store.add(make_episode(i))
    store.compact()
    assert first.stat().st_ino == inode
    assert len(list((store.root / "data").glob("*/*"))) == 2
    assert store.validate() == []
    store.delete([store.ids[0]])
    assert first.stat().st_ino != inode
    assert store.validate() == []


def test_adding_the_same_again_changes_nothing(store, make_episode):
    store.add(make_episode(0))
    before = {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()}
    store.add(make_episode(0))
    EpisodeStore.open(store.root).add(make_episode(0, metadata={"recorded": "again"}))
    assert {p: p.stat().st_mtime_ns for p in store.root.rglob("*") if p.is_file()} == before
    assert len(store) == 1


def test_another_content_under_the_same_id_is_refused(store, make_episode):
    store.add(make_episode(0))
    with pytest.raises(DataError) as error:
        store.add(make_episode(1, id=make_episode(0).id))
    assert str(error.value) == (
        f"'{store.root}' has another episode with the id '{make_episode(0).id}'. Give the new one "
        "an id of its own, or delete the old one first."
    )
    assert_same(store.episode(store.ids[0]), make_episode(0))


def test_two_writers_and_a_reader_see_each_other(store, make_episode, contents):
    other, reader = EpisodeStore.open(store.root), EpisodeStore.open(store.root)
    for i in range(6):
        (store if i % 2 else other).add(make_episode(i))
    other.compact()
    store.add(make_episode(6))
    assert reader.episode(make_episode(6).id).seed == 2**62 + 6
    assert len(reader) == 7
    other.delete([make_episode(0).id])
    kept = Segment(make_episode(5).id, 1, 3)
    assert reader.content_hash(kept) == store.content_hash(kept) == contents(other)[kept.episode_id]
    assert store.ids == [make_episode(i).id for i in range(1, 7)]
    assert EpisodeStore.open(store.root).validate() == []


def test_a_reader_finds_what_was_moved_under_it(store, make_episode):
    for i in range(3):
        store.add(make_episode(i))
    reader = EpisodeStore.open(store.root)
    store.delete([make_episode(0).id])
    assert_same(reader.episode(make_episode(2).id), make_episode(2))


def test_processes_may_add_at_the_same_time(tmp_path):
    root = tmp_path / "store"
    EpisodeStore.create(root, fps=10)
    script = """
import sys, numpy as np
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
store = EpisodeStore.open(sys.argv[1])
for i in range(12):
    number = int(sys.argv[2]) * 100 + i
    outcome = np.full(4, number, np.float32)
    obs = {"observation.state": np.full((5, 2), number, np.float32)}
    store.add(Episode(f"id-{number}", obs, np.zeros((4, 2), np.float32), outcome, outcome > 0,
                      False, True, "env", "task", number, 10))
"""
    command = [sys.executable, "-c", script, str(root)]
    processes = [subprocess.Popen([*command, str(i)]) for i in range(2)]
    assert [process.wait() for process in processes] == [0, 0]
    store = EpisodeStore.open(root)
    assert sorted(store.ids) == sorted(f"id-{k}" for k in [*range(12), *range(100, 112)])
    assert store.validate() == []
    assert all((episode.state == episode.seed).all() for episode in store)


def test_recently_used_episodes_stay_in_memory(store, make_episode):
    for i in range(4):
        store.add(make_episode(i))
    reader = EpisodeStore.open(store.root, cache_size=2)
    first = reader.episode(store.ids[0])
    assert reader.episode(store.ids[0]) is first
    for i in (1, 2):
        reader.episode(store.ids[i])
    assert reader.episode(store.ids[0]) is not first


def test_statistics_are_those_of_all_rows(store, make_episode):
    episodes = [make_episode(i, steps=6 + i, camera=True) for i in range(5)]
    for episode in episodes:
        store.add(episode)
    states = np.concatenate([episode.state[:-1] for episode in episodes]).astype(np.float64)
    for opened in (store, EpisodeStore.open(store.root)):
        found = opened.stats()["observation.state"]
        np.testing.assert_allclose(found["mean"], states.mean(0), rtol=1e-9)
        np.testing.assert_allclose(found["std"], states.std(0), rtol=1e-9)
        np.testing.assert_array_equal(found["min"], states.min(0))
        assert found["count"] == len(states)
    store.delete([episodes[0].id])
    states = states[6:]
    kept = json.loads((store.root / "meta/stats.json").read_text())
    np.testing.assert_allclose(kept["observation.state"]["mean"], states.mean(0), rtol=1e-9)
    assert np.shape(kept[CAMERA]["mean"]) == (3, 1, 1)


def test_damaged_statistics_are_made_again(store, make_episode):
    for i in range(3):
        store.add(make_episode(i))
    mean = store.stats()["action"]["mean"]
    (store.root / "meta/stats.json").write_text("{")
    opened = EpisodeStore.open(store.root)
    np.testing.assert_allclose(opened.stats()["action"]["mean"], mean)
    opened.add(make_episode(4))
    assert opened.validate() == []


def test_files_without_a_row_are_ignored_and_reported(store, make_episode, caplog):
    for i in range(2):
        store.add(make_episode(i, camera=True))
    last = store.root / "meta/episodes/chunk-000/file-001.parquet"
    last.unlink()  # As if the writer was killed just before its commit point.
    with caplog.at_level(logging.WARNING):
        opened = EpisodeStore.open(store.root)
    assert opened.ids == [make_episode(0).id]
    assert opened.report == [
        f"'{store.root}/data/chunk-000/file-001.parquet' belongs to no episode and is ignored: its "
        "recording was interrupted, or is under way.",
        f"'{store.root}/videos/{CAMERA}/chunk-000/file-001.mp4' belongs to no episode and is "
        "ignored: its recording was interrupted, or is under way.",
        f"'{store.root}/meta/info.json' counts 2 episodes; the episode table has 1, which is what "
        "counts.",
    ]
    assert [record.message for record in caplog.records] == opened.report
    opened.add(make_episode(2, camera=True))
    again = EpisodeStore.open(store.root)
    assert again.report == []
    assert again.validate() == []
    assert_same(again.episode(make_episode(2).id), make_episode(2, camera=True))


def test_a_store_goes_on_after_another_process_died_before_its_summaries(tmp_path, make_episode):
    """The open store makes them good while it holds the writers' lock, which it must not await."""
    first = EpisodeStore.create(tmp_path / "data", fps=20)
    first.add(make_episode(0))
    before = (tmp_path / "data" / "meta" / "info.json").read_bytes()
    other = EpisodeStore.open(tmp_path / "data")
    other.add(make_episode(1))
    (tmp_path / "data" / "meta" / "info.json").write_bytes(before)
    first.add(make_episode(2))
    assert len(first) == len(EpisodeStore.open(tmp_path / "data")) == 3


def test_what_no_policy_sees_is_kept_beside_the_observations(store, make_episode, tmp_path):
    extras = {
        "safety.sent": np.arange(24.0).reshape(8, 3),
        "safety.filter": np.arange(8, dtype=np.int32).reshape(8, 1),
    }
    first, second = make_episode(1, extras=extras), make_episode(2, extras=extras)
    store.add(first)
    store.add(second)
    found = EpisodeStore.open(store.root).episode(first.id)
    assert found.obs.keys() == first.obs.keys()
    assert found.extras.keys() == extras.keys()
    for key, value in extras.items():
        np.testing.assert_array_equal(found.extras[key], value)
    store.compact()
    np.testing.assert_array_equal(
        EpisodeStore.open(store.root).episode(second.id).extras["safety.sent"],
        extras["safety.sent"],
    )
    with pytest.raises(DataError, match=r"extras start with 'safety\.', got 'sent'"):
        store.add(make_episode(3, extras={"sent": extras["safety.sent"]}))
    with pytest.raises(DataError, match=r"'safety.sent' is absent in the episode"):
        store.add(make_episode(3))

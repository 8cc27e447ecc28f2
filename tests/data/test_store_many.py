"""Tests that many episodes at a time are stored as they would be one by one."""

from dataclasses import replace

import numpy as np
import pytest

import robopref.data.store
from robopref.data.hashing import episode_hash
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from tests.data.conftest import CAMERA


def data_files(store):
    return sorted(path.name for path in store.root.glob("data/*/*.parquet"))


@pytest.mark.parametrize("camera", [False, True])
def test_many_at_once_are_what_they_are_one_by_one(tmp_path, store, make_episode, camera):
    episodes = [make_episode(n, steps=3 + n % 3, camera=camera) for n in range(7)]
    one_by_one = EpisodeStore.create(tmp_path / "one-by-one", fps=20)
    for episode in episodes:
        one_by_one.add(episode)
    assert store.add_all(iter(episodes)) == 7
    assert data_files(store) == ["file-000.parquet"]
    again = EpisodeStore.open(store.root)
    assert again.validate() == []
    assert again.report == []
    for row, other in zip(again.rows, one_by_one.rows, strict=True):
        assert replace(row, data_file=other.data_file, meta_file=other.meta_file) == other
        assert episode_hash(again.episode(row.episode_id)) == row.content_hash
        if camera:
            shown = [s.recording(row.episode_id).videos[CAMERA] for s in (again, one_by_one)]
            assert shown[0] == shown[1]
    for key, statistics in one_by_one.stats().items():
        for name, value in statistics.items():
            np.testing.assert_allclose(again.stats()[key][name], value, rtol=1e-6, atol=1e-9)
    # What is there is not written again.
    assert store.add_all(episodes) == 0
    assert again.refresh() is False


@pytest.mark.parametrize("limit", ["GROUP_EPISODES", "GROUP_BYTES"])
def test_a_long_iterator_is_written_as_it_goes(store, make_episode, monkeypatch, limit):
    monkeypatch.setattr(robopref.data.store, limit, 3 if limit == "GROUP_EPISODES" else 2500)
    seen = []

    def episodes():
        for number in range(8):
            seen.append(len(EpisodeStore.open(store.root)))
            yield make_episode(number)

    assert store.add_all(episodes()) == 8
    assert seen == [0, 0, 0, 3, 3, 3, 6, 6]
    assert len(data_files(store)) == 3
    assert store.validate() == []


def test_the_store_may_grow_by_one_and_by_many(store, make_episode):
    store.add(make_episode(0, camera=True))
    store.add_all(make_episode(n, camera=True) for n in (1, 0, 2))
    store.add(make_episode(3, camera=True))
    again = EpisodeStore.open(store.root)
    assert again.ids == [make_episode(n).id for n in range(4)]
    assert again.validate() == []
    again.compact()
    assert again.validate() == []


def test_those_before_one_that_does_not_fit_are_stored(store, make_episode):
    episodes = [make_episode(n) for n in range(3)]
    other = make_episode(3, action=np.zeros((7, 9), np.float32))
    with pytest.raises(DataError, match=r"does not fit .* 'action' is float32 \(9,\)"):
        store.add_all([*episodes[:2], other, episodes[2]])
    assert store.ids == [episode.id for episode in episodes[:2]]
    assert store.validate() == []


def test_those_before_one_that_cannot_be_read_are_stored(store, make_episode):
    def episodes():
        yield make_episode(0)
        yield make_episode(1)
        raise DataError("'source' is damaged.")

    with pytest.raises(DataError, match="'source' is damaged"):
        store.add_all(episodes())
    assert store.ids == [make_episode(n).id for n in range(2)]


def test_two_contents_of_one_id_are_refused_within_a_group(store, make_episode):
    first, same = make_episode(0), make_episode(0)
    assert store.add_all([first, same]) == 1
    other = make_episode(1)
    with pytest.raises(DataError, match="has another episode with the id"):
        store.add_all([other, replace(make_episode(2), id=other.id)])
    assert store.ids == [first.id, other.id]


def test_nothing_is_nothing(store):
    assert store.add_all([]) == 0
    assert EpisodeStore.open(store.root).ids == []


def test_add_compacts_by_itself(store, make_episode, contents, monkeypatch):
    monkeypatch.setattr(robopref.data.store, "COMPACT_EVERY", 5)
    for i in range(12):
        store.add(make_episode(i))
    assert len(list((store.root / "data").glob("*/*"))) < 8
    assert len(contents(EpisodeStore.open(store.root))) == 12
    assert store.validate() == []


def test_adding_a_few_at_a_time_compacts_by_itself(store, make_episode, contents, monkeypatch):
    monkeypatch.setattr(robopref.data.store, "COMPACT_EVERY", 3)
    for i in range(0, 16, 2):
        store.add_all([make_episode(i), make_episode(i + 1)])
    assert len(list((store.root / "data").glob("*/*"))) < 5
    assert len(contents(EpisodeStore.open(store.root))) == 16
    assert store.validate() == []

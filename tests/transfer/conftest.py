"""Data sets in which a hand pushes an object, and stores with answers about them."""

from pathlib import Path

import pytest

from robopref.data.store import EpisodeStore
from robopref.preferences import Query
from robopref.preferences.store import PreferenceStore
from robopref.seeding import derive_uuid, make_rng
from tests.transfer.pushing import DOOR, DRAWER, answer, push, segments_of


def record(folder, env=DOOR, *, seed=0, num=16, **options):
    store = EpisodeStore.create(folder, fps=80.0)
    for number in range(num):
        store.add(push(env, seed, number, **options))
    return folder


def answer_pairs(data, *, num=60, sign=1):
    episodes = EpisodeStore.open(data)
    rng, segments = make_rng(0, "pairs"), segments_of(episodes)
    answers = []
    for k in range(num):
        items = tuple(segments[i] for i in rng.choice(len(segments), 2, replace=False))
        query = Query(derive_uuid(0, str(data), k), items)
        answers.append(answer(episodes, query, f"{data.name}-{k}", sign))
    path = Path(f"{data}{sign}.sqlite")
    with PreferenceStore(path) as store:
        store.answer_all(answers, cut_hash=episodes.content_hash)
    return path


@pytest.fixture
def make_data(tmp_path):
    """Make a data set; return its folder."""
    return lambda name, *words, **options: record(tmp_path / name, *words, **options)


@pytest.fixture
def make_answers():
    """Answer pairs of a data set; return the path of the store."""
    return answer_pairs


@pytest.fixture(scope="session")
def recorded(tmp_path_factory):
    """Data sets that no test changes: a door with answers, and a drawer without."""
    folder = tmp_path_factory.mktemp("recorded")
    door, drawer = record(folder / "door"), record(folder / "drawer", DRAWER, seed=1)
    return (door, answer_pairs(door)), drawer


@pytest.fixture
def door(recorded):
    """A source: its data set and the answers about it."""
    return recorded[0]


@pytest.fixture
def drawer(recorded):
    """A target, about which nothing was answered."""
    return recorded[1]

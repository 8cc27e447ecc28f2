"""Tests for align/material.py: what a fine-tuning method is given, and what is asked about."""

from dataclasses import replace

import numpy as np
import pytest

from robopref.align.collect import Workers
from robopref.align.labels import Labels
from robopref.align.loop import AlignmentLoop
from robopref.align.material import add_demonstrations, best
from robopref.data.hashing import episode_hash
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.preferences.teachers import ScriptedTeacherConfig
from robopref.preferences.triplets import TripletsConfig
from robopref.seeding import derive_uuid
from robopref.types import STATE
from tests.align.conftest import make_tiny


def own(store, name="pool"):
    return [episode for episode in store if episode.metadata["name"] == name]


@pytest.fixture
def pool(finished, tmp_path):
    """The episodes of the policy alone."""
    store = EpisodeStore.create(tmp_path / "pool", fps=next(iter(finished.store("pool"))).fps)
    for episode in own(finished.store("pool")):
        store.add(episode)
    return store


def test_as_many_demonstrations_as_episodes_of_the_policy_are_asked_about(finished):
    store = finished.store("pool")
    assert len(own(store)) == len(own(store, "demonstrations")) == 6
    expected = {episode.id: episode_hash(episode) for episode in finished.store("demonstrations")}
    for episode in own(store, "demonstrations"):
        assert episode_hash(episode) == expected[episode.id]
    # The rates of the pool stay those of the policy.
    assert finished.run.figures("pool")["rates"]["success"]["num"] == 6


def test_demonstrations_are_compared_with_each_other(finished):
    store = finished.store("pool")
    own = {row.episode_id for row in store.rows if row.metadata["name"] == "pool"}
    kinds = [
        {item.episode_id in own for item in preference.query.items}
        for preference in finished.labels().preferences()
    ]
    assert all(len(kind) == 1 for kind in kinds)


def test_the_same_demonstrations_are_added_again(finished, pool):
    add_demonstrations(pool, finished.store("demonstrations"), finished.config)
    assert pool.ids == finished.store("pool").ids
    add_demonstrations(pool, finished.store("demonstrations"), finished.config)
    assert pool.ids == finished.store("pool").ids


def test_what_the_policy_does_not_see_is_left_out(finished, pool, tmp_path):
    wider = EpisodeStore.create(tmp_path / "wider", fps=pool.episode(pool.ids[0]).fps)
    for episode in finished.store("demonstrations"):
        force = np.zeros((len(episode.obs[STATE]), 3), np.float32)
        obs, extras = {**episode.obs, "observation.force": force}, {"safety.force": force}
        wider.add(replace(episode, obs=obs, extras=extras))
    add_demonstrations(pool, wider, finished.config)
    assert pool.ids == finished.store("pool").ids


def test_demonstrations_that_cannot_be_compared_are_told_and_left_out(finished, tmp_path):
    """Without simulator states nobody could be shown them."""
    bare = EpisodeStore.create(tmp_path / "bare", fps=next(iter(finished.store("pool"))).fps)
    for episode in finished.store("demonstrations"):
        bare.add(replace(episode, sim_states=None, sim_episode=None))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "base").symlink_to(finished.directory / "base")
    said: list[str] = []
    with Workers(0) as workers:
        loop = AlignmentLoop(
            make_tiny(demonstrations=bare.root, num_pool_episodes=2), tmp_path / "run", workers,
            announce=said.append,
        )  # fmt: skip
        loop.run.stage("pool", loop._record_pool)
    assert len(loop.store("pool")) == 2
    (line,) = (line for line in said if "demonstrations" in line)
    assert line.startswith("demonstrations are not asked about: Episode ")
    assert "is absent in the episode" in line


def test_failed_demonstrations_are_not_asked_about(finished, pool):
    config = replace(finished.config, knows_success=True)
    num = len(pool)
    add_demonstrations(pool, finished.store("demonstrations"), config)
    rows = [row for row in pool.rows if row.metadata["name"] == "demonstrations"]
    assert len(pool) == num + len(rows)
    assert all(row.succeeded for row in rows)


def test_demonstrations_of_another_rate_are_refused(finished, pool, tmp_path):
    other = EpisodeStore.create(tmp_path / "other", fps=7)
    for episode in finished.store("demonstrations"):
        other.add(replace(episode, fps=7))
    with pytest.raises(DataError, match=r"7\.0 steps a second"):
        add_demonstrations(pool, other, finished.config)
    assert len(pool) == 6


class Measured(Labels):
    """Labels whose learned return of an episode is known."""

    def __init__(self, config, returns):
        self.config, self._returns = config, returns  # Nothing is asked.

    def returns(self, reward, episodes):
        return np.array([self._returns[episode.id] for episode in episodes])


def test_the_best_may_be_among_the_others_and_are_no_more(finished):
    recorded, shown = own(finished.store("pool")), own(finished.store("pool"), "demonstrations")
    returns = {episode.id: float(i) for i, episode in enumerate(recorded)}
    returns |= {episode.id: i - 2.5 for i, episode in enumerate(shown)}
    labels = Measured(replace(finished.config, selected_share=0.5), returns)
    assert best(labels, None, recorded) == recorded[3:]
    assert best(labels, None, recorded, shown[:3]) == recorded[3:]
    assert best(labels, None, recorded[:3], [shown[5], shown[0]]) == [recorded[2], shown[5]]


def test_without_them_only_the_policy_is_asked_about_and_imitated(finished, tmp_path):
    config = make_tiny(ask_about_demonstrations=False)
    for name in ("demonstrations", "base"):
        (tmp_path / name).symlink_to(finished.directory / name)
    with Workers(0) as workers:
        loop = AlignmentLoop(config, tmp_path, workers)
        loop.prepare_base()
        loop.prepare_reward()
        chosen = loop.rounds._choose(
            1, loop.directory / "base" / "policy", list(loop.store("pool"))
        )
    assert len(loop.store("pool")) == 6
    assert {episode.metadata["name"] for episode in chosen} == {"rounds/1/selection"}


def test_three_are_ranked_at_once_and_no_more_labels_are_asked_for_than_there_are(
    finished, tmp_path
):
    config = make_tiny(
        teacher=ScriptedTeacherConfig(), strategy=TripletsConfig(), num_labels=5, labels_per_round=3
    )
    for name in ("demonstrations", "base", "pool"):
        (tmp_path / name).symlink_to(finished.directory / name)
    with Workers(0) as workers:
        loop = AlignmentLoop(config, tmp_path, workers)
        loop.prepare_base()
        loop.prepare_reward()
    labels = loop.labels()
    answers = labels.preferences()
    assert [len(preference.query.items) for preference in answers] == [3, 3]
    assert labels.preference_store.num_labels() == 4
    for preference in answers:
        kinds = {
            loop.store("pool").episode(item.episode_id).metadata["name"]
            for item in preference.query.items
        }
        assert len(kinds) == 1
    judged, judgements = labels.judgements()
    assert {len(judgement.segments) for judgement in judgements} == {3}
    assert {episode.id for episode in judged} == {
        item.episode_id for preference in answers for item in preference.query.items
    }


@pytest.mark.parametrize(
    ("num_succeeded", "changes", "is_all"),
    [
        (20, {}, False),
        (19, {}, True),
        (20, {"use_success": False}, True),
        (20, {"knows_success": False}, True),
    ],
)
def test_failures_are_asked_about_only_where_they_count(
    finished, tmp_path, num_succeeded, changes, is_all
):
    episode = next(iter(finished.store("pool")))
    won, lost = np.zeros(len(episode), bool), np.zeros(len(episode), bool)
    won[-1] = True
    store = EpisodeStore.create(tmp_path / "pool", fps=episode.fps)
    store.add_all(
        replace(episode, id=derive_uuid(0, "asked", i), success=won if i < num_succeeded else lost)
        for i in range(25)
    )
    config = make_tiny(**({"use_success": True} | changes))
    with Workers(0) as workers:
        behaviour = AlignmentLoop(config, tmp_path / "run", workers).behaviour
    labels = Labels(config, tmp_path, store, behaviour)
    labels._propose(None, 4)
    asked = {segment.episode_id for segment in labels._segments()}
    assert asked == set(store.ids if is_all else store.ids[:num_succeeded])
    items = {item.episode_id for query in labels.preference_store.queries() for item in query.items}
    assert items <= asked

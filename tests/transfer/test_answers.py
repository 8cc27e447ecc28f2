"""What a transfer leaves behind: soft answers that every reward trains on, and queries."""

import dataclasses

import numpy as np
import pytest

from robopref.errors import DataError
from robopref.preferences import PairwiseView
from robopref.preferences.store import PreferenceStore
from robopref.rewards import REWARDS
from robopref.rewards.nearest import NearestConfig
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.seeding import make_rng
from robopref.train_reward import load_preferences, train_reward
from robopref.transfer.answers import (
    check_is_free,
    choose_queries,
    disputed_pairs,
    make_answers,
    write_answers,
)
from robopref.transfer.loading import Place, load_source, load_target
from robopref.transfer.workflow import transfer


@pytest.fixture(scope="module")
def outcome(recorded):
    (data, db), drawer = recorded
    source = load_source(Place(data, str(db)), make_rng(0))
    target = load_target(
        Place(drawer, None), make_rng(1), num_segments=30, length=None, like=source
    )
    return transfer(SharedFeaturesConfig(), [source], target, seed=0)


def answers_of(outcome, num=100, least=0.5, criterion="overall"):
    return make_answers(outcome, num, least_confidence=least, criterion=criterion, seed=0)


def test_answers_say_what_was_transferred(outcome):
    place = {segment: i for i, segment in enumerate(outcome.target.segments)}
    answers = answers_of(outcome, 435, criterion="speed")
    assert len({a.id for a in answers}) == len({a.query.id for a in answers}) == 435
    for answer in answers:
        ((a, b, prefers_b),) = answer.segment_pairs()
        expected = outcome.transferred.preferred[place[b], place[a]]
        assert prefers_b == pytest.approx(expected, abs=1e-12)
        assert answer.criterion == "speed"
    assert min(a.confidence for a in answers_of(outcome, least=0.8)) >= 0.8
    assert len(answers_of(outcome, 50)) == 50
    again = answers_of(outcome)
    assert [a.query for a in answers_of(outcome)] == [a.query for a in again]


def small(config):
    """Return a reward's config with few, short steps."""
    if hasattr(config, "part"):
        return dataclasses.replace(config, part=small(REWARDS.config_class("mlp")()))
    if not hasattr(config, "fit"):
        return config
    trainer = dataclasses.replace(config.fit.trainer, num_steps=6)
    return dataclasses.replace(
        config, num_members=2, fit=dataclasses.replace(config.fit, trainer=trainer)
    )


@pytest.mark.parametrize("name", REWARDS.names())
def test_every_reward_trains_on_them(name, outcome, tmp_path):
    db, episodes = tmp_path / "preferences.sqlite", outcome.target.episodes
    assert write_answers(db, outcome, answers_of(outcome)) == 100
    preferences = load_preferences(db, episodes)
    view = PairwiseView.from_preferences(preferences, episodes.cut)
    assert not np.isin(view.prefers_b, [0, 0.5, 1]).any(), "labels are soft"
    reward, figures = train_reward(
        small(REWARDS.config_class(name)()), preferences, episodes, held_out_share=0.0
    )
    assert np.isfinite(reward.rewards(view.segments)).all()
    assert all(np.isfinite(value) or "accuracy" in key for key, value in figures.items())


def test_where_answers_come_from_stays_with_them(outcome, tmp_path):
    write_answers(tmp_path / "a.sqlite", outcome, answers_of(outcome, 3))
    with PreferenceStore(tmp_path / "a.sqlite") as store:
        store.export_jsonl(tmp_path / "a.jsonl")
    text = (tmp_path / "a.jsonl").read_text()
    assert text.count(f'"sources": ["{outcome.sources[0].name}"]') == 3
    assert text.count('"method": "shared-features"') == 3


def test_queries_are_new_pairs_in_the_order_to_ask(outcome):
    method = SharedFeaturesConfig().build()
    queries = choose_queries(method, outcome, 8, seed=0)
    assert len({frozenset(q.items) for q in queries}) == 8
    # A method that cannot say what to ask leaves it to shared-features.
    assert choose_queries(NearestConfig().build(), outcome, 8, seed=0) == queries


def test_without_features_the_votes_say_what_to_ask(outcome):
    rng, num = make_rng(0, "votes"), len(outcome.target.segments)
    votes = rng.uniform(0.4, 0.6, (5, num, num))
    known = outcome.target.task.with_answers(np.array([3]), np.array([1]), np.array([1.0]))
    votes[:, [1, 3], [3, 1]] = np.array([0, 0, 0, 1, 1])[:, None]
    votes[:, 4, 9], votes[:, 2, 5] = [0, 0, 0, 1, 1], [0, 0, 0, 0, 1]
    found = dataclasses.replace(outcome.transferred, votes=votes)
    assert disputed_pairs(found, known, 2).tolist() == [[4, 9], [2, 5]]
    blind = dataclasses.replace(known, features=np.zeros((num, 0)))
    asked = dataclasses.replace(
        outcome, transferred=found, target=dataclasses.replace(outcome.target, task=blind)
    )
    segments = outcome.target.segments
    queries = choose_queries(NearestConfig().build(), asked, 2, seed=0)
    assert [frozenset(q.items) for q in queries] == [
        frozenset((segments[4], segments[9])), frozenset((segments[2], segments[5])),
    ]  # fmt: skip


def test_a_pair_that_is_asked_about_again_is_the_same_query(outcome):
    """Whatever else is asked, and whichever of the two comes first."""
    method = SharedFeaturesConfig().build()
    few, more = (choose_queries(method, outcome, num, seed=0) for num in (3, 8))
    assert few == more[:3]
    segments = list(outcome.target.segments)
    turned = dataclasses.replace(
        outcome,
        target=dataclasses.replace(outcome.target, segments=tuple(reversed(segments))),
    )
    place = {segment: index for index, segment in enumerate(turned.target.segments)}

    class Asks:
        def choose_queries(self, sources, target, num):
            return np.array([[place[q.items[1]], place[q.items[0]]] for q in few])

    assert choose_queries(Asks(), turned, 3, seed=0) == few


def test_a_folder_that_holds_something_is_not_free(tmp_path):
    check_is_free(tmp_path / "nothing")
    check_is_free(tmp_path)
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file"):
        with pytest.raises(DataError, match="is there already"):
            check_is_free(path)

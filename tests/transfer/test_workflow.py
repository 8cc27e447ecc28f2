"""Tests for one transfer: what counts as the truth, and what does not."""

from dataclasses import replace

import numpy as np
import pytest

from robopref.errors import DataError
from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import Transferred
from robopref.seeding import make_rng
from robopref.transfer.loading import Place, load_source, load_target
from robopref.transfer.workflow import OF_ANSWERS, OF_REWARDS, Truth, by_rewards, transfer


def load(source, target, db=None):
    loaded = load_source(Place(source[0], str(source[1])), make_rng(0))
    place = Place(target, None if db is None else str(db))
    return loaded, load_target(place, make_rng(1), num_segments=30, length=None, like=loaded)


def test_rewards_are_the_truth_only_about_what_they_pay_for(make_data, make_answers, drawer):
    data = make_data("door")
    slow = data, make_answers(data, sign=-1)
    source, target = load(slow, drawer)
    outcome = transfer(SharedFeaturesConfig(), [source], target, seed=0)
    assert outcome.measured == ()
    assert outcome.notes == (
        "The recorded rewards of the target do not count as the truth: only 0% of the answers "
        f"about '{data}' follow its rewards.",
    )
    assert outcome.verdict.level == "care"
    assert "nothing in the data tells" in outcome.verdict.text


def test_few_answers_do_not_tell_whether_rewards_are_the_truth(make_data, make_answers, drawer):
    data = make_data("door")
    source, target = load((data, make_answers(data, num=8)), drawer)
    assert by_rewards([source], target) == (
        None,
        "The recorded rewards of the target do not count as the truth: too few answers about the "
        "source tell whether they follow its rewards.",
    )


def test_each_of_the_targets_answers_measures_a_transfer_that_used_the_others(
    door, drawer, make_answers, make_data
):
    data = make_data("target", seed=4)
    source, target = load(door, data, make_answers(data, num=20))
    assert len(target.preferences) == 20
    assert target.task.num_decided == 20
    outcome = transfer(SharedFeaturesConfig(), [source], target, seed=0)
    own = {each.truth: each for each in outcome.own}
    assert list(own) == [OF_REWARDS, OF_ANSWERS]
    assert own[OF_ANSWERS].num == 20
    source, unanswered = load(door, data)
    alone = transfer(SharedFeaturesConfig(), [source], unanswered, seed=0)
    assert own[OF_REWARDS].accuracy >= alone.own[0].accuracy - 0.02
    assert [each.method for each in outcome.measured] == [
        "shared-features", "shared-features", "shared-features, without them", "nearest"
    ]  # fmt: skip


def test_enough_answers_outweigh_a_source_that_says_the_opposite(door, make_data, make_answers):
    data = make_data("target", seed=4)
    levels, accuracies = [], []
    for num in (12, 100):
        source, target = load(door, data, make_answers(data, num=num, sign=-1))
        outcome = transfer(SharedFeaturesConfig(), [source], target, seed=0)
        with_others, without = outcome.measured
        assert without.accuracy < 0.3
        levels.append(outcome.verdict.level)
        accuracies.append(with_others.accuracy)
    assert levels == ["distrust", "trust"]
    assert accuracies[1] > max(0.85, accuracies[0])


def test_a_pair_that_was_answered_twice_is_left_out_whole(door, make_data, make_answers):
    """Or else the one answer would foretell the other."""
    data = make_data("target", seed=4)
    source, target = load(door, data, make_answers(data, num=6))
    task = target.task
    twice = task.with_answers(task.b, task.a, 1 - task.prefers_b)
    outcome = transfer(SharedFeaturesConfig(), [source], replace(target, task=twice), seed=0)
    once = transfer(SharedFeaturesConfig(), [source], target, seed=0)
    (own, before) = ({e.truth: e for e in o.own}[OF_ANSWERS] for o in (outcome, once))
    assert own.num == 2 * before.num


def test_the_same_seed_gives_the_same(door, drawer):
    source, target = load(door, drawer)
    found = [transfer(SharedFeaturesConfig(), [source], target, seed=3) for _ in range(2)]
    assert (found[0].transferred.preferred == found[1].transferred.preferred).all()
    assert found[0].diagnosis == pytest.approx(found[1].diagnosis, nan_ok=True)


def test_answers_about_another_length_are_named(door, make_data, make_answers):
    data = make_data("target", seed=4)
    source = load_source(Place(door[0], str(door[1])), make_rng(0))
    place = Place(data, str(make_answers(data)))
    with pytest.raises(DataError) as error:
        load_target(place, make_rng(1), num_segments=30, length=15, like=source)
    assert str(error.value) == (
        f"Answers about '{data}' are about segments of 10 steps, and a transfer compares segments "
        "of one length, here 15. Leave out --segment-length, or give a store with answers about "
        "such segments."
    )


def test_a_large_source_is_drawn_from(door):
    place = Place(door[0], str(door[1]))
    whole, part = (load_source(place, make_rng(0), most_segments=n) for n in (1000, 12))
    assert len(whole.segments) > 25
    assert len(part.segments) <= 12
    assert set(part.preferences) < set(whole.preferences)
    assert len(part.task.a) == len(part.preferences) >= 6


def test_pairs_that_a_method_says_nothing_about_do_not_count_for_or_against_it():
    a, b = np.triu_indices(4, 1)
    truth = Truth("t", a, b, np.ones(6, bool))
    preferred = np.tril(np.ones((4, 4)), -1) + np.eye(4) / 2
    weight = np.ones((4, 4))
    weight[:, 3] = weight[3] = 0
    (found,) = truth.measure("m", Transferred(preferred, weight, preferred[None]))
    assert (found.num, found.accuracy) == (3, 1.0)
    nothing = Transferred(preferred, np.zeros((4, 4)), preferred[None])
    assert truth.measure("m", nothing) == []

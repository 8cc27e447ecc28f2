"""Tests for rapl.py: what it learns from a few rankings, what it keeps, and what it refuses.

Clips are ways across a plane, seen through a random matrix among loud distractors. People prefer
those that keep clear of the middle.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from robopref.errors import DataError
from robopref.frame_features import VIEWS
from robopref.preferences.preference import PairwiseView
from robopref.preferences.ranking import Ranking
from robopref.rewards.experts import choose_experts, sample_frames, win_shares
from robopref.rewards.rapl import RAPLConfig, RAPLPlusConfig
from robopref.types import STATE, SegmentBatch

FEATURES = 24


def clips(num, seed, *, length=30, detour=None, views=0):
    """Return clips and how good they are: how far they keep from the middle, and whether whole."""
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((8, FEATURES))
    detour = rng.uniform(0, 1, num) if detour is None else np.asarray(detour)
    lengths = rng.integers(length - 8, length + 1, num)
    features = np.zeros((num, length, FEATURES), np.float32)
    for i, n in enumerate(lengths):
        time = np.linspace(0, 1, n) ** rng.uniform(0.7, 1.4)
        where = np.stack([2 * time - 1, detour[i] * np.sin(np.pi * time)], 1)
        noise = 0.4 * np.repeat(rng.standard_normal((1, 6)), n, 0)
        noise += 0.05 * rng.standard_normal((n, 6))
        features[i, :n] = np.concatenate([where, noise], 1) @ mixing
    obs = {STATE: features}
    if views:
        obs[VIEWS] = features[:, :, None] + 0.1 * rng.standard_normal(
            (num, length, views, FEATURES)
        ).astype(np.float32)
    mask = np.arange(length) < lengths[:, None]
    return SegmentBatch(obs, np.zeros((num, length, 2), np.float32), mask), detour


def rankings(segments, quality, num, seed, items=3, mistakes=0.0):
    """Return the pairs of `num` rankings; a share of them is turned around."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(num):
        places = rng.choice(len(segments), items, replace=False)
        order = np.argsort(-quality[places])
        order = order[::-1] if rng.uniform() < mistakes else order
        answer = Ranking(items, tuple((int(i),) for i in order))
        rows += [(places[a], places[b], p) for a, b, p in answer.pairs()]
    a, b, p = (np.array(column) for column in zip(*rows, strict=True))
    names = tuple(f"episode-{i}" for i in range(len(segments)))
    ones = np.ones(len(rows), np.float32)
    return PairwiseView(segments, names, a, b, p.astype(np.float32), ones)


def short(config, steps=100):
    """Return the config with fewer steps, frames and members."""
    # A rate for few features: these are 24, not 1280.
    rate = 1e-2 if config.head_weight else config.fit.trainer.learning_rate
    trainer = dataclasses.replace(config.fit.trainer, num_steps=steps, learning_rate=rate)
    fit = dataclasses.replace(config.fit, trainer=trainer)
    members = min(config.num_members, 2)
    return dataclasses.replace(config, fit=fit, max_frames=12, num_members=members)


def fitted(config, view, seed=1):
    reward = config.build(FEATURES, 2)
    reward.fit(view, generator=torch.Generator().manual_seed(seed))
    return reward


def agreement(reward, segments, quality):
    """Return Kendall's tau of returns and quality."""
    returns = reward.segment_return(segments)
    pairs = list(itertools.combinations(range(len(quality)), 2))
    signs = [np.sign(returns[a] - returns[b]) * np.sign(quality[a] - quality[b]) for a, b in pairs]
    return float(np.mean(signs))


@pytest.fixture(scope="module")
def training():
    segments, quality = clips(24, 0, views=2)
    return segments, quality, rankings(segments, quality, 20, 1)


@pytest.fixture(scope="module")
def plus(training):
    return fitted(short(RAPLPlusConfig()), training[2])


def test_twenty_rankings_order_clips_that_were_never_seen(plus):
    segments, quality = clips(30, 7)
    assert agreement(plus, segments, quality) > 0.4


def test_it_learns_better_than_published_rapl_and_than_features_alone(training, plus):
    segments, quality = clips(30, 7)
    faithful = fitted(short(RAPLConfig()), training[2])
    features = fitted(short(RAPLPlusConfig(num_members=1), steps=1), training[2])
    assert agreement(plus, segments, quality) > agreement(faithful, segments, quality)
    # How far a clip has come says nothing here about how good it is.
    unordered = fitted(short(RAPLPlusConfig(order_weight=0.0)), training[2])
    found = agreement(unordered, segments, quality)
    assert found > agreement(features, segments, quality) + 0.1


def test_a_reversed_shuffled_or_half_clip_is_worse_than_one_at_another_speed(plus):
    good, _ = clips(8, 11, detour=np.full(8, 0.95))
    whole = plus.segment_return(good)
    rng = np.random.default_rng(0)
    for change in (
        lambda frames: frames[::-1],
        lambda frames: frames[rng.permutation(len(frames))],
        lambda frames: frames[: len(frames) // 2],
    ):
        features, mask = good.obs[STATE].copy(), good.mask.copy()
        for i, n in enumerate(good.lengths):
            changed = change(good.obs[STATE][i, :n])
            features[i, : len(changed)], mask[i, len(changed) :] = changed, False
        worse = plus.segment_return(SegmentBatch({STATE: features}, good.action, mask))
        assert (whole > worse).mean() >= 0.85


def test_a_fifth_of_the_rankings_turned_around_costs_little():
    segments, quality = clips(40, 5)
    right, noisy = (
        agreement(fitted(short(RAPLPlusConfig()), view), *clips(30, 7))
        for view in (
            rankings(segments, quality, 60, 2), rankings(segments, quality, 60, 2, mistakes=0.2)
        )
    )  # fmt: skip
    assert noisy > max(right - 0.15, 0.1)


def test_pairs_without_a_third_clip_are_enough(training):
    segments, quality, _ = training
    pairs = rankings(segments, quality, 40, 3, items=2)
    for config in (RAPLConfig(num_experts=3), RAPLPlusConfig()):
        reward = fitted(short(config), pairs)
        assert agreement(reward, segments, quality) > 0.2


def test_the_reward_drops_where_the_clip_goes_wrong(plus):
    """Two clips that part in the middle differ most there."""
    good, _ = clips(1, 3, detour=[0.9])
    bad, _ = clips(1, 3, detour=[0.0])
    gap = (plus.rewards(good) - plus.rewards(bad))[0, : int(good.lengths[0])]
    third = len(gap) // 3
    assert gap[third:-third].mean() > gap[:third].mean()


def test_members_disagree_more_about_what_nobody_compared(plus, training):
    segments = training[0]
    strange = SegmentBatch(
        {STATE: 3 * np.roll(segments.obs[STATE], 5, axis=2)}, segments.action, segments.mask
    )
    known, unknown = (plus.member_returns(s).std(axis=0).mean() for s in (segments, strange))
    assert unknown > known


@pytest.mark.parametrize(
    "change",
    [
        {"likelihood": "linear"}, {"expert_weight": 1.0}, {"cycle_weight": 0.1},
        {"view_weight": 0.1}, {"head_weight": 1.0},
        {"hidden_sizes": (16,)}, {"standardise": True},
        {"num_members": 3, "fit": dataclasses.replace(RAPLConfig().fit, bootstrap=True)},
    ],
)  # fmt: skip
def test_every_part_alone_changes_the_faithful_reward(training, change):
    faithful, changed = (
        fitted(short(dataclasses.replace(RAPLConfig(), **part), steps=8), training[2])
        for part in (dict[str, object](), change)
    )
    segments = training[0]
    returns = faithful.segment_return(segments), changed.segment_return(segments)
    assert np.isfinite(returns[1]).all()
    assert not np.allclose(*returns)


def test_a_part_that_is_off_leaves_the_faithful_reward_as_it_was(training):
    first, second = (fitted(short(RAPLConfig(), steps=8), training[2]) for _ in range(2))
    segments = training[0]
    assert np.array_equal(first.segment_return(segments), second.segment_return(segments))
    assert (first.distance_weight == 1).all()


def test_unlabelled_clips_are_used(training):
    config = short(dataclasses.replace(RAPLConfig(), cycle_weight=1.0), steps=8)
    returns = []
    for unlabelled in (None, clips(10, 5)[0]):
        reward = config.build(FEATURES, 2)
        reward.unlabelled = unlabelled
        reward.fit(training[2], generator=torch.Generator().manual_seed(1))
        returns.append(reward.segment_return(training[0]))
    assert not np.allclose(*returns)


def test_clips_of_one_frame_and_of_constant_pictures_are_scored(plus):
    segments, _ = clips(4, 2)
    segments.mask[0, 1:] = False
    segments.obs[STATE][1] = 0.0
    segments.obs[STATE][2] = segments.obs[STATE][2, :1]
    assert np.isfinite(plus.rewards(segments)).all()


def test_what_cannot_be_learned_from_is_refused(training):
    segments, _, view = training
    reward = short(RAPLPlusConfig()).build(FEATURES, 2)
    generator = torch.Generator().manual_seed(0)
    with pytest.raises(ValueError) as error:
        reward.fit(
            dataclasses.replace(view, prefers_b=view.prefers_b * 0 + 0.5), generator=generator
        )
    assert str(error.value) == (
        f"`preferences` must hold at least 1 pair with a winner, got {len(view)} ties. "
        "Answer more queries."
    )
    spoiled = dict(segments.obs)
    spoiled[STATE] = segments.obs[STATE].copy()
    spoiled[STATE][3, 2] = np.nan
    bad = dataclasses.replace(view, segments=SegmentBatch(spoiled, segments.action, segments.mask))
    with pytest.raises(DataError) as broken:
        reward.fit(bad, generator=generator)
    assert "is not finite at step 2 of segment 3" in str(broken.value)
    with pytest.raises(ValueError) as error:
        RAPLConfig(fit=dataclasses.replace(RAPLConfig().fit, mistake_rate=0.1))
    assert str(error.value) == ("`fit.mistake_rate` is not for RAPL. Use `fit.label_smoothing`.")


def test_answers_that_contradict_each_other_leave_no_side_better(training):
    segments, quality, view = training
    both = dataclasses.replace(
        view,
        a=np.concatenate([view.a, view.a]),
        b=np.concatenate([view.b, view.b]),
        prefers_b=np.concatenate([view.prefers_b, 1 - view.prefers_b]),
        weight=np.concatenate([view.weight, view.weight]),
    )
    reward = fitted(short(RAPLPlusConfig()), both)
    assert abs(agreement(reward, segments, quality)) < 0.5


def test_experts_are_those_that_win_and_frames_are_thinned_evenly():
    segments, quality = clips(12, 0)
    view = rankings(segments, quality, 30, 1)
    places = choose_experts(view, 3)
    assert quality[places].mean() > np.sort(quality)[-5]
    assert win_shares(view)[places[0]] == win_shares(view).max()
    features = torch.arange(20.0)[None, :, None].expand(2, -1, 1)
    mask = torch.arange(20) < torch.tensor([[20], [3]])
    thin, kept = sample_frames(features, mask, 5)
    assert thin[0, :, 0].tolist() == [0, 5, 10, 14, 19]
    assert kept.tolist() == [[True] * 5, [True] * 3 + [False] * 2]
    assert thin[1, :3, 0].tolist() == [0, 1, 2]

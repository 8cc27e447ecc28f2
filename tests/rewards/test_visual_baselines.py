"""Tests for visual_rlhf.py, visual_set.py and visual_matching.py, on clips with a known order.

Clips are ways across a plane in a few noisy features; people prefer those far from the middle.
"""

import dataclasses
import itertools

import numpy as np
import pytest
import torch

from robopref.frame_features import VIEWS
from robopref.preferences.preference import PairwiseView
from robopref.rewards import REWARDS
from robopref.rewards.frame_reward import draw_views
from robopref.rewards.rapl_fit import cycle_term, thinned
from robopref.rewards.visual_rlhf import VisualRLHFConfig
from robopref.types import STATE, SegmentBatch

FEATURES = 12


def clips(num, seed, views=0):
    rng = np.random.default_rng(seed)
    mixing = np.random.default_rng(0).standard_normal((5, FEATURES))
    quality = rng.uniform(0, 1, num)
    time = np.linspace(0, 1, 16)
    features = np.zeros((num, 16, FEATURES), np.float32)
    for i in range(num):
        where = np.stack([2 * time - 1, quality[i] * np.sin(np.pi * time)], 1)
        noise = np.repeat(0.2 * rng.standard_normal((1, 3)), 16, 0)
        features[i] = np.concatenate([where, noise], 1) @ mixing
    obs = {STATE: features}
    if views:
        obs[VIEWS] = np.repeat(features[:, :, None], views, 2) + 0.05
    return SegmentBatch(obs, np.zeros((num, 16, 2), np.float32), np.ones((num, 16), bool)), quality


def compared(num, seed, views=0):
    segments, quality = clips(num, seed, views)
    pairs = np.array(list(itertools.combinations(range(num), 2)))
    pairs = np.random.default_rng(seed).permutation(pairs)[: 4 * num]
    prefers_b = (quality[pairs[:, 1]] > quality[pairs[:, 0]]).astype(np.float32)
    names = tuple(f"episode-{i}" for i in range(num))
    ones = np.ones(len(pairs), np.float32)
    return PairwiseView(segments, names, pairs[:, 0], pairs[:, 1], prefers_b, ones)


def fitted(name, view, **trainer):
    config = REWARDS.config_class(name)()
    changed = dataclasses.replace(config.fit.trainer, **trainer)
    config = dataclasses.replace(config, fit=dataclasses.replace(config.fit, trainer=changed))
    reward = config.build(FEATURES, 2)
    reward.fit(view, generator=torch.Generator().manual_seed(0))
    return reward


def accuracy(reward, segments, quality):
    returns = reward.segment_return(segments)
    pairs = list(itertools.combinations(range(len(quality)), 2))
    return np.mean([(returns[a] > returns[b]) == (quality[a] > quality[b]) for a, b in pairs])


@pytest.fixture(scope="module")
def view():
    return compared(24, 0)


@pytest.mark.parametrize("name", ["visual-rlhf", "visual-set"])
def test_comparisons_teach_what_people_prefer(name, view):
    reward = fitted(name, view, learning_rate=1e-2)
    assert accuracy(reward, *clips(30, 7)) > 0.8


@pytest.mark.parametrize("name", ["visual-imagenet-ot", "visual-temporal-ot", "visual-tcc-ot"])
def test_matching_preferred_clips_is_better_than_chance(name, view):
    reward = fitted(name, view)
    assert accuracy(reward, *clips(30, 7)) > 0.6


def test_imagenet_ot_compares_features_as_they_are(view):
    reward = fitted("visual-imagenet-ot", view)
    features = torch.randn(3, 4, FEATURES)
    assert torch.equal(reward.embed(features)[0], features)
    assert (reward.expert_mask.sum(1) == 16).all()


def test_tcc_lowers_the_loss_of_cycles(view):
    losses = []
    for steps in (1, 150):
        reward = fitted("visual-tcc-ot", view, num_steps=steps)
        inputs = thinned(reward._prepare(view.segments), None, 16)
        with torch.no_grad():
            losses.append(float(cycle_term(reward, inputs, torch.Generator().manual_seed(3))))
    assert losses[1] < 0.9 * losses[0]


def test_rlhf_returns_do_not_grow_with_length(view):
    reward = fitted("visual-rlhf", view)
    segments, _ = clips(4, 3)
    twice = SegmentBatch(
        {STATE: np.repeat(segments.obs[STATE], 2, 1)},
        np.repeat(segments.action, 2, 1),
        np.repeat(segments.mask, 2, 1),
    )
    expected = reward.segment_return(segments)
    assert reward.segment_return(twice) == pytest.approx(expected, abs=1e-5)


def test_views_are_seen_in_training_and_not_in_validation():
    view = compared(8, 0, views=3)
    reward = VisualRLHFConfig().build(FEATURES, 2)
    objective = reward._objective(view, None)
    batch = {"pair": torch.arange(len(view))}
    drawn = {
        float(objective(batch, torch.Generator().manual_seed(s))[0].detach()) for s in range(3)
    }
    assert len(drawn) > 1
    assert objective.validate() == objective.validate()
    features = torch.zeros(50, 2, 1)
    seen = draw_views(features, torch.ones(50, 2, 3, 1), torch.Generator().manual_seed(0))
    assert torch.equal(seen[:, 0], seen[:, 1])
    assert 0.5 < float(seen.mean()) < 0.95

"""Tests for rapl_match.py: which frames of a preferred clip a reward matches."""

import numpy as np
import pytest
import torch

from robopref.rewards.clip_distance import ClipDistanceConfig, Clips, alignment
from robopref.rewards.rapl import RAPLConfig, RAPLPlusConfig
from robopref.rewards.rapl_match import embed_frames, match
from robopref.types import STATE, SegmentBatch

FRAMES, FEATURES = 12, 5


def make_clip(features):
    num = len(features)
    action = np.zeros((1, num, 2), np.float32)
    return SegmentBatch({STATE: features[None]}, action, np.ones((1, num), bool))


@pytest.fixture
def way(rng):
    return rng.standard_normal((FRAMES, FEATURES)).astype(np.float32)


def comparing_with(way, config):
    """Return an untrained reward whose second preferred clip is the given one."""
    reward = config.build(FEATURES, 2)
    other = torch.from_numpy(way).flip(1) + 3.0
    reward.experts[:2, : len(way)] = torch.stack([other, torch.from_numpy(way)])
    reward.expert_mask[:2, : len(way)] = True
    return reward


ORDERED = RAPLPlusConfig(num_members=2, max_frames=FRAMES)


def test_a_clip_matches_itself_frame_by_frame_and_in_order(way):
    found = match(comparing_with(way, ORDERED), make_clip(way))
    assert found.plan.shape == (FRAMES, FRAMES)
    np.testing.assert_allclose(found.plan.sum(1), 1.0, rtol=1e-5)
    assert (found.plan.argmax(1) == np.arange(FRAMES)).all()
    np.testing.assert_allclose(found.frames, found.expert, atol=1e-5)
    assert found.steps.tolist() == list(range(FRAMES))
    # Turned around it is matched as well as order allows, which is not backwards.
    turned = match(comparing_with(way, ORDERED), make_clip(way[::-1].copy()))
    assert (np.diff(turned.plan @ np.arange(FRAMES)) >= -1e-6).all()


def test_published_rapl_blurs_and_does_not_see_order(way):
    reward = comparing_with(way, RAPLConfig())
    found, turned = (match(reward, make_clip(seen)) for seen in (way, way[::-1].copy()))
    np.testing.assert_allclose(turned.plan, found.plan[::-1], atol=1e-5)
    entropy = -(found.plan * np.log(found.plan)).sum(1) / np.log(FRAMES)
    assert entropy.min() > 0.7


def test_long_clips_are_thinned_and_say_which_steps_are_left(way):
    long = np.repeat(way, 3, axis=0)
    found = match(comparing_with(way, ORDERED), make_clip(long))
    assert len(found.steps) == len(found.plan) == FRAMES
    assert found.steps[0] == 0
    assert found.steps[-1] == len(long) - 1
    reward = comparing_with(way, ORDERED)
    np.testing.assert_allclose(embed_frames(reward, long)[found.steps], found.frames, atol=1e-5)


def test_nothing_to_match_with_is_refused(way):
    with pytest.raises(ValueError) as error:
        match(ORDERED.build(FEATURES, 2), make_clip(way))
    assert str(error.value) == ("The reward has no preferred clips to compare with. Fit it first.")
    with pytest.raises(ValueError) as error:
        match(comparing_with(way, ORDERED), make_clip(way)[np.array([0, 0])])
    assert str(error.value) == "`clip` must hold one segment, got 2."
    clips = Clips(torch.from_numpy(way)[None], torch.ones(1, FRAMES, dtype=torch.bool))
    with pytest.raises(ValueError) as error:
        alignment(clips, clips, ClipDistanceConfig("coverage"))
    assert str(error.value) == (
        "`kind` 'coverage' says how much of a clip is covered, and matches no frames. Take "
        "'transport' or 'soft-dtw'."
    )

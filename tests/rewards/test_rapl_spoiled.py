"""Tests for rapl_spoiled.py and rapl_head.py: what is learned without asking anyone."""

from typing import Any

import pytest
import torch

from robopref.rewards.clip_distance import Clips
from robopref.rewards.rapl import RAPLPlusConfig
from robopref.rewards.rapl_head import MIN_GAP, order_loss
from robopref.rewards.rapl_spoiled import copies, least_weight

FRAMES, FEATURES = 20, 6


def test_copies_hold_frames_of_the_clip_and_nothing_else():
    clip = torch.arange(10.0)[:, None]
    slow, back, shuffled, half = copies(clip, torch.Generator().manual_seed(0))
    assert torch.equal(back, clip.flip(0))
    assert torch.equal(shuffled.sort(0).values, clip)
    assert not torch.equal(shuffled, clip)
    assert torch.equal(half, clip[:5])
    assert (torch.diff(slow, dim=0) >= 0).all()
    assert float(slow[0]) == 0
    assert float(slow[-1]) == 9
    assert (slow[1:-1] < clip[1:-1]).any()
    assert len(copies(clip[:1], torch.Generator())[3]) == 1


def reward_on(clips, experts):
    """Return an untrained reward that compares with the first clips."""
    config = RAPLPlusConfig(num_members=2, num_experts=experts, max_frames=FRAMES)
    reward = config.build(FEATURES, 2)
    reward.experts.copy_(clips.frames[:experts])
    reward.expert_mask.copy_(clips.mask[:experts])
    return reward


@pytest.fixture
def clips():
    """Return clips that go the same way through features, with some noise."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randn(4, FEATURES, generator=generator)
    time = torch.linspace(0, 3, FRAMES)
    left = time.long().clamp_max(2)
    way = corners[left].lerp(corners[left + 1], (time - left)[:, None])
    frames = way + 0.3 * torch.randn(12, 1, FEATURES, generator=generator)
    return Clips(frames, torch.ones(12, FRAMES, dtype=torch.bool))


def worse(reward, clips, weight):
    """Return the share of spoiled copies of new clips that are worse than at another speed."""
    reward.distance_weight.copy_(weight)
    generator = torch.Generator().manual_seed(1)
    found = []
    for clip in clips.frames[6:]:
        returns = []
        for copy in copies(clip, generator)[:3]:
            mask = torch.ones(1, len(copy), dtype=torch.bool)
            returns.append(reward.compute_returns({"features": copy[None], "mask": mask})[:, 0])
        found += [returns[0] > returns[1], returns[0] > returns[2]]
    return torch.stack(found).float().mean(0)


@torch.no_grad()
def test_the_weight_is_the_least_that_spoiled_copies_need(clips):
    reward = reward_on(clips, 3)
    # A head that likes ends, so that copies that are slow at first are worse by themselves.
    numbers = reward.numbers(reward.embed(clips.frames)).mean(1)
    for parameter in reward.head.parameters():
        parameter.mul_((numbers[:, -1:] - numbers[:, :1]).sign()[..., None])
    places = torch.arange(6)
    weights = [least_weight(reward, clips, places, share) for share in (0.0, 0.5, 1.0)]
    assert (weights[0] == 0).all()
    assert (weights[1] <= weights[2]).all()
    assert (weights[2] > 0).all()
    none, all_ = (worse(reward, clips, w) for w in (weights[0], 1e3 * weights[2]))
    assert (all_ > none).all()
    assert (all_ > 0.9).all()


@torch.no_grad()
def test_the_weight_never_lets_distances_differ_more_than_the_head(clips):
    reward = reward_on(clips, 3)
    for layer in reward.head.parameters():
        layer.mul_(1e3)
    much = least_weight(reward, clips, torch.arange(6), 1.0)
    embedded = reward.embed(clips.frames)
    distance = reward.expert_distances(Clips(embedded, clips.mask))[0].amin(2)
    returns = reward.numbers(embedded).mean(2)
    spread = much * distance.std(1, correction=0)
    assert (spread <= returns.std(1, correction=0) * (1 + 1e-5)).all()


@torch.no_grad()
def test_one_preferred_clip_is_enough(clips):
    reward = reward_on(clips, 1)
    weight = least_weight(reward, clips, torch.arange(1), 1.0)
    assert torch.isfinite(weight).all()


def test_rising_numbers_are_in_order_and_padding_does_not_count():
    rising = 3 * torch.arange(8.0).expand(2, 3, 8)
    mask = torch.ones(3, 8, dtype=torch.bool)
    good, bad = (float(order_loss(x, mask)[0]) for x in (rising, -rising))
    assert good < 1e-3 < 3 * MIN_GAP < bad
    mask[:, 5:] = False
    spoiled = rising.clone()
    spoiled[..., 5:] = -1e3
    assert float(order_loss(spoiled, mask)[0]) < 1e-3
    assert (order_loss(rising, mask & False) == 0).all()


@pytest.mark.parametrize("part", ["order_weight", "smooth_weight", "denoise"])
def test_parts_without_a_head_are_refused(part):
    changes: dict[str, Any] = dict.fromkeys(("order_weight", "smooth_weight", "denoise"), 0.0)
    changes[part] = 0.1
    with pytest.raises(ValueError) as error:
        RAPLPlusConfig(head_weight=0.0, **changes)
    assert str(error.value) == (
        "`order_weight`, `smooth_weight` and `denoise` are for the numbers of frames. "
        "Set `head_weight` above 0."
    )

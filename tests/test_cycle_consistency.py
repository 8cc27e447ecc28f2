"""Tests for cycle_consistency.py."""

import pytest
import torch

from robopref.cycle_consistency import cycle_loss


def path(num, seed=0, size=6):
    return torch.randn(1, num, size, generator=torch.Generator().manual_seed(seed)).cumsum(1)


def real(num, length=None):
    return torch.arange(num)[None] < (num if length is None else length)


def test_clips_of_one_thing_have_a_lower_loss_than_clips_of_two():
    clip, other = path(20), path(20, seed=1)
    slower = clip.repeat_interleave(2, 1)
    same = float(cycle_loss(clip, real(20), slower, real(40)))
    assert same < float(cycle_loss(clip, real(20), other, real(20))) / 2


def test_padding_counts_nothing():
    clip, other = path(12), path(15, seed=1)
    expected = float(cycle_loss(clip[:, :7], real(7), other[:, :9], real(9)))
    assert float(cycle_loss(clip, real(12, 7), other, real(15, 9))) == pytest.approx(expected, 1e-5)


def test_it_teaches_an_embedding_to_forget_what_is_not_progress():
    """Two views of the same progress differ by a constant, which the embedding learns to drop."""
    time = torch.linspace(0, 3, 20)[:, None]
    progress = torch.cat([time.sin(), time.cos()], 1)
    clips = [torch.cat([progress, torch.full((20, 1), x)], 1)[None] for x in (4.0, -4.0)]
    weight = torch.eye(3).requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=0.05)
    losses = []
    for _ in range(80):
        first, second = (clip @ weight for clip in clips)
        loss = cycle_loss(first, real(20), second, real(20)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0] / 5


def test_a_clip_of_one_frame_has_no_loss_to_speak_of():
    loss = cycle_loss(path(1), real(1), path(1, seed=1), real(1))
    assert torch.isfinite(loss).all()

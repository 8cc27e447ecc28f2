"""Tests for total_variation.py: what it keeps, what it takes off, and that nothing is better."""

import torch

from robopref.total_variation import denoise

GENERATOR = torch.Generator().manual_seed(0)
STEPS = torch.tensor([0.0] * 8 + [1.0] * 8 + [-0.5] * 4)
NOISY = STEPS + 0.05 * torch.randn(3, 20, generator=GENERATOR)
REAL = torch.ones(3, 20, dtype=torch.bool)


def test_steps_stay_and_noise_goes():
    flat = denoise(NOISY, REAL, torch.full((3,), 0.2))
    assert (flat - STEPS).abs().mean() < (NOISY - STEPS).abs().mean()
    assert torch.diff(flat[:, :8]).abs().max() < 1e-3
    assert (torch.diff(flat)[:, 7] > 0.8).all()


def test_sums_stay_and_padding_is_neither_read_nor_written():
    mask = REAL.clone()
    mask[1, 12:] = False
    values = NOISY.clone()
    values[1, 12:] = 1e6
    flat = denoise(values, mask, torch.full((3,), 0.3))
    torch.testing.assert_close(flat[mask].sum(), values[mask].sum())
    torch.testing.assert_close(flat[1, :12].sum(), values[1, :12].sum())
    assert torch.equal(flat[1, 12:], values[1, 12:])
    alone = denoise(values[1:2, :12], REAL[1:2, :12], torch.tensor([0.3]))
    torch.testing.assert_close(flat[1:2, :12], alone)


def test_strength_is_of_each_clip_and_none_changes_nothing():
    flat = denoise(NOISY, REAL, torch.tensor([0.0, 0.1, 1e3]))
    assert torch.equal(flat[0], NOISY[0])
    assert not torch.allclose(flat[1], NOISY[1])
    assert torch.diff(flat[1]).abs().sum() < torch.diff(NOISY[1]).abs().sum()
    only = denoise(NOISY[:, :1], REAL[:, :1], torch.ones(3))
    assert torch.equal(only, NOISY[:, :1])


def test_nothing_near_has_a_lower_objective():
    strength = 0.1

    def objective(y):
        fit = 0.5 * (y - NOISY).square().sum(1)
        return fit + strength * torch.diff(y).abs().sum(1)

    best = denoise(NOISY, REAL, torch.full((3,), strength))
    for size in (0.1, 0.01):
        for _ in range(50):
            other = best + size * torch.randn(best.shape, generator=GENERATOR)
            assert (objective(other) >= objective(best) - 1e-4).all()

"""Tests for frame_costs.py."""

import pytest
import torch

from robopref.frame_costs import frame_costs, pair_mask, progress, windowed


@pytest.fixture
def clips(rng):
    return [torch.from_numpy(rng.standard_normal((2, n, 6))) for n in (5, 4)]


def test_costs_are_those_of_torch(clips):
    first, second = clips
    cosine = torch.nn.functional.cosine_similarity(first[:, :, None], second[:, None], dim=-1)
    assert frame_costs(first, second) == pytest.approx(1 - cosine)
    distance = torch.cdist(first, second)
    assert frame_costs(first, second, "euclidean") == pytest.approx(distance)
    assert frame_costs(first, second, "squared") == pytest.approx(distance.square() / 2)


@pytest.mark.parametrize("metric", ["cosine", "euclidean", "squared"])
def test_black_and_equal_frames_have_finite_costs_and_gradients(metric):
    frames = torch.zeros(1, 3, 4).requires_grad_()
    cost = frame_costs(frames, frames, metric)
    cost.sum().backward()
    assert torch.isfinite(cost).all()
    assert frames.grad is not None
    assert torch.isfinite(frames.grad).all()


def test_a_band_leads_from_start_to_end_whatever_the_lengths():
    first = torch.arange(40) < torch.tensor([[40], [10]])
    second = torch.arange(20) < torch.tensor([[20], [20]])
    allowed = pair_mask(first, second, band=1)
    for i, (n, j) in enumerate([(40, 20), (10, 20)]):
        real = allowed[i, :n, :j]
        assert real[0, 0]
        assert real[-1, -1]
        assert real.any(0).all()
        assert real.any(1).all()
        assert not real[0, -1]
        assert int(allowed[i].sum()) == int(real.sum())
    assert pair_mask(first, second, band=100).sum() == 40 * 20 + 10 * 20


def test_progress_goes_from_0_to_1_over_the_real_frames():
    found = progress(torch.tensor([[True, True, True, False], [True, False, False, False]]))
    assert found.tolist() == [[0, 0.5, 1, 1], [0, 1, 1, 1]]


def test_a_window_averages_what_comes_next_and_stops_at_the_end(rng):
    cost = torch.from_numpy(rng.standard_normal((1, 4, 5)))
    allowed = torch.ones(1, 4, 5, dtype=torch.bool)
    allowed[:, :, 4] = False
    found = windowed(cost.masked_fill(~allowed, torch.nan), allowed, 3)[0]
    assert float(found[0, 0]) == pytest.approx(float((cost[0, [0, 1, 2], [0, 1, 2]]).mean()))
    assert float(found[1, 2]) == pytest.approx(float((cost[0, [1, 2], [2, 3]]).mean()))
    assert float(found[3, 3]) == pytest.approx(float(cost[0, 3, 3]))
    assert torch.equal(windowed(cost, allowed, 1), cost)

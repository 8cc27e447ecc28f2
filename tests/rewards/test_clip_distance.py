"""Tests for clip_distance.py: what each way of comparing clips can and cannot tell apart.

The table is that of published RAPL's weakness: a plan that is nearly uniform, and no order.
"""

import itertools

import pytest
import torch

from robopref.frame_costs import frame_costs
from robopref.rewards.clip_distance import ClipDistanceConfig, Clips, clip_distances
from robopref.rewards.rapl import RAPLConfig, RAPLPlusConfig

FAITHFUL = RAPLConfig().distance
PLUS = RAPLPlusConfig().distance
ORDERED = {
    "plus": PLUS,
    "plus, longer smoothing": ClipDistanceConfig("soft-dtw", smoothing=0.1, debiased=True),
    "coverage": ClipDistanceConfig("coverage", smoothing=0.1, context=3),
}
EVERY = {
    "faithful": FAITHFUL,
    "divergence": ClipDistanceConfig(smoothing=0.05, debiased=True),
    "temporal": ClipDistanceConfig(smoothing=0.01, context=3, band=10),
    "gap": ClipDistanceConfig(smoothing=0.05, time_gap=0.5, metric="squared"),
    **ORDERED,
}


@pytest.fixture
def rollouts():
    """Return clips by name: a smooth way through 32 dimensions, and four others of it."""
    generator = torch.Generator().manual_seed(0)
    corners = torch.randn(6, 32, generator=generator)

    def way(times):
        left = (times * 5).long().clamp_max(4)
        share = (times * 5 - left)[:, None]
        return corners[left] * (1 - share) + corners[left + 1] * share

    times = torch.linspace(0, 1, 45)
    return {
        "same": way(times),
        "other speed": way(times**1.5),
        "reversed": way(times).flip(0),
        "shuffled": way(times)[torch.randperm(45, generator=generator)],
        "half": way(times * 0.5),
    }


def distances(rollouts, config):
    expert = clip(rollouts["same"])
    return {
        name: float(clip_distances(clip(frames), expert, config)[0])
        for name, frames in rollouts.items()
    }


def clip(*frames):
    return Clips(torch.stack(frames), torch.ones(len(frames), len(frames[0]), dtype=torch.bool))


@pytest.mark.parametrize("name", ORDERED)
def test_wrong_order_and_half_a_task_are_further_than_another_speed(rollouts, name):
    found = distances(rollouts, ORDERED[name])
    assert found["same"] == pytest.approx(0, abs=1e-4)
    for wrong in ("reversed", "shuffled", "half"):
        assert found[wrong] > found["other speed"] + 0.02, found


def test_published_rapl_puts_a_reversed_clip_before_one_of_another_speed(rollouts):
    found = distances(rollouts, FAITHFUL)
    assert found["same"] > 0.2
    assert found["reversed"] == pytest.approx(found["same"], abs=1e-4)
    assert found["shuffled"] == pytest.approx(found["same"], abs=1e-4)
    assert found["other speed"] > found["reversed"]


@pytest.mark.parametrize("name", EVERY)
def test_parts_sum_to_the_distance_and_padding_has_none(rollouts, name):
    lengths = torch.tensor([45, 20, 1])
    mask = torch.arange(45) < lengths[:, None]
    frames = torch.stack([rollouts[n] for n in ("other speed", "reversed", "half")])
    frames[~mask] = torch.nan
    second = Clips(frames.nan_to_num(3.0), mask).at(torch.tensor([1, 2, 0]))
    distance, parts = clip_distances(Clips(frames.nan_to_num(7.0), mask), second, EVERY[name])
    assert parts.sum(1) == pytest.approx(distance, abs=1e-5)
    assert (parts[~mask] == 0).all()
    for i, j in ((0, 20), (1, 1), (2, 45)):
        alone = clip_distances(
            clip(frames[i, : lengths[i]]), clip(second.frames[i, :j]), EVERY[name]
        )
        assert float(distance[i]) == pytest.approx(float(alone[0]), abs=1e-4)


@pytest.mark.parametrize("name", EVERY)
def test_gradients_reach_the_embedding_and_are_finite(rollouts, name):
    frames = rollouts["half"].clone().requires_grad_()
    clip_distances(clip(frames), clip(rollouts["other speed"]), EVERY[name])[0].sum().backward()
    assert torch.isfinite(frames.grad).all()
    assert frames.grad.abs().max() > 1e-6


def test_debiased_distances_are_symmetric_and_never_below_0(rollouts):
    for config in (EVERY["divergence"], EVERY["plus, longer smoothing"]):
        for a, b in itertools.combinations(rollouts.values(), 2):
            there = float(clip_distances(clip(a), clip(b), config)[0])
            back = float(clip_distances(clip(b), clip(a), config)[0])
            assert there == pytest.approx(back, abs=1e-4)
            assert there > -1e-5


def test_the_faithful_distance_is_the_cost_of_the_blurred_plan_of_pot(rollouts):
    import ot

    cost = frame_costs(rollouts["half"], rollouts["same"])
    plan = torch.from_numpy(ot.sinkhorn([], [], cost.double().numpy(), 1.0, stopThr=1e-10))
    expected = float((plan * cost).sum())
    distance, parts = clip_distances(clip(rollouts["half"]), clip(rollouts["same"]), FAITHFUL)
    assert float(distance) == pytest.approx(expected, abs=1e-5)
    assert parts[0].double() == pytest.approx((plan * cost).sum(1), abs=1e-6)


def test_what_is_refused():
    with pytest.raises(ValueError) as error:
        ClipDistanceConfig("coverage", debiased=True)
    assert str(error.value) == (
        "`debiased` does not go with `kind` 'coverage': a clip covers itself already."
    )
    empty = Clips(torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.bool))
    for config in (FAITHFUL, PLUS):
        with pytest.raises(ValueError) as error:
            clip_distances(empty, clip(torch.ones(3, 2)), config)
        assert str(error.value) == "`allowed` must leave each pair a cell: a clip has no frames."

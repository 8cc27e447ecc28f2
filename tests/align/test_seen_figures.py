"""Tests for align/seen_figures.py and report_seen.py: what a report shows of a visual reward."""

import numpy as np
import pytest

from robopref.align.report_seen import seen_by_reward
from robopref.align.seen_figures import NUM_PICTURES, clip_figure, map_figure


@pytest.fixture
def pictures(rng):
    return rng.integers(0, 255, (NUM_PICTURES, 16, 16, 3), dtype=np.uint8)


def test_a_clip_has_its_pictures_its_reward_and_what_it_matches(pictures):
    reward, spread = np.linspace(0, 1, 30), np.full(30, 0.1)
    plan = np.eye(10, 8) + 0.01
    steps = np.arange(0, 30, 3)
    with_plan = clip_figure(pictures, reward, spread, matched=(steps, plan), title="after, liked")
    without = clip_figure(pictures, reward, spread)
    for svg in (with_plan, without):
        assert svg.startswith("<svg")
        assert "image/png" in svg
    assert with_plan.count("<image") == without.count("<image")
    assert len(with_plan) > len(without)
    assert with_plan == clip_figure(
        pictures, reward, spread, matched=(steps, plan), title="after, liked"
    )


def test_a_clip_of_one_step_is_drawn(pictures):
    svg = clip_figure(
        pictures[:1], np.zeros(1), np.zeros(1), matched=(np.zeros(1, int), np.ones((1, 4)))
    )
    assert svg.startswith("<svg")


@pytest.mark.parametrize("size", [1, 2, 6])
def test_a_map_is_drawn_in_any_number_of_dimensions(size, rng):
    ways = {name: [rng.standard_normal((5, size)) for _ in range(3)] for name in "ab"}
    assert map_figure(ways, [rng.standard_normal((4, size))]).startswith("<svg")


def test_a_reward_of_states_sees_nothing(finished):
    assert seen_by_reward(finished, {}, None) is None

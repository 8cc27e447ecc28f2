"""How long visual rewards take: to learn from 30 rankings, and to judge a clip of 45 frames.

Features are those of EfficientNet-Lite0 at 112 pixels, three members, the default settings. Times
are of the wall; processor seconds stand beside them, for machines that are shared.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.timing import figure
from robopref.frame_features import FeatureCache
from robopref.preferences.preference import PairwiseView
from robopref.rewards.rapl import RAPLConfig, RAPLPlusConfig
from robopref.rewards.visual_features import SeenReward
from robopref.seeding import make_generator, make_rng
from robopref.types import STATE, SegmentBatch
from robopref.visual_encoders import FrameEncoderConfig

FRAMES, RANKINGS = 45, 30
CAMERA = "observation.images.top"
FIT_S, SEEN_S, CACHED_S = 30.0, 0.25, 0.02
"""At most."""


def run(quick: bool) -> dict[str, Any]:
    """Fit, and judge a clip with and without its features at hand."""
    rounds = 3 if quick else 10
    view = _rankings()
    clip = view.segments[:1]
    figures, processor = {}, {}
    for name, config in (("faithful", RAPLConfig()), ("plus", RAPLPlusConfig())):
        reward = config.build(1280, 2)
        times = _times(partial(reward.fit, view, generator=make_generator(0)), 1)
        figures[f"fit_{name}_s"] = figure([times[0][0]], floor=FIT_S, at_most=True)
        processor[f"fit_{name}_s"] = times[0][1]
        times = _times(partial(reward.rewards, clip), rounds)
        figures[f"cached_{name}_s"] = figure([t[0] for t in times], floor=CACHED_S, at_most=True)
        processor[f"cached_{name}_s"] = min(t[1] for t in times)
    seen = SeenReward(reward, FeatureCache(FrameEncoderConfig().build()), CAMERA)
    frames = make_rng(0, "frames").integers(0, 256, (1, FRAMES, 112, 112, 3), dtype=np.uint8)
    pictures = SegmentBatch({CAMERA: frames}, clip.action, clip.mask)
    times = _times(partial(seen.rewards, pictures), rounds)
    figures["seen_plus_s"] = figure([t[0] for t in times], floor=SEEN_S, at_most=True)
    processor["seen_plus_s"] = min(t[1] for t in times)
    return {"figures": figures, "processor_s": processor, "threads": torch.get_num_threads()}


def _rankings() -> PairwiseView:
    """Return three pairs of each of 30 rankings over 60 clips of random features."""
    rng = make_rng(0, "rankings")
    features = rng.standard_normal((60, FRAMES, 1280)).astype(np.float32).cumsum(1)
    segments = SegmentBatch(
        {STATE: features}, np.zeros((60, FRAMES, 2), np.float32), np.ones((60, FRAMES), bool)
    )
    places = np.stack([rng.permutation(60)[:3] for _ in range(RANKINGS)])
    a, b = places[:, [0, 0, 1]].ravel(), places[:, [1, 2, 2]].ravel()
    zeros, ones = np.zeros(len(a), np.float32), np.ones(len(a), np.float32)
    return PairwiseView(segments, tuple(str(i) for i in range(60)), a, b, zeros, ones)


def _times(work: Callable[[], Any], rounds: int) -> list[tuple[float, float]]:
    """Return the wall and processor seconds of each round, after one that is not counted."""
    found = []
    if rounds > 1:
        work()
    for _ in range(rounds):
        start = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return found

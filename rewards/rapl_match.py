"""What RAPL sees of one clip: where its frames lie, and which preferred frames they match.

Shapes: L steps of the clip, N frames of it that are compared, J frames of the preferred one,
E embedding size, Do features.
"""

from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from robopref.rewards.clip_distance import Clips, alignment
from robopref.rewards.experts import sample_frames
from robopref.types import STATE, SegmentBatch


class Match(NamedTuple):
    """A clip beside the nearest of the preferred ones, as the first member sees them.

    Args:
        steps: Which steps of the clip are compared, (N,).
        frames: Embedding of these, (N, E).
        expert: Embedding of the preferred clip's frames, (J, E).
        plan: How far each is matched with each, (N, J); each row sums to one.
    """

    steps: np.ndarray
    frames: np.ndarray
    expert: np.ndarray
    plan: np.ndarray


@torch.no_grad()
def match(reward: Any, clip: SegmentBatch) -> Match:
    """Return what a RAPL reward sees of one clip.

    Raises:
        ValueError: It is not one clip, or the reward knows no preferred clips.
    """
    if len(clip) != 1:
        raise ValueError(f"`clip` must hold one segment, got {len(clip)}.")
    used = reward.expert_mask.any(1)
    if not bool(used.any()):
        raise ValueError("The reward has no preferred clips to compare with. Fit it first.")
    state, action, mask = map(torch.from_numpy, (clip.obs[STATE], clip.action, clip.mask))
    inputs = reward.prepare(state, action, mask)
    features, real = sample_frames(inputs["features"], mask, reward.config.max_frames)
    every = torch.arange(mask.shape[1], dtype=torch.float32)[None]
    steps, _ = sample_frames(every, mask, reward.config.max_frames)
    seen = Clips(reward.embed(features), real)
    nearest = int(reward.expert_distances(seen)[0][0, 0].argmin())
    expert_mask = reward.expert_mask[used][nearest]
    expert = reward.embed(reward.experts[used][nearest, expert_mask])[0]
    first = Clips(seen.frames[0, :, real[0]], real[:, real[0]])
    second = Clips(expert[None], torch.ones(1, len(expert), dtype=torch.bool))
    plan = alignment(first, second, reward.config.distance)[0]
    plan = plan / plan.sum(1, keepdim=True).clamp_min(1e-12)
    return Match(
        steps[0, real[0]].long().numpy(), first.frames[0].numpy(), expert.numpy(), plan.numpy()
    )


@torch.no_grad()
def embed_frames(reward: Any, features: Float[np.ndarray, "L Do"]) -> Float[np.ndarray, "L E"]:
    """Return the first member's embedding of features of frames."""
    embedded: np.ndarray = reward.embed(reward.normalised(torch.from_numpy(features)))[0].numpy()
    return embedded

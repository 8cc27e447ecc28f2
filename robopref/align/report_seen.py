"""The part of a report that says what a reward that sees makes of the run's episodes."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from robopref.align import figures
from robopref.align.loop import AlignmentLoop
from robopref.align.seen_figures import NUM_PICTURES, clip_figure, map_figure
from robopref.data.episode import Episode
from robopref.types import STATE

NUM_WAYS = 6
"""Episodes of each policy on the map: with more nothing is seen."""


def seen_by_reward(
    loop: AlignmentLoop, episodes: Mapping[str, Episode], env: Any
) -> dict[str, Any] | None:
    """Return pictures of what the reward sees; None for a reward that judges states.

    Args:
        loop: The run.
        episodes: Those whose frames are shown, by what they are.
        env: Draws them.

    Returns:
        "clips": the reward along each of the episodes under its frames, and for RAPL what they
        match; "map": where frames lie in its embedding, "" for other rewards.

    Raises:
        MissingExtraError: There is nothing to draw with.
    """
    if not loop.config.cameras:
        return None
    from robopref.rewards.rapl_match import match
    from robopref.rewards.serialization import load_reward

    reward = load_reward(loop.directory / "reward")
    aligns = hasattr(reward, "expert_mask") and hasattr(reward, "embed")
    clips = []
    for (name, episode), (along, spread) in zip(
        episodes.items(), loop.labels().rewards_along(reward, list(episodes.values())), strict=True
    ):
        matched = None
        if aligns and reward.config.distance.kind != "coverage":
            found = match(reward, loop.shown.whole([episode]))
            matched = found.steps, found.plan
        frames = figures.render_episode(env, episode, size=128, max_frames=NUM_PICTURES)
        clips.append(clip_figure(frames, along, spread, matched=matched, title=name))
    return {"clips": clips, "map": _map(loop, reward) if aligns else ""}


def _map(loop: AlignmentLoop, reward: Any) -> str:
    """Return the map of some episodes of the base and of the aligned policy."""
    from robopref.rewards.rapl_match import embed_frames

    ways = {}
    for stage, name in (("base", "before"), ("aligned", "after")):
        shown = list(loop.store(f"evaluation/{stage}"))[:NUM_WAYS]
        seen = loop.shown.whole(shown)
        ways[name] = [
            embed_frames(reward, seen.obs[STATE][i, :n]) for i, n in enumerate(seen.lengths)
        ]
    used = reward.expert_mask.any(1)
    preferred = [
        np.asarray(reward.embed(frames[mask])[0].detach())
        for frames, mask in zip(reward.experts[used], reward.expert_mask[used], strict=True)
    ]
    return map_figure(ways, preferred)

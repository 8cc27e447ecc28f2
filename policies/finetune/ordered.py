"""Unlabelled episodes in the order of the learned reward, and which are compared with which.

A reward that ranks rollouts makes as many pairs as are wanted [1]. Random ones differ in where they
began before they differ in what was done, and of two random ones often neither is good. Episodes
that began alike, and the best against the worst of several, say more about what to do.

Shapes: M reward members, E episodes, G groups, K episodes of a group.

References:
    [1] Tian et al., Maximizing alignment with minimal feedback, 2024, arXiv:2412.04835.
"""

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.errors import check_at_least, check_choice
from robopref.policies.finetune.data import FinetuneData, Judgement
from robopref.types import STATE

Starts = Literal["any", "alike"]


def check_compared(source: str, num_episodes: int | None, starts: str) -> None:
    """Refuse settings of what is compared that go with no such source.

    Raises:
        ValueError: A value is out of range, or `source` compares no unlabelled episodes.
    """
    check_choice("starts", starts, get_args(Starts))
    if num_episodes is not None:
        check_at_least("num_episodes", num_episodes, 2)
    if source != "reward" and (num_episodes is not None or starts != "any"):
        raise ValueError(
            "`num_episodes` and `starts` say which unlabelled episodes the reward compares; with "
            f"`source` '{source}' it compares none. Take `source` reward, or leave them as they "
            "are by default."
        )


def ordered_by_reward(
    config: Any, data: FinetuneData, size: int, rng: np.random.Generator
) -> tuple[list[Judgement], Float[np.ndarray, " G"]]:
    """Return episodes of the pool with their learned returns, and how certain their order is.

    Certain is a difference of learned returns that is many deviations of the reward's members.

    Args:
        config: Its `num_groups`, `num_episodes` and `starts` are used.
        data: Holds the pool and its learned returns.
        size: K, episodes of a group.
        rng: Draws which are compared.

    Raises:
        ValueError: There are too few episodes, or no finite returns of them.
    """
    compared = size if config.num_episodes is None else config.num_episodes
    if compared < size:
        raise ValueError(
            f"`groups.num_episodes` must be at least {size}, the episodes of a group, got "
            f"{compared}."
        )
    if data.returns is None or len(data.pool) < compared:
        raise ValueError(
            f"Ordering unlabelled episodes by the reward needs {compared} of them and their "
            f"learned returns, got {len(data.pool)} episodes and "
            f"{'no returns' if data.returns is None else 'their returns'}."
        )
    if not np.isfinite(data.returns).all():
        raise ValueError("The learned returns of the pool hold values that are not finite.")
    places = _draw(config, data.pool, compared, rng)
    mean = data.returns.mean(axis=0)
    if compared > size:
        order = np.argsort(-mean[places], axis=1, kind="stable")
        picked = order[:, np.linspace(0, compared - 1, size).round().astype(int)]
        places = np.take_along_axis(places, picked, axis=1)
    segments = [Segment(episode.id, 0, len(episode)) for episode in data.pool]
    judgements = [
        Judgement(tuple(segments[i] for i in row), tuple(float(mean[i]) for i in row))
        for row in places
    ]
    best, worst = (
        np.take_along_axis(places, pick(mean[places], axis=1)[:, None], axis=1)[:, 0]
        for pick in (np.argmax, np.argmin)
    )
    gap = data.returns[:, best] - data.returns[:, worst]
    return judgements, gap.mean(axis=0) / (gap.std(axis=0) + 1e-6)


def _draw(
    config: Any, pool: Sequence[Episode], num: int, rng: np.random.Generator
) -> Int[np.ndarray, "G K"]:
    """Return the places of the episodes that are compared with each other."""
    groups = range(config.num_groups)
    if config.starts == "any":
        return np.stack([rng.permutation(len(pool))[:num] for _ in groups])
    apart = start_distances(pool)
    drawn = []
    for anchor in rng.integers(len(pool), size=config.num_groups):
        # Of those that began equally far away, which is chance.
        mixed = rng.permutation(len(pool))
        drawn.append(mixed[np.argsort(apart[anchor, mixed], kind="stable")[:num]])
    return np.stack(drawn)


def start_distances(pool: Sequence[Episode]) -> Float[np.ndarray, "E E"]:
    """Return how far apart episodes began: their first states, in deviations of first states.

    Raises:
        ValueError: The episodes hold no states.
    """
    if any(STATE not in episode.obs for episode in pool):
        raise ValueError(
            "`groups.starts` alike compares the first states of episodes, and they hold none. "
            "Take `groups.starts` any."
        )
    first = np.stack([episode.obs[STATE][0] for episode in pool]).astype(np.float64)
    spread = first.std(axis=0)
    # What is the same in all, but for rounding, says nothing.
    varies = spread > 1e-6 * max(float(np.abs(first).max()), 1e-12)
    scaled = first[:, varies] / spread[varies]
    distances: np.ndarray = np.linalg.norm(scaled[:, None] - scaled[None], axis=2)
    return distances

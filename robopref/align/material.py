"""What a fine-tuning method is given: which episodes count, which are best, and the reward.

Alignment with a simulator and without one choose alike.

Shapes: E episodes, M reward members.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from robopref.align.labels import Labels, whole
from robopref.data.episode import Episode


def usable(config: Any, episodes: Iterable[Episode]) -> list[Episode]:
    """Return the episodes that succeeded, or all where success is not used."""
    need_success = config.use_success and config.knows_success
    return [episode for episode in episodes if episode.succeeded or not need_success]


def best(config: Any, reward: Any, episodes: Sequence[Episode]) -> list[Episode]:
    """Return the share of the episodes with the highest learned return, in their order."""
    returns = reward.segment_return(whole(episodes))
    num = max(1, round(config.selected_share * len(episodes)))
    return [episodes[i] for i in sorted(np.argsort(-returns, kind="stable")[:num])]


def finetune_data(
    labels: Labels,
    reward: Any,
    *,
    chosen: Sequence[Episode],
    pool: Sequence[Episode],
    demonstrations: Sequence[Episode],
) -> Any:
    """Return the `FinetuneData` of a run.

    Args:
        labels: Its answers are the judgements.
        reward: Orders the pool, and scores chunks if it can.
        chosen: Episodes to imitate.
        pool: Unlabelled episodes.
        demonstrations: Episodes to hold on to.
    """
    from robopref.policies.finetune.data import FinetuneData

    judged, judgements = labels.judgements()
    scores_chunks = "chunk" in reward.action_scorer_ways()
    return FinetuneData(
        chosen, chosen_returns=reward.member_returns(whole(chosen)) if chosen else None,
        judged=judged, judgements=judgements, pool=pool, demonstrations=demonstrations,
        returns=reward.member_returns(whole(pool)) if pool else None,
        scorer=reward.as_action_scorer("chunk") if scores_chunks else None,
    )  # fmt: skip

"""What a fine-tuning method is given: which episodes are best, and the reward.

Alignment with a simulator and without one choose alike.

Shapes: E episodes, M reward members.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from robopref.align.labels import Labels
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.seeding import make_rng


def add_demonstrations(pool: EpisodeStore, demonstrations: EpisodeStore, config: Any) -> None:
    """Add demonstrations to the episodes that queries are made of.

    They keep what the pool's own have as well, such as its observations, and what they know of
    success. There are at most `num_pool_episodes` of them.

    Raises:
        DataError: They have another rate than the pool, or less than its episodes have.
    """
    own = pool.episode(pool.ids[0])
    rows = [row for row in demonstrations.rows if row.succeeded or not config.knows_success]
    rng = make_rng(config.seed, "demonstrations to ask about")
    places = sorted(rng.permutation(len(rows))[: config.num_pool_episodes])
    pool.add_all(
        replace(
            episode,
            obs={key: episode.obs[key] for key in own.obs if key in episode.obs},
            extras={key: episode.extras[key] for key in own.extras if key in episode.extras},
            sim_states=None if own.sim_states is None else episode.sim_states,
        )
        for episode in (demonstrations.episode(rows[place].episode_id) for place in places)
    )


def best(
    labels: Labels, reward: Any, episodes: Sequence[Episode], others: Sequence[Episode] = ()
) -> list[Episode]:
    """Return those with the highest learned return, in their order.

    Args:
        labels: Of the run.
        reward: Orders the episodes.
        episodes: The `selected_share` of how many they are is how many are returned.
        others: More to choose from.
    """
    num = max(1, round(labels.config.selected_share * len(episodes)))
    together = [*episodes, *others]
    returns = labels.returns(reward, together)
    return [together[i] for i in sorted(np.argsort(-returns, kind="stable")[:num])]


def finetune_data(
    labels: Labels,
    reward: Any,
    *,
    chosen: Sequence[Episode],
    pool: Sequence[Episode],
    demonstrations: Sequence[Episode],
    policy: Any,
    scorer: Any = None,
) -> Any:
    """Return the `FinetuneData` of a run.

    Args:
        labels: Its answers are the judgements.
        reward: Orders the pool, and scores chunks if it can.
        chosen: Episodes to imitate.
        pool: Unlabelled episodes.
        demonstrations: Episodes to hold on to.
        policy: Whose pictures the episodes get, if it looks at any.
        scorer: Scores chunks; None for the reward itself, if it can.
    """
    from robopref.policies.finetune.data import FinetuneData

    judged, judgements = labels.judgements()
    if scorer is None and "chunk" in reward.action_scorer_ways():
        scorer = reward.as_action_scorer("chunk")
    shown = labels.shown
    return FinetuneData(
        shown.add_to(policy, chosen),
        chosen_returns=reward.member_returns(shown.whole(chosen)) if chosen else None,
        judged=shown.add_to(policy, judged), judgements=judgements,
        pool=shown.add_to(policy, pool), demonstrations=shown.add_to(policy, demonstrations),
        returns=reward.member_returns(shown.whole(pool)) if pool else None,
        scorer=scorer,
    )  # fmt: skip

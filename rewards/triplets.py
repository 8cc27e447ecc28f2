"""Which clips to have ranked next, and about which pairs to say nothing: an ensemble's doubts.

Shapes: M members, S clips, T triplets, N pairs.
"""

import itertools

import numpy as np
from jaxtyping import Bool, Float, Int

from robopref.errors import check_at_least

TRIED = 2000
"""Triplets drawn to choose from."""
ORDERS = np.array(list(itertools.permutations(range(3))))


def triplet_doubt(
    member_returns: Float[np.ndarray, "M S"], triplets: Int[np.ndarray, "T 3"]
) -> Float[np.ndarray, " T"]:
    """Return how much an answer about each triplet would tell of which member is right, in nats.

    Each member says Plackett-Luce probabilities of the six orders. What is told is the entropy of
    their mean less their mean entropy: a triplet that every member finds close tells nothing, one
    over which they disagree, each sure of itself, tells most (BALD).
    """
    returns = member_returns[:, triplets]
    ordered = returns[..., ORDERS]
    log_left = np.logaddexp.accumulate(ordered[..., ::-1], axis=-1)[..., ::-1]
    probability = np.exp((ordered - log_left).sum(-1))
    told: np.ndarray = _entropy(probability.mean(0)) - _entropy(probability).mean(0)
    return told


def choose_triplets(
    member_returns: Float[np.ndarray, "M S"], num: int, rng: np.random.Generator
) -> Int[np.ndarray, "num 3"]:
    """Return the triplets that tell most, of many drawn ones.

    No clip is asked about twice while there is a triplet of clips that were not asked about.

    Args:
        member_returns: Returns of every member, as `RewardModel.member_returns` has them.
        num: How many.
        rng: Draws those to choose from.

    Raises:
        ValueError: There are fewer than three clips, or `num` is below 1.
    """
    check_at_least("num", num, 1)
    size = member_returns.shape[1]
    if size < 3:
        raise ValueError(f"`member_returns` must be of at least 3 clips, got {size}.")
    drawn = np.sort(rng.permuted(np.tile(np.arange(size), (TRIED, 1)), axis=1)[:, :3], axis=1)
    drawn = np.unique(drawn, axis=0)
    left = list(np.argsort(-triplet_doubt(member_returns, drawn), kind="stable"))
    asked, chosen = np.zeros(size, int), []
    for _ in range(num):
        if not left:
            raise ValueError(f"`num` must be at most {len(drawn)} for {size} clips, got {num}.")
        least = min(asked[drawn[i]].max() for i in left)
        place = next(i for i in left if asked[drawn[i]].max() == least)
        left.remove(place)
        asked[drawn[place]] += 1
        chosen.append(drawn[place])
    return np.array(chosen)


def is_sure(
    member_returns: Float[np.ndarray, "M S"],
    a: Int[np.ndarray, " N"],
    b: Int[np.ndarray, " N"],
    *,
    deviations: float = 1.0,
) -> Bool[np.ndarray, " N"]:
    """Return of which pairs the ensemble is sure; about the others it should abstain.

    It is where the mean difference of returns is more than so many standard deviations of the
    members'. One member has no doubts, and is always sure unless two returns are equal.
    """
    check_at_least("deviations", deviations, 0)
    gap = member_returns[:, b] - member_returns[:, a]
    sure: np.ndarray = np.abs(gap.mean(0)) > deviations * gap.std(0)
    return sure


def _entropy(probability: np.ndarray) -> np.ndarray:
    entropy: np.ndarray = -(probability * np.log(np.clip(probability, 1e-30, 1))).sum(-1)
    return entropy

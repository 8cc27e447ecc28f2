"""A query strategy that has three segments ranked: which order would tell most about the reward.

Shapes: S segments, M ensemble members, T triplets, k queries.
"""

import itertools
from dataclasses import dataclass
from math import comb
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from robopref.preferences.pair_strategy import (
    Choice,
    PairStrategy,
    ReturnsConfig,
    check_enough,
    top,
)
from robopref.preferences.pool import CandidatePool

NUM_DRAWN = 5000
"""Triplets drawn to choose from, before those that may not be asked are left out."""
ORDERS = np.array(list(itertools.permutations(range(3))))
SIDES = ((0, 1), (0, 2), (1, 2))


class Triplets(PairStrategy):
    """Three segments to rank, about whose order the members disagree, each sure of itself.

    A ranking of three costs an annotator less than three pairs and decides as many. No segment is
    asked about twice while there is a triplet of others.

    References:
        Houlsby et al., Bayesian active learning for classification and preference learning, 2011,
        arXiv:1112.5745, eq. 2, with the six orders of Plackett-Luce as the answers.
    """

    name = "triplets"
    num_items = 3

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return `k` triplets of which no two segments were compared before."""
        triplets = _candidates(pool, rng)
        check_enough(len(triplets), k, "triplets")
        if member_returns is None:
            rows = _spread(triplets, rng.permutation(len(triplets)), k)
            why = "There is no reward yet that could disagree with itself; drawn at random."
            return Choice(triplets[rows], [why] * k)
        told = compute_triplet_gain(member_returns / self.config.temperature, triplets)
        rows = _spread(triplets, top(told, len(told), rng), k)
        if len(member_returns) == 1:
            reasons = ["The reward has one member, so no answer tells more; drawn at random."] * k
        else:
            reasons = [
                f"The order is expected to tell {bits:.2f} bit about which member is right."
                for bits in told[rows] / np.log(2)
            ]
        return Choice(triplets[rows], reasons)


def compute_triplet_gain(
    member_returns: Float[np.ndarray, "M S"], triplets: Int[np.ndarray, "T 3"]
) -> Float[np.ndarray, " T"]:
    """Return how much the ranking of each triplet tells of which member is right, in nats.

    The entropy of the members' mean Plackett-Luce probabilities of the six orders, less their mean
    entropy (BALD).
    """
    ordered = member_returns[:, triplets][..., ORDERS]
    log_left = np.logaddexp.accumulate(ordered[..., ::-1], axis=-1)[..., ::-1]
    probability = np.exp((ordered - log_left).sum(-1))
    gain: np.ndarray = _entropy(probability.mean(0)) - _entropy(probability).mean(0)
    return np.maximum(gain, 0.0)


def _entropy(probability: Float[np.ndarray, "*batch K"]) -> Float[np.ndarray, "*batch"]:
    found: np.ndarray = -(probability * np.log(np.clip(probability, 1e-30, 1))).sum(-1)
    return found


def _candidates(pool: CandidatePool, rng: np.random.Generator) -> np.ndarray:
    """Return triplets of which every pair may be asked, in random order of the three, (T, 3)."""
    num = len(pool.segments)
    if comb(num, 3) <= NUM_DRAWN:
        drawn = np.array(list(itertools.combinations(range(num), 3)), np.int64).reshape(-1, 3)
    elif len(pool.pairs):
        pairs = pool.pairs[rng.integers(len(pool.pairs), size=NUM_DRAWN)]
        drawn = np.column_stack([pairs, rng.integers(num, size=NUM_DRAWN)])
        drawn = np.unique(np.sort(drawn, axis=1), axis=0)
    else:
        drawn = np.zeros((0, 3), np.int64)
    for side in SIDES:
        drawn = drawn[pool.may_ask(drawn[:, side])]
    # Which is shown first must not tell anything.
    shuffled: np.ndarray = rng.permuted(drawn, axis=1)
    return shuffled


def _spread(triplets: np.ndarray, order: np.ndarray, k: int) -> np.ndarray:
    """Return the first `k` places of `order`, those of segments that are in one already last."""
    times = np.zeros(triplets.max(initial=0) + 1, int)
    left, chosen = order, []
    meets_again = np.zeros(len(triplets), bool)
    for _ in range(k):
        used = times[triplets[left]].max(axis=1) + k * meets_again[left]
        place = int(np.argmin(used))
        taken = triplets[left[place]]
        chosen.append(left[place])
        times[taken] += 1
        meets_again |= np.isin(triplets, taken).sum(axis=1) > 1
        left = np.delete(left, place)
    return np.array(chosen)


@dataclass(frozen=True)
class TripletsConfig(ReturnsConfig):
    """Three segments to rank, whose order tells most about the reward."""

    strategy: ClassVar[type[PairStrategy]] = Triplets

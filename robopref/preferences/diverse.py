"""Query strategies that look at what segments are like: coverage, contrast, matched starts.

Shapes: S segments, P candidate pairs, M ensemble members, F features of a pair, k queries.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Bool, Float, Int

from robopref.errors import check_at_least, check_between
from robopref.preferences.clustering import greedy_k_centre, k_medoids, squared_distances
from robopref.preferences.pair_strategy import (
    Choice,
    PairStrategy,
    ReturnsConfig,
    StrategyConfig,
    check_enough,
    compute_prefers_b,
    top,
)
from robopref.preferences.pool import CandidatePool


class Coverage(PairStrategy):
    """Pairs spread over the pool: each as far as can be from all asked so far (greedy k-centre).

    The greedy choice is within a factor 2 of the best possible covering radius.

    References:
        Sener and Savarese, Active learning for convolutional neural networks: a core-set approach,
        2018, arXiv:1708.00489, algorithm 1.
    """

    name = "coverage"
    needs_returns = False

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return `k` pairs, each far from those asked before and from those before it."""
        check_enough(len(pool.pairs), k)
        points = pair_features(pool.features, pool.pairs)
        centres = pair_features(pool.features, pool.asked)
        rows, distances = greedy_k_centre(points, centres, k, rng)
        reasons = [
            "The first pair; drawn at random."
            if np.isinf(distance)
            else f"The least like what was asked so far (feature distance {distance:.1f})."
            for distance in distances
        ]
        return Choice(pool.pairs[rows], reasons)


class BatchDiverse(PairStrategy):
    """Pairs on which the members disagree, and that are unlike each other.

    The pairs with the largest variance are kept, `oversampling` times as many as asked for, and
    the medoids of their clusters are asked.

    References:
        Bıyık and Sadigh, Batch active preference-based learning of reward functions, 2018,
        arXiv:1810.04303, section 4.
    """

    name = "batch-diverse"
    config: "BatchDiverseConfig"

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return `k` medoids; without a reward, of random pairs that differ more than most."""
        check_enough(len(pool.pairs), k)
        num_kept = min(len(pool.pairs), k * self.config.oversampling)
        if member_returns is None:
            # What is alike would be judged equal, which says little.
            score = far_apart(pool, self.config.alike_share).astype(float)
            chosen_by = "There is no reward yet that could disagree with itself; stands for"
            among = "among pairs that differ more than most"
        else:
            prefers_b = compute_prefers_b(member_returns, pool.pairs, self.config.temperature)
            score = prefers_b.var(axis=0)
            chosen_by = f"The {len(member_returns)} members disagree, and this stands for"
            among = f"of the {num_kept} pairs on which they disagree most"
        kept = top(score, num_kept, rng)
        medoids, sizes = k_medoids(pair_features(pool.features, pool.pairs[kept]), k, rng)
        reasons = [f"{chosen_by} {size} alike {among}." for size in sizes]
        return Choice(pool.pairs[kept[medoids]], reasons)


class Contrast(PairStrategy):
    """Pairs that differ more than most, spread over the pool.

    What is alike is judged equal, which says little. Of the others the medoids come first, which
    stand for many, and then pairs as far as can be from all asked so far. The reward is not asked:
    pairs on which its members disagree lie where it is undecided, and with few answers of which
    some are wrong, more of them there made rewards worse (docs/alignment.md).
    """

    name = "contrast"
    needs_returns = False
    config: "ContrastConfig"

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return `k` pairs: medoids if nothing was asked before, else far from what was."""
        check_enough(len(pool.pairs), k)
        score = far_apart(pool, self.config.alike_share)
        kept = np.flatnonzero(score) if score.sum() >= k else np.arange(len(score))
        points = pair_features(pool.features, pool.pairs[kept])
        if not len(pool.asked):
            sample = rng.permutation(len(kept))[: k * self.config.oversampling]
            medoids, sizes = k_medoids(points[sample], k, rng)
            reasons = [
                f"Differs more than most, and stands for {size} such pairs." for size in sizes
            ]
            return Choice(pool.pairs[kept[sample[medoids]]], reasons)
        asked = pair_features(pool.features, pool.asked)
        rows, distances = greedy_k_centre(points, asked, k, rng)
        reasons = [
            "Differs more than most, and is the least like what was asked so far (feature "
            f"distance {distance:.1f})."
            for distance in distances
        ]
        return Choice(pool.pairs[kept[rows]], reasons)


class MatchedStart(PairStrategy):
    """Pairs from two episodes that start alike, so that they differ only in what followed.

    What they differ in is then what the teacher judges, and not how the episode began. Among the
    pairs whose starts match, those on which the reward's members disagree come first.
    """

    name = "matched-start"
    config: "MatchedStartConfig"

    def choose(
        self,
        pool: CandidatePool,
        member_returns: Float[np.ndarray, "M S"] | None,
        k: int,
        rng: np.random.Generator,
    ) -> Choice:
        """Return `k` pairs: matching ones as the reward wants them, then by distance."""
        pairs = self._candidates(pool)
        check_enough(len(pairs), k)
        starts = pool.start_features
        offset = starts[pairs[:, 0]] - starts[pairs[:, 1]]
        distance = np.sqrt((offset**2).sum(axis=1) / max(1, starts.shape[1]))
        excess = np.where(distance <= self.config.tolerance, 0.0, distance)
        useful = np.zeros(len(pairs))
        if member_returns is not None:
            useful = compute_prefers_b(member_returns, pairs, self.config.temperature).var(axis=0)
        rows = np.lexsort((rng.random(len(pairs)), -useful, excess))[:k]
        flip = rng.random(k) < 0.5
        chosen = np.where(flip[:, None], pairs[rows][:, ::-1], pairs[rows])
        return Choice(chosen, [self._reason(float(distance[row])) for row in rows])

    def _reason(self, distance: float) -> str:
        if distance <= self.config.tolerance:
            return "Both start alike, so only what follows is judged."
        return (
            "The most alike starts that are left "
            f"({distance:.2f} standard deviations apart, above the tolerance of "
            f"{self.config.tolerance})."
        )

    def _candidates(self, pool: CandidatePool) -> np.ndarray:
        """Return the pool's pairs, or where it has a sample only, pairs of near starts."""
        if not pool.is_sampled:
            return pool.pairs
        starts = pool.start_features
        ids = np.unique([s.episode_id for s in pool.segments], return_inverse=True)[1]
        count = min(self.config.num_neighbours, len(starts) - 1)
        found = []
        for first in range(0, len(starts), 512):  # blocks bound the memory of the distances
            block = np.arange(first, min(first + 512, len(starts)))
            distance = squared_distances(starts[block], starts)
            distance[ids[block][:, None] == ids[None]] = np.inf
            nearest = np.argpartition(distance, count - 1, axis=1)[:, :count] if count else None
            if nearest is not None:
                usable = np.isfinite(np.take_along_axis(distance, nearest, axis=1))
                both = np.stack([np.broadcast_to(block[:, None], nearest.shape), nearest], axis=-1)
                found.append(both[usable])
        if not found:
            return np.zeros((0, 2), np.int64)
        pairs = np.unique(np.sort(np.concatenate(found), axis=1), axis=0)
        fresh: np.ndarray = pairs[pool.may_ask(pairs)]
        return fresh


def far_apart(pool: CandidatePool, alike_share: float) -> Bool[np.ndarray, " P"]:
    """Return which pairs are of two that differ more than those of a share of the pairs."""
    difference = pool.features[pool.pairs[:, 0]] - pool.features[pool.pairs[:, 1]]
    distance = np.square(difference).sum(axis=1)
    apart: np.ndarray = distance >= np.quantile(distance, alike_share)
    return apart


def pair_features(
    features: Float[np.ndarray, "S F"], pairs: Int[np.ndarray, "P 2"]
) -> Float[np.ndarray, "P F2"]:
    """Return what a pair is like, whichever of the two stands first: sum and |difference|."""
    # Single precision halves the time of the distances, and standardised features lose nothing.
    features = features.astype(np.float32)
    a, b = features[pairs[:, 0]], features[pairs[:, 1]]
    both: np.ndarray = np.concatenate([a + b, np.abs(a - b)], axis=1)
    both /= np.float32(np.sqrt(max(1, features.shape[1])))
    return both


@dataclass(frozen=True)
class CoverageConfig(StrategyConfig):
    """Pairs spread over the pool (greedy k-centre)."""

    strategy: ClassVar[type[PairStrategy]] = Coverage


@dataclass(frozen=True)
class BatchDiverseConfig(ReturnsConfig):
    """Disagreement, but no two queries alike (k-medoids)."""

    strategy: ClassVar[type[PairStrategy]] = BatchDiverse
    oversampling: int = 10
    """How many of the most disputed pairs are kept for each that is asked."""
    alike_share: float = 0.5
    """Share of the pairs, the most alike, that are not asked about before there is a reward."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_at_least("oversampling", self.oversampling, 1)
        check_between("alike_share", self.alike_share, 0, 1)


@dataclass(frozen=True)
class ContrastConfig(StrategyConfig):
    """Pairs that differ more than most, spread over the pool."""

    strategy: ClassVar[type[PairStrategy]] = Contrast
    alike_share: float = 0.5
    """Share of the pairs, the most alike, that are not asked about."""
    oversampling: int = 10
    """Pairs drawn for each of the first that are asked, which are medoids among them."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("alike_share", self.alike_share, 0, 1)
        check_at_least("oversampling", self.oversampling, 1)


@dataclass(frozen=True)
class MatchedStartConfig(ReturnsConfig):
    """Pairs that start alike, so that they differ only in what followed."""

    strategy: ClassVar[type[PairStrategy]] = MatchedStart
    tolerance: float = 0.1
    """Starts match within this root-mean-square distance [standard deviations of the pool's]."""
    num_neighbours: int = 20
    """Nearest starts considered for each segment."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_at_least("tolerance", self.tolerance, 0)
        check_at_least("num_neighbours", self.num_neighbours, 1)

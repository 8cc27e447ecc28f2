"""Whether a source's answers say anything that could be carried over."""

from collections.abc import Sequence

import numpy as np

from robopref.rewards.shared_features import SharedFeaturesConfig
from robopref.rewards.transfer import TaskSegments, have_features, standardise

NUM_FOLDS = 5
FEWEST_ANSWERS = 10
"""Decided answers, below which the share that is foretold says nothing."""


def foretold_share(sources: Sequence[TaskSegments], rng: np.random.Generator) -> float:
    """Return the share of the sources' answers that a reward on shared features foretells.

    Each fifth of a source's answers is foretold by a reward that saw the others. Near one half,
    what was preferred is not in the features, or the answers contradict each other. NaN where a
    source has too few answers, or no features.
    """
    if not have_features(sources) or any(source.num_decided < FEWEST_ANSWERS for source in sources):
        return float("nan")
    right = np.concatenate([_foretold(source, rng) for source in sources])
    return float(right.mean())


def _foretold(source: TaskSegments, rng: np.random.Generator) -> np.ndarray:
    method = SharedFeaturesConfig().build()
    x = standardise(source.features)
    fold = rng.permutation(len(source.a)) % NUM_FOLDS
    unanswered = source.unanswered()
    right = []
    for number in range(NUM_FOLDS):
        asked = (fold == number) & (source.prefers_b != 0.5)
        belief = method.belief([source.with_pairs(fold != number)], unanswered)
        probability = belief.probability(x[source.b[asked]] - x[source.a[asked]])
        right.append((probability > 0.5) == (source.prefers_b[asked] > 0.5))
    return np.concatenate(right)

"""Which source segment a target segment corresponds to, and how good both are held to be.

Shapes: N segments of the source, M of the target, F features, R votes, P pairs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from robopref.envs.features import TASK_FEATURES
from robopref.rewards.transfer import (
    TaskSegments,
    Transferred,
    correlations,
    have_features,
    standardise,
)


@dataclass(frozen=True, eq=False)
class Correspondence:
    """A source beside the target.

    Args:
        weight: How far each source segment stands for each target segment; a column adds up to 1.
        source_score: Share of the others that a source segment is preferred to.
        target_score: The same of a target segment, as transferred.
        by_plan: Whether the weights are a transport plan; or else they fall with the distance of
            the features.
    """

    weight: Float[np.ndarray, "N M"]
    source_score: Float[np.ndarray, " N"]
    target_score: Float[np.ndarray, " M"]
    by_plan: bool

    @classmethod
    def of(
        cls, source: TaskSegments, target: TaskSegments, transferred: Transferred
    ) -> "Correspondence":
        """Return what a method found, or what the features say where it aligns nothing."""
        plan = transferred.plan
        by_plan = plan is not None and len(plan) == len(source)
        weight = plan if by_plan and plan is not None else _closeness(source, target)
        return cls(
            weight / np.maximum(weight.sum(axis=0), 1e-12),
            source_scores(source),
            transferred.preferred.mean(axis=1),
            by_plan,
        )

    def matches(self, num: int) -> list[tuple[int, int]]:
        """Return `num` pairs of a source segment and the target segment that it stands for most.

        From the best to the worst of the target.
        """
        order = np.argsort(-self.target_score, kind="stable")
        places = np.linspace(0, len(order) - 1, num).round().astype(int)
        return [(int(self.weight[:, j].argmax()), int(j)) for j in order[places]]

    def sorted_weight(self, cells: int = 40) -> Float[np.ndarray, "A B"]:
        """Return the weights with both sides sorted, the worst first, summed up in blocks."""
        by_score = self.weight[np.argsort(self.source_score, kind="stable")]
        by_score = by_score[:, np.argsort(self.target_score, kind="stable")]
        rows, columns = (_edges(size, cells) for size in by_score.shape)
        summed = np.add.reduceat(np.add.reduceat(by_score, rows, axis=0), columns, axis=1)
        blocks: np.ndarray = summed / np.maximum(summed.sum(axis=0), 1e-12)
        return blocks


def liked_features(
    source: TaskSegments, correspondence: Correspondence, target: TaskSegments
) -> dict[str, tuple[float, float]]:
    """Return how far each feature goes with being preferred, in the source and as transferred.

    Correlations of the feature with the score, for features that vary on both sides; the features
    that matter most in the source come first; none where the tasks have no features.
    """
    if not have_features((source, target)):
        return {}
    of_source = liking(source, correspondence.source_score)
    of_target = liking(target, correspondence.target_score)
    found = {
        name.replace("_", " "): (float(x), float(y))
        for name, x, y in zip(TASK_FEATURES, of_source, of_target, strict=True)
        if np.isfinite([x, y]).all()
    }
    return dict(sorted(found.items(), key=lambda item: -abs(item[1][0])))


def compare_meaning(source: TaskSegments, target: TaskSegments, transferred: Transferred) -> float:
    """Return whether what goes with being preferred in the source does so in the target.

    The cosine of the two tasks' likings: 1 the same, -1 the opposite. An alignment by distances
    that found the mirror image shows here, although no target answer is known: between the tasks
    of the benchmark it went with the accuracy of such alignments by a correlation of 0.9, and none
    with a negative one was right more than half of the time. NaN where no feature tells.
    """
    if not have_features((source, target)):
        return float("nan")
    of_source = liking(source, source_scores(source))
    of_target = liking(target, transferred.preferred.mean(axis=1))
    both = np.isfinite(of_source) & np.isfinite(of_target)
    x, y = of_source[both], of_target[both]
    size = float(np.linalg.norm(x) * np.linalg.norm(y))
    return float(x @ y) / size if size > 0 else float("nan")


def liking(task: TaskSegments, score: Float[np.ndarray, " N"]) -> Float[np.ndarray, " F"]:
    """Return the correlation of each feature with being preferred; NaN for what does not vary."""
    x, y = standardise(task.features, np.inf), standardise(score[:, None])
    varies = x.any(axis=0) & y.any()
    correlation: np.ndarray = np.where(varies, x.T @ y[:, 0] / len(y), np.nan)
    return correlation


def source_scores(source: TaskSegments) -> Float[np.ndarray, " N"]:
    """Return the share of the segments it was compared with that each segment is preferred to."""
    preferred, known = source.preference_matrix()
    scores: np.ndarray = (preferred * known).sum(axis=1) / known.sum(axis=1)
    return scores


def vote_correlations(transferred: Transferred) -> Float[np.ndarray, " R"]:
    """Return how each vote goes with all of them together; below 0 it points the other way."""
    upper = np.triu_indices(len(transferred.preferred), 1)
    return correlations(transferred.votes[:, *upper] - 0.5, transferred.preferred[upper] - 0.5)


def _closeness(source: TaskSegments, target: TaskSegments) -> Float[np.ndarray, "N M"]:
    x, y = standardise(source.features), standardise(target.features)
    distance = ((x[:, None] - y[None]) ** 2).sum(axis=2)
    # As sharp as the nearest neighbours are near.
    nearest = np.maximum(distance.min(axis=0), 1e-12)
    closeness: np.ndarray = np.exp(-(distance - nearest) / np.median(nearest))
    return closeness


def _edges(size: int, cells: int) -> np.ndarray:
    edges: np.ndarray = np.unique(np.linspace(0, size, min(size, cells) + 1)[:-1].astype(int))
    return edges

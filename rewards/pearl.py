r"""Cross-task preference alignment (CPA), the label transfer of PEARL [1].

Segments of two tasks are matched by the Gromov-Wasserstein distance: who is close to whom inside
each task decides, and nothing is compared across. Labels then follow the plan T. With every column
of it divided by its sum, $P = \bar T^\top Z \bar T$ is a mean of source labels; the published form,
with T as it is, makes every label too small by the product of two masses (1/9 with three segments
that are matched one to one), and is kept as `normalised=False` to show that.

An alignment by distances cannot tell a set from its mirror image: of several starts some order
the target the wrong way round, and a low loss does not say which. All starts are kept as votes,
from which `Transferred.diagnose` says how far they agree. The settings of the paper could not be
read for this; they are ours.

Shapes: N segments of a source, M of the target, S steps of a segment, D entries of a step,
R starts, G groups, V entries of a vector.
Notation: code name -> symbol: plan -> T, preferred -> Z (source) and P (target), known -> W.

References:
    [1] Liu et al., PEARL: Zero-shot cross-task preference alignment and robust reward learning for
        robotic manipulation, 2024, arXiv:2306.03615.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int

from robopref.distances import vector_distances, warped_distances
from robopref.errors import DataError, check_at_least, check_between, check_choice
from robopref.preferences.clustering import greedy_k_centre
from robopref.rewards.transfer import TaskSegments, Transferred, check_tasks, standardise
from robopref.transport import Problem, SolverConfig, align_sets
from robopref.transport_starts import make_starts

Metric = Literal["euclidean", "cosine", "dtw"]
Represented = Literal["steps", "features"]
Choice = Literal["lowest-loss", "mean"]
FEWEST_ANSWERS = 1e-3
"""Source answers behind a target pair, below which nothing is said about it."""


@dataclass(frozen=True)
class CPAConfig:
    """Labels follow a Gromov-Wasserstein alignment of the tasks' segments (PEARL)."""

    metric: Metric = "euclidean"
    """Distance inside a task: euclidean, cosine, or dtw, which warps time."""
    represented: Represented = "steps"
    """Segments as they are, observation and action of each step, or as task-agnostic features."""
    structure_weight: float = 1.0
    """How much distances inside the tasks count; features compared across tasks count for the
    rest (fused Gromov-Wasserstein). Below 1 nothing is mirrored unless the features are."""
    solver: SolverConfig = field(default_factory=SolverConfig)
    """How an alignment is found."""
    num_starts: int = 8
    """Starts, each of which ends in an alignment of its own."""
    choose: Choice = "lowest-loss"
    """lowest-loss: the alignment that fits best; mean: all vote."""
    num_groups: int | None = None
    """Match this many groups of segments (K-means) of each task instead of segments."""
    normalised: bool = True
    """Divide the plan's columns by their sums; False is the published form."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("metric", self.metric, get_args(Metric))
        check_choice("represented", self.represented, get_args(Represented))
        check_choice("choose", self.choose, get_args(Choice))
        check_between("structure_weight", self.structure_weight, 0, 1)
        check_at_least("num_starts", self.num_starts, 1)
        if self.num_groups is not None:
            check_at_least("num_groups", self.num_groups, 2)
        if self.metric == "dtw" and self.represented == "features":
            raise ValueError("`metric` dtw warps the steps of segments; features have none.")
        if self.metric == "dtw" and self.num_groups is not None:
            raise ValueError(
                "`num_groups` takes the means of segments, which a `metric` of dtw does not have."
            )

    @property
    def compares_features(self) -> bool:
        """Whether the tasks need task-agnostic features."""
        return self.represented == "features" or self.structure_weight < 1

    def build(self) -> "CPA":
        """Return the method."""
        return CPA(self)


@dataclass(frozen=True)
class FusedCPAConfig(CPAConfig):
    """The same with features that are compared across the tasks as well (fused)."""

    represented: Represented = "features"
    """Segments as they are, observation and action of each step, or as task-agnostic features."""
    structure_weight: float = 0.5
    """How much distances inside the tasks count; features compared across count for the rest."""


class CPA:
    """Aligns each source with the target and carries its labels over.

    Args:
        config: How it is built.
    """

    def __init__(self, config: CPAConfig) -> None:
        self.config = config

    def transfer(
        self, sources: Sequence[TaskSegments], target: TaskSegments, rng: np.random.Generator
    ) -> Transferred:
        """Return how probably each target segment is preferred to each other one.

        Several sources are averaged, each with the weight of the answers behind it. Answers about
        the target choose among the alignments of each source: one that contradicts them is out.

        Raises:
            DataError: Sources and target do not fit, or nothing was decided.
        """
        check_tasks(sources, target, same_features=self.config.compares_features)
        found = [self._one(source, target, rng) for source in sources]
        weight = np.stack([one.weight for one in found])
        total = weight.sum(axis=0)
        preferred = (np.stack([one.preferred for one in found]) * weight).sum(axis=0)
        return Transferred(
            np.where(total > 0, preferred / np.maximum(total, 1e-12), 0.5),
            total / len(found),
            np.concatenate([one.votes for one in found]),
            found[0].plan,
        )

    def _one(
        self, source: TaskSegments, target: TaskSegments, rng: np.random.Generator
    ) -> Transferred:
        plans, losses = self.align(source, target, rng)
        preferred, known = source.preference_matrix()
        carried = [
            carry_labels(plan, preferred, known, normalised=self.config.normalised)
            for plan in plans
        ]
        votes = np.stack([labels for labels, _ in carried])
        fits = _fitting(votes, target)
        best = int(np.where(fits, losses, np.inf).argmin())
        if self.config.choose == "lowest-loss":
            return Transferred(votes[best], carried[best][1], votes[fits], plans[best])
        weight = np.stack([weight for _, weight in carried])[fits].mean(axis=0)
        return Transferred(votes[fits].mean(axis=0), weight, votes[fits], plans[best])

    def align(
        self, source: TaskSegments, target: TaskSegments, rng: np.random.Generator
    ) -> tuple[Float[np.ndarray, "R N M"], Float[np.ndarray, " R"]]:
        """Return the plan that each start ends in, and its loss.

        Raises:
            DataError: All distances in a task are 0, or there are fewer segments than groups.
        """
        groups = [self._groups(task, rng) for task in (source, target)]
        costs = [
            self._distances(task, group)
            for task, group in zip((source, target), groups, strict=True)
        ]
        mass = [torch.from_numpy(np.bincount(group) / len(group)) for group in groups]
        equal = self.config.num_groups is None
        problem = Problem(
            *costs,
            feature_cost=self._feature_cost(source, target, groups),
            structure_weight=self.config.structure_weight,
            first_mass=None if equal else mass[0],
            second_mass=None if equal else mass[1],
        )
        aligned = align_sets(
            problem, make_starts(problem, self.config.num_starts, rng), self.config.solver
        )
        plan = aligned.plan.cpu().numpy()
        if not equal:
            # Inside its groups the mass of a match is shared out evenly.
            shares = [_membership(group) / np.bincount(group) for group in groups]
            plan = shares[0] @ plan @ shares[1].T
        return plan, aligned.loss.cpu().numpy()

    def _groups(self, task: TaskSegments, rng: np.random.Generator) -> Int[np.ndarray, " N"]:
        if self.config.num_groups is None:
            return np.arange(len(task))
        from scipy.cluster.vq import kmeans2

        if self.config.num_groups > len(task):
            raise DataError(
                f"'{task.name}' has {len(task)} segments, too few for `num_groups` "
                f"(={self.config.num_groups})."
            )
        vectors = self._vectors(task)
        places, _ = greedy_k_centre(vectors, vectors[:0], self.config.num_groups, rng)
        _, group = kmeans2(vectors, vectors[places], minit="matrix", iter=50)
        # An empty group would be one without mass.
        numbered: np.ndarray = np.unique(group, return_inverse=True)[1]
        return numbered

    def _vectors(self, task: TaskSegments) -> Float[np.ndarray, "N V"]:
        if self.config.represented == "features":
            return standardise(task.features)
        return standardise(task.steps.reshape(-1, task.steps.shape[2])).reshape(len(task), -1)

    def _distances(self, task: TaskSegments, group: np.ndarray) -> torch.Tensor:
        vectors = torch.from_numpy(self._vectors(task))
        if self.config.num_groups is not None:
            vectors = torch.from_numpy(_means(vectors.numpy(), group))
        if self.config.metric == "dtw":
            found = warped_distances(vectors.reshape(len(task), -1, task.steps.shape[2]))
        else:
            try:
                found = vector_distances(vectors, vectors, self.config.metric)
            except ValueError as error:
                raise DataError(f"Segments of '{task.name}' cannot be compared. {error}") from None
        found = (found + found.T) / 2
        largest = float(found.max())
        if largest <= 0:
            raise DataError(
                f"All distances between segments of '{task.name}' are 0: nothing can be aligned."
            )
        return found / largest

    def _feature_cost(
        self, source: TaskSegments, target: TaskSegments, groups: list[np.ndarray]
    ) -> torch.Tensor | None:
        if self.config.structure_weight == 1:
            return None
        x, y = (
            _means(standardise(task.features), group)
            for task, group in zip((source, target), groups, strict=True)
        )
        cost = ((x[:, None] - y[None]) ** 2).sum(axis=2)
        return torch.from_numpy(cost / max(float(cost.max()), 1e-12))


def carry_labels(
    plan: Float[np.ndarray, "N M"],
    preferred: Float[np.ndarray, "N N"],
    known: Float[np.ndarray, "N N"],
    *,
    normalised: bool = True,
) -> tuple[Float[np.ndarray, "M M"], Float[np.ndarray, "M M"]]:
    """Return target labels as means of source labels, and the share of answers behind each.

    Args:
        plan: Which source segment corresponds to which target segment.
        preferred: How probably each source segment is preferred to each other one.
        known: 1 where that was answered, and on the diagonal.
        normalised: Take each column of the plan as a distribution over source segments; False sums
            up with the plan as it is and leaves out nothing, as published.

    Example:
        >>> same = np.eye(3) / 3
        >>> better = np.triu(np.ones((3, 3)), 1) + np.eye(3) / 2
        >>> carry_labels(same, better, np.ones((3, 3)))[0][0, 1]
        1.0
        >>> float(carry_labels(same, better, np.ones((3, 3)), normalised=False)[0][0, 1].round(3))
        0.111
    """
    if not normalised:
        return plan.T @ (preferred * known) @ plan, np.ones((plan.shape[1], plan.shape[1]))
    columns = plan / plan.sum(axis=0)
    weight = columns.T @ known @ columns
    carried = columns.T @ (preferred * known) @ columns
    enough = weight > FEWEST_ANSWERS
    return np.where(enough, carried / np.maximum(weight, FEWEST_ANSWERS), 0.5), weight * enough


def _fitting(votes: Float[np.ndarray, "R M M"], target: TaskSegments) -> np.ndarray:
    """Return which votes agree best with the target's own answers; all where there are none."""
    decided = target.prefers_b != 0.5
    if not decided.any():
        return np.ones(len(votes), bool)
    said = votes[:, target.b[decided], target.a[decided]]
    right = np.where(target.prefers_b[decided] > 0.5, said, 1 - said).mean(axis=1)
    fitting: np.ndarray = right >= right.max() - 1e-9
    return fitting


def _membership(group: Int[np.ndarray, " N"]) -> Float[np.ndarray, "N G"]:
    member: np.ndarray = np.eye(int(group.max()) + 1)[group]
    return member


def _means(vectors: Float[np.ndarray, "N V"], group: Int[np.ndarray, " N"]) -> np.ndarray:
    means: np.ndarray = _membership(group).T @ vectors / np.bincount(group)[:, None]
    return means

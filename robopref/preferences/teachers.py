"""Scripted teachers: B-Pref's irrational annotators, and one that errs as people were seen to.

A teacher compares the returns of a query's items, computed from a score of each step that the
learner never sees. All amounts are in units of the spread (standard deviation) of the returns over
a pool of segments, so that a teacher means the same for every task and every scale of reward.

References:
    Lee et al., B-Pref: benchmarking preference-based reinforcement learning, 2021,
    arXiv:2111.03026, section 4.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from robopref.data.segment import Segment
from robopref.errors import DataError, check_above, check_at_least, check_between
from robopref.preferences.preference import Preference
from robopref.preferences.query import Item, Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.terminal import Person
from robopref.seeding import derive_uuid, make_rng

ScoreSteps = Callable[[Any], np.ndarray]
"""Score of each step of an item, (L,); or one number, (1,), that judges the item as a whole."""


@runtime_checkable
class Teacher(Protocol):
    """Answers queries."""

    def answer(self, query: Query) -> Preference | None:
        """Return the answer, which may be a skip; None when the teacher has stopped."""
        ...


@dataclass(frozen=True)
class ScriptedTeacherConfig:
    """A teacher that compares returns; as it stands, it is always right (B-Pref's oracle).

    Raises:
        ValueError: A field is out of its range.
    """

    annotator: str = "scripted"
    """Name under which the answers are kept."""
    criterion: str = "overall"
    """What is judged, in words."""
    temperature: float = 0.0
    """Randomness of the choice: the difference of returns is divided by this many spreads before
    the Plackett-Luce (for two items: Bradley-Terry) draw; 0 always takes the better."""
    mistake_rate: float = 0.0
    """Probability of turning a decided comparison around."""
    discount: float = 1.0
    """Myopia: a step counts this much less than the step after it."""
    skip_below: float | None = None
    """Skip when even the best item's return is below the pool's mean by this many spreads: -1 is
    one spread below. None never does."""
    equal_within: float = 0.0
    """Judge equal what differs by less than this many spreads."""
    skip_rate: float = 0.0
    """Probability of skipping whatever is shown."""
    gap_skip_rate: float = 0.0
    """Further probability of skipping two items of equal return; falls as the gap grows."""
    gap_skip_scale: float = 1.0
    """Gap at which that probability has fallen to 37 % [spreads]."""
    gap_mistake_rate: float = 0.0
    """Further probability of a mistake between items of nearly equal return."""
    gap_mistake_scale: float = 1.0
    """Gap at which that probability has fallen to 37 % [spreads]."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("temperature", self.temperature, 0)
        check_at_least("equal_within", self.equal_within, 0)
        check_between("discount", self.discount, 0, 1)
        for kind in ("skip", "mistake"):
            check_between(f"{kind}_rate", getattr(self, f"{kind}_rate"), 0, 1)
            check_between(f"gap_{kind}_rate", getattr(self, f"gap_{kind}_rate"), 0, 1)
            total = getattr(self, f"{kind}_rate") + getattr(self, f"gap_{kind}_rate")
            if total > 1:
                raise ValueError(
                    f"`{kind}_rate` and `gap_{kind}_rate` must not exceed 1 together, got {total}."
                )
            check_above(f"gap_{kind}_scale", getattr(self, f"gap_{kind}_scale"), 0)

    def build(
        self,
        score_steps: ScoreSteps,
        *,
        spread: float,
        rng: np.random.Generator,
        centre: float = 0.0,
        person: Person | None = None,
    ) -> ScriptedTeacher:
        """Build the teacher.

        Args:
            score_steps: Score of each step of an item.
            spread: Standard deviation of the items' returns, as `measure_returns` gives it.
            rng: Gives the teacher its seed; what it answers depends on that and the query's id.
            centre: Mean of the items' returns; only `skip_below` needs it.
            person: Not needed: nobody is asked.

        Raises:
            ValueError: `spread` is not above 0.
        """
        return ScriptedTeacher(self, score_steps, spread=spread, rng=rng, centre=centre)

    def measure_returns(
        self, score_steps: ScoreSteps, items: Iterable[Item]
    ) -> tuple[float, float]:
        """Return the spread and the mean of the returns of a pool of items, for `build`.

        Raises:
            DataError: All items have the same return, so that nothing can be compared.
        """
        returns = np.array([item_return(score_steps, item, self.discount) for item in items])
        if len(returns) < 2 or np.ptp(returns) == 0:
            raise DataError(
                f"All {len(returns)} items of the pool have the same return: a scripted teacher "
                "has nothing to compare. Give it another measure, or other episodes."
            )
        return float(returns.std()), float(returns.mean())


@dataclass(frozen=True)
class MistakeTeacherConfig(ScriptedTeacherConfig):
    """B-Pref's mistake teacher: turns one comparison in ten around."""

    mistake_rate: float = 0.1
    """Probability of turning a decided comparison around."""


@dataclass(frozen=True)
class NoisyTeacherConfig(ScriptedTeacherConfig):
    """B-Pref's stochastic teacher: the closer two items are, the more random its choice."""

    temperature: float = 0.5
    """Divisor of the difference of returns, in spreads; 0 always takes the better."""


@dataclass(frozen=True)
class SkipTeacherConfig(ScriptedTeacherConfig):
    """B-Pref's skipping teacher: passes on queries in which every item is poor."""

    skip_below: float | None = -0.5
    """Skip when even the best item is below the pool's mean by this many spreads. At -0.5 about
    a tenth of the pairs from a bell-shaped pool are skipped."""


@dataclass(frozen=True)
class MyopicTeacherConfig(ScriptedTeacherConfig):
    """B-Pref's myopic teacher: remembers the end of a segment better than its beginning."""

    discount: float = 0.9
    """Myopia: a step counts this much less than the step after it."""


@dataclass(frozen=True)
class EqualTeacherConfig(ScriptedTeacherConfig):
    """B-Pref's equal teacher: calls close items equal.

    Half a spread is about what a person takes for equal in two short clips; a teacher who always
    decides tells apart what nobody sees, and a few labels go a shorter way.
    """

    equal_within: float = 0.5
    """Judge equal what differs by less than this many spreads."""


@dataclass(frozen=True)
class HumanLikeTeacherConfig(ScriptedTeacherConfig):
    """A teacher that skips and errs more the closer two items are, as people do.

    The rates are a maximum-likelihood fit to human labels of three tasks (CLARIFY's published
    answers: 60 pairs each of large, medium and small gap in the true return; disagreements 0, 9
    and 5, skips 2, 7 and 23). The gaps are known as 30 : 10 : 1 only; that the medium one is one
    spread is an assumption.
    """

    skip_rate: float = 0.03
    """Probability of skipping whatever is shown."""
    gap_skip_rate: float = 0.41
    """Further probability of skipping two items of equal return; falls as the gap grows."""
    gap_skip_scale: float = 0.64
    """Gap at which that probability has fallen to 37 % [spreads]."""
    gap_mistake_rate: float = 0.21
    """Further probability of a mistake between items of nearly equal return."""
    gap_mistake_scale: float = 1.31
    """Gap at which that probability has fallen to 37 % [spreads]."""


class ScriptedTeacher:
    """Answers by returns, with the irrationalities of its config.

    In order: skip; make groups of equal items; order them by return, or by a Plackett-Luce draw;
    turn neighbours around by mistake. What it answers is decided by its seed and the query's id,
    so it answers a repeated query in the same way and a resumed run like an uninterrupted one.

    A score of one number a segment (`score_steps` returns shape (1,)) is taken as the return.

    Raises:
        ValueError: `spread` is not above 0.
    """

    def __init__(
        self,
        config: ScriptedTeacherConfig,
        score_steps: ScoreSteps,
        *,
        spread: float,
        rng: np.random.Generator,
        centre: float = 0.0,
    ) -> None:
        if not 0 < spread < np.inf:
            raise ValueError(f"`spread` must be above 0 and finite, got {spread}.")
        self.config = config
        self.score_steps = score_steps
        self.spread = spread
        self.centre = centre
        self._seed = int(rng.integers(2**62))

    def answer(self, query: Query) -> Preference:
        """Return the teacher's answer; a skip is an answer too."""
        return Preference(
            id=derive_uuid(self._seed, "preference", query.id),
            query=query,
            ranking=self._rank(query, make_rng(self._seed, "answer", query.id)),
            annotator=self.config.annotator,
            criterion=self.config.criterion,
        )

    def _rank(self, query: Query, rng: np.random.Generator) -> Ranking:
        num_items = len(query.items)
        returns = np.array(
            [item_return(self.score_steps, item, self.config.discount) for item in query.items]
        )
        utility = (returns - self.centre) / self.spread
        if self._skips(utility, rng):
            return Ranking.skipped(num_items)
        groups = group_equal(utility, self.config.equal_within)
        levels = np.array([utility[group].mean() for group in groups])
        order = self._order(levels, rng)
        return Ranking(num_items, tuple(tuple(groups[place]) for place in order))

    def _skips(self, utility: np.ndarray, rng: np.random.Generator) -> bool:
        config = self.config
        if config.skip_below is not None and utility.max() < config.skip_below:
            return True
        # Of many items the two extremes decide: people pass when not even those can be told apart.
        fading = config.gap_skip_rate * np.exp(-np.ptp(utility) / config.gap_skip_scale)
        return bool(rng.random() < config.skip_rate + fading)

    def _order(self, levels: np.ndarray, rng: np.random.Generator) -> list[int]:
        config = self.config
        utility = levels
        if config.temperature > 0:
            # The Gumbel trick: sorting noisy utilities draws from Plackett-Luce.
            utility = levels / config.temperature + rng.gumbel(size=len(levels))
        order = [int(place) for place in np.argsort(-utility, kind="stable")]
        for i in range(len(order) - 1):
            gap = abs(levels[order[i]] - levels[order[i + 1]])
            fading = config.gap_mistake_rate * np.exp(-gap / config.gap_mistake_scale)
            if rng.random() < config.mistake_rate + fading:
                order[i], order[i + 1] = order[i + 1], order[i]
        return order


def item_return(score_steps: ScoreSteps, item: Item, discount: float = 1.0) -> float:
    """Return the discounted sum of an item's scores; the last step counts in full.

    Raises:
        DataError: A score is not finite, or there are neither L scores nor one.
        ValueError: `discount` is below 1 and the item was scored as a whole.
    """
    scores = np.asarray(score_steps(item), np.float64)
    if scores.ndim != 1 or not np.isfinite(scores).all():
        raise DataError(
            f"The scores of {item} must be finite and of shape (L,) or (1,), got {scores}."
        )
    length = item.length if isinstance(item, Segment) else len(scores)
    if len(scores) not in (1, length):
        raise DataError(
            f"The scores of {item} must have shape ({length},) or (1,), got {scores.shape}."
        )
    if discount < 1 and len(scores) == 1 < length:
        raise ValueError(
            f"`discount` (={discount}) must be 1 for a measure that scores segments as a whole: "
            "there are no steps to discount."
        )
    weights = discount ** np.arange(len(scores) - 1, -1, -1)
    return float(weights @ scores)


def group_equal(utility: np.ndarray, within: float) -> list[list[int]]:
    """Return groups of item indices, best first; members are within `within` of their best.

    Equal utilities always share a group: there is no better one among them.
    """
    groups: list[list[int]] = []
    for item in np.argsort(-utility, kind="stable"):
        best = utility[groups[-1][0]] if groups else np.inf
        if best - utility[item] < within or best == utility[item]:
            groups[-1].append(int(item))
        else:
            groups.append([int(item)])
    return groups

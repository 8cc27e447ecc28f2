"""What a fine-tuning method may learn from; each method takes what it needs of it.

Shapes: M reward members, E unlabelled episodes, C chosen ones.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from jaxtyping import Float

from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.errors import DataError, check_between
from robopref.preferences.candidates import CandidateView, levels_of
from robopref.preferences.preference import Preference
from robopref.preferences.ranking import Ranking

SURE = 8.0
"""Difference of utilities between what was judged better and worse, in log-odds; a judgement
that is in doubt (a probability of 0.9) has less."""


@dataclass(frozen=True)
class Judgement:
    """Segments and how good each was judged to be.

    Args:
        segments: Two or more.
        utilities: One a segment: the log-odds that i is preferred to j are their difference.
        unranked: Segments that were left out as worse than the others, and not compared.
        weight: How far it is believed, from 0 for not at all to 1.
    """

    segments: tuple[Segment, ...]
    utilities: tuple[float, ...]
    unranked: frozenset[int] = frozenset()
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Check that there is a utility for each of two or more segments."""
        if len(self.segments) < 2 or len(self.utilities) != len(self.segments):
            raise ValueError(
                "A judgement is of two or more segments, with a utility for each, got "
                f"{len(self.segments)} segments and {len(self.utilities)} utilities."
            )
        if not np.isfinite(self.utilities).all():
            raise ValueError(f"`utilities` must be finite, got {self.utilities}.")
        check_between("weight", self.weight, 0, 1)

    @property
    def orders(self) -> bool:
        """Whether it prefers anything to anything."""
        return len(set(self.utilities)) > 1

    def pairs(self) -> list["Judgement"]:
        """Return the judgement of each two segments that were compared."""
        return [
            Judgement(
                (self.segments[i], self.segments[j]),
                (self.utilities[i], self.utilities[j]),
                weight=self.weight,
            )
            for i, j in combinations(range(len(self.segments)), 2)
            if not {i, j} <= self.unranked
        ]

    @classmethod
    def of_pair(
        cls, first: Segment, second: Segment, prefers_second: float, *, weight: float = 1.0
    ) -> "Judgement":
        """Return the judgement of two segments, the second preferred with that probability."""
        check_between("prefers_second", prefers_second, 0, 1)
        bounded = np.clip(prefers_second, 1 / (1 + np.exp(SURE)), 1 / (1 + np.exp(-SURE)))
        return cls((first, second), (0.0, float(np.log(bounded / (1 - bounded)))), weight=weight)


@dataclass(frozen=True, eq=False)
class FinetuneData:
    """Episodes, answers and a learned reward, from which each method takes what it needs.

    Args:
        chosen: Episodes to imitate, such as the best of those recorded with best-of-N.
        weights: How much each chosen episode counts; all the same by default.
        chosen_returns: Learned returns of the chosen episodes, by each member of the reward.
        judged: Episodes that the judgements are of.
        judgements: What was answered.
        demonstrations: Episodes that the base policy was cloned from.
        pool: Unlabelled episodes of the base policy.
        returns: Learned returns of the pool's episodes, by each member of the reward, in the
            units in which a difference of one makes the odds e : 1.
        scorer: The learned reward as an action scorer.
        rankings: What was answered about action candidates.
    """

    chosen: Sequence[Episode] = ()
    weights: Sequence[float] | None = None
    chosen_returns: Float[np.ndarray, "M C"] | None = None
    judged: Sequence[Episode] = ()
    judgements: Sequence[Judgement] = ()
    demonstrations: Sequence[Episode] = ()
    pool: Sequence[Episode] = ()
    returns: Float[np.ndarray, "M E"] | None = None
    scorer: Any = None
    rankings: CandidateView | None = None

    def __post_init__(self) -> None:
        """Check that judgements and returns are of the episodes that are there.

        Raises:
            DataError: An episode is missing, or a return.
        """
        known = {episode.id for episode in self.judged}
        for judgement in self.judgements:
            for segment in judgement.segments:
                if segment.episode_id not in known:
                    raise DataError(
                        f"A judgement is of episode {segment.episode_id}, which is not among the "
                        f"{len(known)} judged episodes."
                    )
        if self.returns is not None and self.returns.shape[1:] != (len(self.pool),):
            raise DataError(
                f"`returns` must have shape (M, {len(self.pool)}), one column for each episode of "
                f"the pool, got {self.returns.shape}."
            )


def judgements_of(
    preferences: Iterable[Preference],
    episode: Callable[[str], Episode],
    *,
    believed: Sequence[float] | None = None,
) -> tuple[list[Episode], list[Judgement]]:
    """Return the episodes that answers are about, and what was judged of them.

    Args:
        preferences: The answers; skipped and incomparable ones give no judgement.
        episode: Returns an episode by its id.
        believed: Probability that the second of each pair is preferred, where the answers are
            doubted; in the order of the answers and of the pairs of each.
    """
    beliefs = None if believed is None else iter(believed)
    judgements = []
    for preference in preferences:
        pairs = preference.segment_pairs()
        if not pairs:
            continue
        held = [said if beliefs is None else next(beliefs) for *_, said in pairs]
        segments = tuple(item for item in preference.query.items if isinstance(item, Segment))
        # What was called equal is not in doubt for that.
        sure = [abs(2 * p - 1) for p, (*_, said) in zip(held, pairs, strict=True) if said != 0.5]
        weight = float(np.mean(sure)) if sure else 1.0
        if len(segments) == 2:
            judgement = Judgement.of_pair(*pairs[0][:2], held[0], weight=weight)
        else:
            judgement = _of_ranking(segments, preference.ranking, weight)
        judgements.append(judgement)
    ids = dict.fromkeys(s.episode_id for j in judgements for s in j.segments)
    return [episode(key) for key in ids], judgements


def _of_ranking(segments: tuple[Segment, ...], ranking: Ranking, weight: float) -> Judgement:
    unranked = frozenset(range(len(segments))).difference(*ranking.order)
    utilities = tuple(SURE * level for level in levels_of(ranking))
    return Judgement(segments, utilities, unranked, weight)

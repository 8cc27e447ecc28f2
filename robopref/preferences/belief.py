"""How far each answer is believed: decisions first, then how reliable who answered has proved.

Answers of several annotators to one pair are compared by Dawid and Skene's method, with one rate of
errors for each annotator. What comes out is each answer's `confidence`, which rewards are fitted
with: an answer that all others contradict ends at 0.5, where it says nothing.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robopref.preferences.agreement import decided_pairs
from robopref.preferences.bradley_terry import fit_crowd
from robopref.preferences.dawid_skene import DawidSkene, dawid_skene
from robopref.preferences.preference import Preference
from robopref.preferences.query import Item
from robopref.preferences.ranking import Ranking

PRIOR_RIGHT, PRIOR_WRONG = 9.0, 1.0
"""Answers that everybody is taken to have given already: one in ten is wrong."""
MAX_SCORED = 500
"""Items that scores are fitted to at most: the time grows with the cube of their number."""
ADJUDICATED = "adjudicated"
"""Annotator under whose name a decision stands."""

Decisions = Mapping[tuple[str, str], Ranking]
"""The ranking that was decided on, by query and criterion."""
Unit = tuple[Item, Item, str]


@dataclass(frozen=True)
class Reliability:
    """How often annotators are right.

    Args:
        by_votes: By whether others agree with them (Dawid and Skene).
        by_scores: By whether the scores of the items that all answers make probable agree with
            them (Bradley and Terry); only where items were compared often enough to have scores.
    """

    by_votes: dict[str, float]
    by_scores: dict[str, float]


def settle(preferences: Iterable[Preference], decisions: Decisions) -> list[Preference]:
    """Return the answers with those to a query that was decided replaced by the decision."""
    settled: list[Preference] = []
    done = set()
    for preference in preferences:
        place = (preference.query.id, preference.criterion)
        if place not in decisions:
            settled.append(preference)
        elif place not in done:
            done.add(place)
            settled.append(
                replace(preference, ranking=decisions[place], annotator=ADJUDICATED, confidence=1.0)
            )
    return settled


def believe(preferences: Sequence[Preference]) -> list[Preference]:
    """Return the answers with the confidence that each is right.

    Of a ranking of more than two items it is the mean over the pairs that it decides. Decisions
    keep their confidence; ties and answers that order nothing have none to lose.
    """
    votes = _Votes.of(p for p in preferences if p.annotator != ADJUDICATED)
    if not votes.units:
        return list(preferences)
    truth = votes.settle().truth
    return [_believed(preference, votes, truth) for preference in preferences]


def measure_reliability(preferences: Sequence[Preference]) -> Reliability:
    """Return how often annotators are right, as far as their answers tell."""
    votes = _Votes.of(preferences)
    if not votes.units:
        return Reliability({}, {})
    accuracy, comparable = votes.settle().accuracy, votes.comparable()
    by_votes = {
        name: float(accuracy[row]) for name, row in votes.annotators.items() if row in comparable
    }
    return Reliability(by_votes, votes.by_scores())


class _Votes:
    """Who said which of two items is better."""

    def __init__(self) -> None:
        self.units: dict[Unit, int] = {}
        self.annotators: dict[str, int] = {}
        self._votes: list[tuple[int, int, int]] = []

    @classmethod
    def of(cls, preferences: Iterable[Preference]) -> "_Votes":
        votes = cls()
        for preference in preferences:
            for (a, b), prefers_b in decided_pairs(preference):
                if prefers_b != 0.5:
                    unit = votes.units.setdefault((a, b, preference.criterion), len(votes.units))
                    row = votes.annotators.setdefault(preference.annotator, len(votes.annotators))
                    votes._votes.append((row, unit, int(prefers_b > 0.5)))
        return votes

    def settle(self) -> DawidSkene:
        """Return which side is probably better, and how often each annotator is right."""
        counts = np.zeros((len(self.annotators), len(self.units), 2))
        for row, unit, side in self._votes:
            counts[row, unit, side] += 1
        return dawid_skene(
            counts, prior_right=PRIOR_RIGHT / 2, prior_wrong=PRIOR_WRONG / 2, one_rate=True
        )

    def comparable(self) -> set[int]:
        """Return the annotators who judged a pair that another judged too."""
        by_unit = defaultdict(set)
        for row, unit, _ in self._votes:
            by_unit[unit].add(row)
        return {row for who in by_unit.values() if len(who) > 1 for row in who}

    def by_scores(self) -> dict[str, float]:
        """Return reliabilities by scores, if items met three others on average."""
        items: dict[tuple[Item, str], int] = {}
        pairs = []
        units = list(self.units)
        for row, unit, side in self._votes:
            a, b, criterion = units[unit]
            first = items.setdefault((a, criterion), len(items))
            second = items.setdefault((b, criterion), len(items))
            pairs.append((first, second, side, row))
        if 2 * len(units) < 3 * len(items) or len(items) > MAX_SCORED:
            return {}
        a, b, prefers_b, who = np.array(pairs).T
        scores = fit_crowd(a, b, prefers_b.astype(float), who, num_items=len(items))
        assert scores.reliability is not None
        return {name: float(scores.reliability[row]) for name, row in self.annotators.items()}


def _believed(preference: Preference, votes: _Votes, truth: np.ndarray) -> Preference:
    if preference.annotator == ADJUDICATED:
        return preference
    right = [
        truth[votes.units[a, b, preference.criterion], int(prefers_b > 0.5)]
        for (a, b), prefers_b in decided_pairs(preference)
        if prefers_b != 0.5
    ]
    if not right:
        return preference
    return replace(preference, confidence=float(np.clip(np.mean(right), 0.5, 1.0)))

"""How far each answer is believed: decisions first, then how reliable who answered has proved.

Answers of several annotators to one pair are compared by Dawid and Skene's method, with one rate
of errors for each annotator; where an answer is known (decided, gold), it is the truth. A pair that
one annotator judged is compared with the scores that all answers give its items (Bradley and Terry,
with a reliability for each annotator [1]), where items were compared often enough to have scores;
else it is as probably right as its annotator's answers to what is known. What comes out is each
answer's `confidence`, which rewards are fitted with: an answer that all others contradict ends at
0.5, where it says nothing.

References:
    [1] Chen et al., Pairwise ranking aggregation in a crowdsourced setting, WSDM 2013 (Crowd-BT).
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from robopref.preferences.agreement import decided_pairs
from robopref.preferences.crowd import fit_crowd
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
"""Two items and a criterion."""
Vote = tuple[str, Unit, int]
"""Who said of two items which one is better: 0 or 1."""


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


def believe(preferences: Sequence[Preference], known: Decisions | None = None) -> list[Preference]:
    """Return the answers with the confidence that each is right.

    Of a ranking of more than two items it is the mean over the pairs that it decides, and never
    more than the answer's own. Decisions keep theirs; ties and answers that order nothing have none
    to lose, and where nothing tells whether an answer is right it stays as it is; so it does where
    only one annotator answered, and none of what is known.

    Args:
        preferences: The answers.
        known: Right answers that are known, by query and criterion.
    """
    votes = _Votes.of((p for p in preferences if p.annotator != ADJUDICATED), known)
    right = votes.probably_right()
    return [_believed(preference, right) for preference in preferences]


def measure_reliability(
    preferences: Sequence[Preference], known: Decisions | None = None
) -> Reliability:
    """Return how often annotators are right, as far as their answers and what is known tell."""
    votes = _Votes.of(preferences, known)
    if not votes.units:
        return Reliability({}, {})
    accuracy, comparable = votes.settle().accuracy, votes.comparable()
    by_votes = {
        name: float(accuracy[row]) for name, row in votes.annotators.items() if row in comparable
    }
    scores = votes.scores()
    if scores is None:
        return Reliability(by_votes, {})
    by_scores = {name: float(scores.reliability[row]) for name, row in votes.annotators.items()}
    return Reliability(by_votes, by_scores)


class _Votes:
    """Who said which of two items is better."""

    def __init__(self) -> None:
        self.units: dict[Unit, int] = {}
        self.annotators: dict[str, int] = {}
        self._votes: list[tuple[int, int, int]] = []
        self._known: dict[int, int] = {}

    @classmethod
    def of(cls, preferences: Iterable[Preference], known: Decisions | None = None) -> "_Votes":
        votes = cls()
        truth: dict[Unit, int] = {}
        for preference in preferences:
            right = (known or {}).get((preference.query.id, preference.criterion))
            if right is not None:
                for (a, b), prefers_b in decided_pairs(replace(preference, ranking=right)):
                    if prefers_b != 0.5:
                        truth[a, b, preference.criterion] = int(prefers_b > 0.5)
            for (a, b), prefers_b in decided_pairs(preference):
                if prefers_b != 0.5:
                    unit = votes.units.setdefault((a, b, preference.criterion), len(votes.units))
                    row = votes.annotators.setdefault(preference.annotator, len(votes.annotators))
                    votes._votes.append((row, unit, int(prefers_b > 0.5)))
        votes._known = {votes.units[unit]: truth[unit] for unit in votes.units.keys() & truth}
        return votes

    def settle(self) -> DawidSkene:
        """Return which side is probably better, and how often each annotator is right."""
        counts = np.zeros((len(self.annotators), len(self.units), 2))
        for row, unit, side in self._votes:
            counts[row, unit, side] += 1
        return dawid_skene(
            counts, prior_right=PRIOR_RIGHT / 2, prior_wrong=PRIOR_WRONG / 2, one_rate=True,
            known=self._known,
        )  # fmt: skip

    def comparable(self) -> set[int]:
        """Return the annotators who judged a pair that another judged too, or that is known."""
        shared = {row for who in self._judges().values() if len(who) > 1 for row in who}
        return shared | self._tested()

    def probably_right(self) -> dict[Vote, float]:
        """Return the probability that each vote is right, of those of which something tells."""
        judges, names, units = self._judges(), list(self.annotators), list(self.units)
        tested, scores = self._tested(), self.scores() if len(names) > 1 else None
        truth = self.settle().truth if self.comparable() else np.empty((0, 2))
        found: dict[Vote, float] = {}
        for row, unit, side in self._votes:
            if len(judges[unit]) > 1 or unit in self._known:
                found[names[row], units[unit], side] = float(truth[unit, side])
            elif scores is not None:
                found[names[row], units[unit], side] = scores.probably_right(row, unit, side)
            elif row in tested:
                found[names[row], units[unit], side] = float(truth[unit, side])
        return found

    def scores(self) -> "_Scores | None":
        """Return scores of the items, if they met three others on average."""
        items: dict[tuple[Item, str], int] = {}
        places = [
            (items.setdefault((a, c), len(items)), items.setdefault((b, c), len(items)))
            for a, b, c in self.units
        ]
        if 2 * len(places) < 3 * len(items) or len(items) > MAX_SCORED:
            return None
        a, b = np.array([places[unit] for _, unit, _ in self._votes]).T
        who, _, prefers_b = np.array(self._votes).T
        fitted = fit_crowd(a, b, prefers_b.astype(float), who, num_items=len(items))
        return _Scores(places, fitted.score, fitted.reliability)

    def _tested(self) -> set[int]:
        """Return the annotators who judged a pair whose answer is known."""
        return {row for row, unit, _ in self._votes if unit in self._known}

    def _judges(self) -> dict[int, set[int]]:
        judges = defaultdict(set)
        for row, unit, _ in self._votes:
            judges[unit].add(row)
        return judges


@dataclass(frozen=True)
class _Scores:
    """Scores of items, and how reliable annotators are by them.

    Args:
        places: The two items of each unit.
        score: Of each item.
        reliability: Of each annotator.
    """

    places: list[tuple[int, int]]
    score: np.ndarray
    reliability: np.ndarray

    def probably_right(self, row: int, unit: int, side: int) -> float:
        """Return how probably an annotator is right who says that `side` is better [1]."""
        first, second = self.places[unit]
        margin = self.score[second] - self.score[first]
        agrees = 1 / (1 + np.exp(-margin if side else margin))
        right, wrong = self.reliability[row] * agrees, (1 - self.reliability[row]) * (1 - agrees)
        return float(right / (right + wrong))


def _believed(preference: Preference, right: Mapping[Vote, float]) -> Preference:
    if preference.annotator == ADJUDICATED:
        return preference
    votes = [
        (preference.annotator, (a, b, preference.criterion), int(prefers_b > 0.5))
        for (a, b), prefers_b in decided_pairs(preference)
        if prefers_b != 0.5
    ]
    known = [right[vote] for vote in votes if vote in right]
    if not known:
        return preference
    return replace(
        preference, confidence=float(np.clip(np.mean(known), 0.5, preference.confidence))
    )

"""How far the labelling is: counts, agreement, speed, checks, what the reward learned on the way.

Counts are of all answers; agreement and what is said of an annotator are of the last `LAST`.
"""

import math
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from statistics import median
from typing import Any

import sqlalchemy as sa

from robopref.labeling.adjudication import count_disagreements
from robopref.labeling.queue import GOLD, LabelQueue
from robopref.labeling.rated import (
    count_contradictions,
    find_contradictions,
    measure_rating_agreement,
)
from robopref.labeling.recent import IN_ONE, read_history, recent_answers
from robopref.labeling.value import METHOD
from robopref.preferences import tables
from robopref.preferences.agreement import Agreement, measure_agreement
from robopref.preferences.belief import Reliability, measure_reliability
from robopref.preferences.database import known_answers
from robopref.preferences.details import shown_order
from robopref.preferences.preference import Preference
from robopref.preferences.query import ATTENTION
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.store import PreferenceStore
from robopref.statistics import Proportion, even_chance, wilson

LAST = 5_000
"""Answers of a criterion that are looked at."""
NUM_SHOWN = 200
"""Rows of a list at most."""
DAY_S = 86_400

queries, preferences, ratings = tables.queries, tables.preferences, tables.ratings
queue = tables.label_queue

Plain = dict[str, Any]


class Progress:
    """Measures how far a project is.

    Args:
        store: Its answers.
        labels: Its queue.
    """

    def __init__(self, store: PreferenceStore, labels: LabelQueue) -> None:
        self._store = store
        self._queue = labels

    def measure(self) -> Plain:
        """Return how far the project is; see the description of the interface.

        With a million answers that takes ten seconds of a core.
        """
        return {
            "computed_s": time.time(),
            "criteria": [self._of(criterion) for criterion in self._queue.config.names],
            "ratings": self._ratings(),
            "contradictions": [
                row
                for criterion in self._queue.config.names
                for row in find_contradictions(self._store.database, criterion, NUM_SHOWN)
            ],
            "blocked": [
                {"query_id": row["query_id"], "criterion": row["criterion"],
                 "reason": row["blocked"]}
                for row in self._queue.blocked()[:NUM_SHOWN]
            ],
            "skipped": self._skipped(),
        }  # fmt: skip

    def _of(self, criterion: str) -> Plain:
        database = self._store.database
        answers, _ = recent_answers(database, criterion, LAST)
        roles = self._roles(criterion, [answer.query.id for answer in answers])
        counts = self._counts(criterion)
        num_labels, per_day = self._labels(criterion)
        rated, num_rated = measure_rating_agreement(database, criterion, LAST)
        history = read_history(database, criterion, NUM_SHOWN)
        # Attention checks say nothing of the clips.
        judged = [a for a in answers if roles.get(a.query.id, ("", None))[0] != ATTENTION]
        agreement = measure_agreement(judged)
        return {
            "criterion": criterion,
            "labels": num_labels,
            "answers": sum(sum(kinds.values()) for kinds in counts.values()),
            "annotators": _annotators(
                counts,
                answers,
                roles,
                agreement.consistency,
                measure_reliability(judged, known_answers(database, criterion)),
            ),
            "agreement": _agreement(agreement) | {"answers": len(judged)},
            "position": _position(judged),
            "rating_agreement": _agreement(rated) | {"answers": num_rated},
            "rating_disagreements": count_contradictions(database, criterion),
            "per_day": per_day,
            "remaining": self._queue.num_open(criterion),
            "history": history,
            "value_of_ten": history[-1]["value_of_ten"] if history else None,
            "value_method": METHOD,
            "disagreements": count_disagreements(database, criterion),
        }

    def _roles(self, criterion: str, ids: Sequence[str]) -> dict[str, tuple[str, Any]]:
        """Return the role and the known answer of those queries that check annotators."""
        found = {}
        columns = queue.c.query_id, queue.c.role, queue.c.expected
        with self._store.database.reading() as connection:
            for start in range(0, len(ids), IN_ONE):
                statement = sa.select(*columns).where(
                    queue.c.query_id.in_(ids[start : start + IN_ONE]),
                    queue.c.criterion == criterion, queue.c.expected.is_not(None),
                )  # fmt: skip
                for name, role, known in connection.execute(statement):
                    found[name] = (role, known)
        return found

    def _counts(self, criterion: str) -> dict[str, Counter[str]]:
        """Return how many answers of each kind each annotator gave."""
        statement = (
            sa.select(preferences.c.annotator, preferences.c.answer, sa.func.count())
            .where(preferences.c.criterion == criterion, ~preferences.c.undone)
            .group_by(preferences.c.annotator, preferences.c.answer)
        )
        counts: dict[str, Counter[str]] = defaultdict(Counter)
        with self._store.database.reading() as connection:
            for annotator, answer, num in connection.execute(statement):
                counts[annotator][answer] = int(num)
        return counts

    def _labels(self, criterion: str) -> tuple[int, list[Plain]]:
        """Return how many labels there are, and how many were given each day."""
        day = sa.cast(sa.func.floor(preferences.c.time_s / DAY_S), sa.Integer)
        statement = (
            sa.select(day, sa.func.sum(queries.c.num_items - 1))
            .join_from(preferences, queries)
            .where(
                preferences.c.criterion == criterion, ~preferences.c.undone,
                preferences.c.answer == str(Answer.RANKED), queries.c.strategy != ATTENTION,
            )
            .group_by(day)
            .order_by(day)
        )  # fmt: skip
        with self._store.database.reading() as connection:
            rows = connection.execute(statement).all()
        per_day = [
            {"day": datetime.fromtimestamp(int(day) * DAY_S, UTC).date().isoformat(),
             "labels": int(num)}
            for day, num in rows
            if day  # Imported answers do not say when they were given.
        ]  # fmt: skip
        return sum(int(num) for _, num in rows), per_day

    def _ratings(self) -> list[Plain]:
        columns = (ratings.c.criterion, ratings.c.annotator, ratings.c.rating)
        statement = (
            sa.select(*columns, sa.func.count().label("num"))
            .where(~ratings.c.undone)
            .group_by(*columns)
            .limit(NUM_SHOWN)
        )
        with self._store.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]

    def _skipped(self) -> list[Plain]:
        """Return the open queries that annotators passed on, most often first."""
        skips = sa.func.count().label("skips")
        statement = (
            sa.select(preferences.c.query_id, preferences.c.criterion, skips)
            .join(
                queue,
                sa.and_(
                    queue.c.query_id == preferences.c.query_id,
                    queue.c.criterion == preferences.c.criterion,
                ),
            )
            .where(queue.c.is_open, preferences.c.answer == "skipped", ~preferences.c.undone)
            .group_by(preferences.c.query_id, preferences.c.criterion)
            .order_by(skips.desc())
            .limit(NUM_SHOWN)
        )
        with self._store.database.reading() as connection:
            return [dict(row) for row in connection.execute(statement).mappings()]


def _annotators(
    counts: Mapping[str, Counter[str]],
    answers: Sequence[Preference],
    roles: Mapping[str, tuple[str, Any]],
    consistency: Mapping[str, float],
    reliability: Reliability,
) -> list[Plain]:
    by_name: dict[str, list[Preference]] = defaultdict(list)
    for preference in answers:
        by_name[preference.annotator].append(preference)
    found = []
    for name, kinds in sorted(counts.items()):
        own = by_name[name]
        times = [p.response_time_s for p in own if p.response_time_s > 0]
        checks = {role: _checked(own, roles, role) for role in (GOLD, ATTENTION)}
        found.append(
            {
                "name": name,
                "answers": sum(kinds.values()),
                "skips": kinds["skipped"],
                "seconds_median": median(times) if times else None,
                "first_shown_share": _position(own),
                "consistency": consistency.get(name),
                "reliability_votes": reliability.by_votes.get(name),
                "reliability_scores": reliability.by_scores.get(name),
                "gold": _share(checks[GOLD]) if checks[GOLD] else None,
                "attention": _share(checks[ATTENTION]) if checks[ATTENTION] else None,
            }
        )
    return found


def _checked(
    own: Sequence[Preference], roles: Mapping[str, tuple[str, Any]], role: str
) -> list[bool]:
    """Return for each check of a role whether it was answered as expected."""
    results = []
    for preference in own:
        found, expected = roles.get(preference.query.id, ("", None))
        if found == role and expected and preference.ranking.answer is not Answer.SKIPPED:
            order = tuple(tuple(group) for group in expected.get("order", []))
            known = Ranking(preference.ranking.num_items, order, Answer(expected["answer"]))
            results.append(preference.ranking == known)
    return results


def _first_shown(answers: Sequence[Preference]) -> list[bool]:
    """Return for each ordered pair whether the one that was shown first won."""
    won = []
    for preference in answers:
        num, order = len(preference.query.items), preference.ranking.order
        shown = shown_order(preference.details, num)
        if shown and num == 2 and len(order) == 2:
            won.append(order[0][0] == shown[0])
    return won


def _position(answers: Sequence[Preference]) -> Plain:
    won = _first_shown(answers)
    return _share(won) | {"p_value": even_chance(sum(won), len(won)) if won else None}


def _agreement(found: Agreement) -> Plain:
    return {
        "alpha": _known(found.alpha),
        "kappa": [{"a": a, "b": b, "kappa": _known(k)} for (a, b), k in found.kappa.items()],
    }


def _share(results: Sequence[bool]) -> Plain:
    share: Proportion = wilson(sum(results), len(results))
    return {
        "value": _known(share.value), "low": share.low, "high": share.high, "num": share.num,
    }  # fmt: skip


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value

"""Answers and ratings as requests say them, made into what is stored."""

import time
from collections.abc import Collection
from typing import Any

from robopref.errors import check_choice
from robopref.labeling.config import Criterion
from robopref.labeling.messages import AnswerIn, RatingIn
from robopref.labeling.refusals import RefusedError, refusing
from robopref.preferences.preference import Preference
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.ranking import Answer, Ranking
from robopref.preferences.rating import Rating, RatingQuery, Verdict


def preference_of(query: Query, criterion: str, annotator: str, body: AnswerIn) -> Preference:
    """Return an answer to a query.

    Raises:
        RefusedError: It does not fit the query.
    """
    num = len(query.items)
    if body.shown and sorted(body.shown) != list(range(num)):
        raise RefusedError(f"`shown` must be an order of the items 0 to {num - 1}.")
    _check_candidates(query, body)
    details: dict[str, Any] = {
        key: value
        for key, value in (
            ("shown", body.shown), ("tags", body.tags), ("all_bad", body.all_bad),
            ("proposed", body.proposed),
        )
        if value
    }  # fmt: skip
    order = tuple(tuple(group) for group in body.order)
    with refusing():
        return Preference(
            id=str(body.id),
            query=query,
            ranking=Ranking(num, order, Answer(body.answer)),
            annotator=annotator,
            criterion=criterion,
            strength=body.strength,
            reason=body.note,
            time_s=time.time(),
            response_time_s=body.response_time_s,
            details=details,
        )


def rating_of(query: RatingQuery, criterion: Criterion, annotator: str, body: RatingIn) -> Rating:
    """Return a rating of a query's clip.

    Raises:
        RefusedError: The verdict is none of the criterion's, or the mark is outside of the clip.
    """
    with refusing():
        check_verdict(criterion, body.rating)
        return Rating(
            id=str(body.id),
            query=query,
            verdict=Verdict(body.rating),
            mark_step=body.mark_step,
            annotator=annotator,
            criterion=criterion.name,
            reason=body.note,
            time_s=time.time(),
            response_time_s=body.response_time_s,
            details={"tags": body.tags} if body.tags else {},
        )


def check_verdict(criterion: Criterion, rating: str, but: Collection[str] = ()) -> None:
    """Check that a clip can be rated so by a criterion, or passed on, `but` for some of that.

    Raises:
        ValueError: It cannot.
    """
    every = (*criterion.verdicts, Verdict.CANNOT_TELL, Verdict.SKIPPED)
    check_choice("rating", rating, [str(verdict) for verdict in every if verdict not in but])


def _check_candidates(query: Query, body: AnswerIn) -> None:
    """Check that what is said of candidates is said of candidates, in their form."""
    shapes = {
        (len(item.action), len(item.action[0]))
        for item in query.items
        if isinstance(item, ActionCandidate)
    }
    if not shapes and (body.all_bad or body.proposed is not None):
        raise RefusedError("`all_bad` and `proposed` are for queries of action candidates.")
    if body.proposed is None:
        return
    widths = {len(row) for row in body.proposed}
    if len(widths) != 1 or (len(body.proposed), *widths) not in shapes:
        raise RefusedError(
            f"`proposed` must have the shape of a candidate's action, {sorted(shapes)}, got "
            f"{len(body.proposed)} rows of {sorted(widths)} numbers."
        )

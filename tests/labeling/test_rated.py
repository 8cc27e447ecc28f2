"""Tests of agreement on single clips, on both databases."""

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.labeling.rated import (
    count_contradictions,
    find_contradictions,
    measure_rating_agreement,
)
from robopref.preferences import tables
from robopref.preferences.rating import RatingQuery, rating_query_row
from robopref.preferences.store import PreferenceStore


@pytest.fixture
def database(location):
    with PreferenceStore(location) as store:
        yield store.database


def rate(database, verdicts, criterion="overall"):
    """Have annotators (rows) rate clips (columns); None where they did not."""
    with database.writing() as connection:
        for column in range(len(next(iter(verdicts.values())))):
            query = RatingQuery(f"{criterion}{column}", Segment(f"e{column}", column, 5))
            row = rating_query_row(query, "hash", context={}, created_s=0.0)
            connection.execute(tables.rating_queries.insert(), row)
            for annotator, said in verdicts.items():
                if said[column] is not None:
                    connection.execute(
                        tables.ratings.insert(),
                        {
                            "id": f"{query.id} {annotator}", "query_id": query.id,
                            "rating": said[column], "mark_step": column or None,
                            "annotator": annotator, "criterion": criterion, "reason": "",
                            "time_s": 0.0, "response_time_s": 0.0, "undone": False, "details": {},
                        },
                    )  # fmt: skip


def test_agreement_is_that_of_a_published_example(database):
    """Cohen 1960, table 1, three of whose classes stand for verdicts; see test_agreement."""
    classes, counts = ("good", "bad", "success"), [[88, 10, 2], [14, 40, 6], [18, 10, 12]]
    pairs = [(a, b) for i, a in enumerate(classes) for j, b in enumerate(classes)
             for _ in range(counts[i][j])]  # fmt: skip
    first, second = (list(said) for said in zip(*pairs, strict=True))
    rate(database, {"anna": first, "ben": second})
    found, num = measure_rating_agreement(database, "overall", 1000)
    assert num == 400
    assert found.kappa["anna", "ben"] == pytest.approx(0.492, abs=5e-4)
    # Krippendorff's alpha for two is nearly Scott's pi: classes as frequent as on average.
    expected = (((np.sum(counts, 0) + np.sum(counts, 1)) / 400) ** 2).sum()
    assert found.alpha == pytest.approx(1 - (1 - 0.7) / (1 - expected), abs=2e-3)


def test_contradictions_are_listed_oldest_first_without_what_is_no_verdict(database):
    verdicts = {
        "anna": ["good", "good", "good", "bad", None],
        "ben": ["bad", "cannot tell", "good", "skipped", "bad"],
        "cleo": ["bad", "bad", None, "good", None],
    }
    rate(database, verdicts)
    rate(database, {"anna": ["success"], "ben": ["failure"]}, "success")
    assert count_contradictions(database, "overall") == 3
    found = find_contradictions(database, "overall", 2)
    assert [row["query_id"] for row in found] == ["overall0", "overall1"]
    assert found[1] == {
        "query_id": "overall1", "criterion": "overall", "episode_id": "e1", "start": 1,
        "length": 5, "ratings": [
            {"annotator": name, "rating": said, "mark_step": 1, "reason": "", "time_s": 0.0,
             "tags": []}
            for name, said in (("anna", "good"), ("cleo", "bad"))
        ],
    }  # fmt: skip
    with database.writing() as connection:
        connection.execute(
            tables.ratings.update().where(tables.ratings.c.annotator == "cleo"), {"undone": True}
        )
    assert count_contradictions(database, "overall") == 1
    agreement, _ = measure_rating_agreement(database, "overall", 1000)
    assert agreement.kappa == {("anna", "ben"): pytest.approx(0.0)}


def test_nobody_rated(database):
    agreement, num = measure_rating_agreement(database, "overall", 1000)
    assert (agreement.annotators, agreement.kappa, num) == ((), {}, 0)
    assert np.isnan(agreement.alpha)
    assert find_contradictions(database, "overall", 10) == []

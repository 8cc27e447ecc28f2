"""Tests for asking within a budget of labels."""

import itertools
import logging

import pytest

from robopref.preferences import Preference, Ranking
from robopref.preferences.budget import BudgetedTeacher, ask_until


class Reciting:
    """A teacher who gives prepared rankings, one after the other."""

    def __init__(self, make_answer, rankings):
        self.make_answer = make_answer
        self.rankings = iter(rankings)
        self.num_asked = 0

    def answer(self, query):
        self.num_asked += 1
        ranking = next(self.rankings)
        return None if ranking is None else self.make_answer(query, f"a-{query.id}", ranking)


@pytest.fixture
def endless(make_query):
    return (make_query(f"q{i}") for i in itertools.count())


def test_ties_count_and_skips_do_not(make_answer, endless):
    rankings = [Ranking.skipped(), Ranking.tie(), Ranking.incomparable(), Ranking.prefer(1)]
    teacher = Reciting(make_answer, itertools.cycle(rankings))
    kept: list[Preference] = []
    answers = ask_until(teacher, endless, 4, keep=kept.append)
    assert [answer.ranking for answer in answers] == rankings * 2
    assert kept == answers
    assert next(endless).id == "q8", "no query is taken that is not asked"


def test_a_ranking_of_k_items_costs_k_minus_one(make_answer, make_query):
    four = [make_query(f"q{i}", 4) for i in range(5)]
    ranking = Ranking(4, ((0,), (1, 2, 3)))
    teacher = Reciting(make_answer, itertools.repeat(ranking))
    assert len(ask_until(teacher, four, 6)) == 2
    # Two labels are left, and the third query would cost three.
    assert len(ask_until(teacher, four, 8)) == 2
    assert teacher.num_asked == 4


def test_a_resumed_run_asks_for_what_is_missing(make_answer, endless):
    teacher = Reciting(make_answer, itertools.repeat(Ranking.prefer(0)))
    assert len(ask_until(teacher, endless, 10, num_labels=7)) == 3
    assert ask_until(teacher, endless, 10, num_labels=12) == []


def test_stopping_early_is_logged(make_answer, make_query, caplog):
    rankings = [Ranking.prefer(0), Ranking.skipped(), None]
    queries = [make_query(f"q{i}") for i in range(5)]
    with caplog.at_level(logging.WARNING):
        assert len(ask_until(Reciting(make_answer, rankings), queries, 4)) == 2
    assert caplog.messages == [
        "Asked 2 queries and got 1 of 4 labels; 1 were skipped or could not be told."
    ]


def test_the_budget_must_not_be_negative(make_answer):
    with pytest.raises(ValueError) as error:
        BudgetedTeacher(Reciting(make_answer, []), -1)
    assert str(error.value) == "`budget` must be at least 0, got -1."

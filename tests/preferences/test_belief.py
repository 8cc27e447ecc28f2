"""Tests for how far answers are believed."""

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest

from robopref.data.segment import Segment
from robopref.preferences import Preference, Query, Ranking
from robopref.preferences.belief import ADJUDICATED, believe, measure_reliability, settle


def query(number, *, turned=False):
    items = (Segment(f"a{number}", 0, 5), Segment(f"b{number}", 0, 5))
    return Query(f"q{number}{turned}", items[::-1] if turned else items)


def answer(who, number, winner, *, turned=False, **fields):
    ranking = winner if isinstance(winner, Ranking) else Ranking.prefer(winner)
    asked = query(number, turned=turned)
    return Preference(f"{who} {asked.id}", asked, ranking, annotator=who, **fields)


def test_who_contradicts_the_others_is_not_believed():
    answers = [answer(who, n, n % 2) for n in range(12) for who in ("anna", "ben")]
    answers += [answer("mallory", n, 1 - n % 2) for n in range(12)]
    believed = believe(answers)
    assert [b.id for b in believed] == [a.id for a in answers]
    assert all(b.confidence > 0.95 for b in believed[:24])
    assert all(b.confidence == 0.5 for b in believed[24:])
    assert believed[30].pairs() == [(0, 1, 0.5)], "it pulls no reward either way"
    found = measure_reliability(answers)
    assert found.by_votes["anna"] > 0.9
    assert found.by_votes["mallory"] < 0.5
    assert found.by_scores == {}, "no item was compared often enough"


def test_it_does_not_matter_which_way_round_a_pair_stood():
    straight = believe([answer("anna", 1, 0), answer("ben", 1, 0)])
    turned = believe([answer("anna", 1, 0), answer("ben", 1, 1, turned=True)])
    assert [p.confidence for p in straight] == pytest.approx([p.confidence for p in turned])


def test_ties_and_skips_stay_as_they_are():
    answers = [
        answer("anna", 1, Ranking.tie()), answer("ben", 1, Ranking.skipped()),
        answer("cleo", 1, Ranking.incomparable()),
    ]  # fmt: skip
    assert believe(answers) == answers
    assert measure_reliability(answers).by_votes == {}


def test_nobody_is_judged_by_pairs_that_only_they_answered():
    assert measure_reliability([answer("anna", n, 0) for n in range(9)]).by_votes == {}


def test_scores_tell_who_is_reliable_where_items_are_compared_often():
    items = [Segment(f"e{i}", 0, 5) for i in range(5)]
    answers = []
    for who, right in (("anna", True), ("ben", True), ("mallory", False)):
        for i in range(5):
            for j in range(i):
                asked = Query(f"{i} {j}", (items[j], items[i]))
                ranking = Ranking.prefer(int(right))
                answers.append(Preference(f"{who}{i}{j}", asked, ranking, annotator=who))
    found = measure_reliability(answers).by_scores
    assert found["anna"] > 0.8
    assert found["mallory"] < 0.5


def test_a_pair_that_one_judged_is_compared_with_the_scores_of_all():
    items = [Segment(f"e{i}", 0, 5) for i in range(12)]
    names = np.random.default_rng(0).choice(["anna", "ben", "cleo", "mallory"], 66)
    answers = []
    # No pair is judged twice: by votes nobody can be compared with anybody.
    for who, (j, i) in zip(names, combinations(range(12), 2), strict=True):
        asked = Query(f"{i} {j}", (items[j], items[i]))
        ranking = Ranking.prefer(int(who != "mallory"))
        answers.append(Preference(f"{i} {j}", asked, ranking, annotator=str(who)))
    believed = believe(answers)
    assert measure_reliability(answers).by_votes == {}
    assert np.mean([b.confidence for b in believed if b.annotator != "mallory"]) > 0.9
    assert np.mean([b.confidence for b in believed if b.annotator == "mallory"]) < 0.6
    alone = [replace(answer, annotator="anna") for answer in answers]
    assert believe(alone) == alone, "there is nobody to compare with"


def test_no_answer_is_believed_more_than_it_says_itself():
    answers = [answer(who, n, 0) for n in range(6) for who in ("anna", "ben")]
    answers[0] = replace(answers[0], confidence=0.7)
    assert believe(answers)[0].confidence == 0.7


def test_a_decision_stands_for_all_answers_to_its_query():
    answers = [answer("anna", 1, 0), answer("ben", 1, 1), answer("anna", 2, 0)]
    settled = settle(answers, {("q1False", "overall"): Ranking.prefer(1)})
    assert [p.annotator for p in settled] == [ADJUDICATED, "anna"]
    assert settled[0].ranking == Ranking.prefer(1)
    assert believe(settled)[0].confidence == 1.0


def test_known_answers_are_the_truth_and_failing_them_lowers_the_rest():
    answers = [answer("anna", n, 0) for n in range(12)]
    answers += [answer("mallory", n, n % 2) for n in range(12, 24)]
    known = {(f"q{n}False", "overall"): Ranking.prefer(0) for n in [*range(4), *range(12, 18)]}
    believed = believe(answers, known)
    assert {b.confidence for b in believed[:4]} == {1.0}
    assert [b.confidence for b in believed[12:18]] == [1.0, 0.5, 1.0, 0.5, 1.0, 0.5]
    (anna,), (mallory,) = ({b.confidence for b in part} for part in (believed[4:12], believed[18:]))
    assert mallory < 0.8 < 0.9 < anna < 1
    found = measure_reliability(answers, known).by_votes
    assert (found["anna"], found["mallory"]) == pytest.approx((anna, mallory), abs=1e-6)


def test_a_known_tie_and_a_known_answer_nobody_gave_tell_nothing():
    answers = [answer("anna", n, 0) for n in range(3)]
    known = {("q0False", "overall"): Ranking.tie(), ("other", "overall"): Ranking.prefer(1)}
    assert believe(answers, known) == answers

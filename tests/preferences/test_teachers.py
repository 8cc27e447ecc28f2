"""Tests for scripted teachers: exact where they must be, within computed bounds where they draw."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from robopref.data.segment import Segment
from robopref.errors import DataError
from robopref.preferences import TEACHERS, Answer, PairwiseView, Query, Ranking
from robopref.preferences.store import PreferenceStore
from robopref.preferences.teachers import (
    EqualTeacherConfig,
    HumanLikeTeacherConfig,
    MistakeTeacherConfig,
    MyopicTeacherConfig,
    NoisyTeacherConfig,
    ScriptedTeacherConfig,
    SkipTeacherConfig,
    Teacher,
    group_equal,
)

LENGTH = 4
returns = st.floats(-1e6, 1e6, allow_subnormal=False)


def make_query(values, name="q"):
    """A query whose items' return is their score: item i is named after its value."""
    return Query(name, tuple(Segment(f"{v!r}@{i}", 0, LENGTH) for i, v in enumerate(values)))


def score(segment):
    """Spread the value in the segment's name evenly over its steps."""
    return np.full(LENGTH, float(segment.episode_id.partition("@")[0]) / LENGTH)


def build(config, *, spread=1.0, seed=0, score_steps=score, centre=0.0):
    rng = np.random.default_rng(seed)
    return config.build(score_steps, spread=spread, rng=rng, centre=centre)


def count(teacher, values, num=600):
    """Count the answers to `num` queries about the same values, by order."""
    counts: dict[object, int] = {}
    for i in range(num):
        ranking = teacher.answer(make_query(values, f"q{i}")).ranking
        key = ranking.order if ranking.answer is Answer.RANKED else ranking.answer
        counts[key] = counts.get(key, 0) + 1
    return counts


def assert_share(successes, num, probability):
    """Check a count against the bounds that it leaves once in a million."""
    low, high = stats.binom.interval(1 - 1e-6, num, probability)
    assert low <= successes <= high


@given(st.lists(returns, min_size=2, max_size=5))
def test_the_oracle_is_always_right(values):
    ranking = build(ScriptedTeacherConfig()).answer(make_query(values)).ranking
    for a, b, prefers_b in ranking.pairs():
        x, y = (score(make_query(values).items[i]).sum() for i in (a, b))
        assert prefers_b == (0.5 if x == y else float(y > x))


def test_the_mistake_teacher_errs_as_often_as_it_says():
    counts = count(build(MistakeTeacherConfig(mistake_rate=0.2)), [1.0, 3.0])
    assert_share(counts[((0,), (1,))], 600, 0.2)


def test_a_mistaken_teacher_may_still_call_equal_what_is():
    assert set(count(build(MistakeTeacherConfig(mistake_rate=0.5)), [2.0, 2.0], 50)) == {((0, 1),)}


@pytest.mark.parametrize("gap", [0.0, 0.3, 1.0, 3.0])
def test_the_noisy_teacher_follows_bradley_terry_in_units_of_the_spread(gap):
    teacher = build(NoisyTeacherConfig(temperature=0.5), spread=40.0)
    counts = count(teacher, [0.0, gap * 40.0 + 1e-9])
    expected = 1 / (1 + np.exp(-gap / 0.5))
    assert_share(counts.get(((1,), (0,)), 0), 600, expected)


def test_rankings_of_many_are_plackett_luce_draws():
    values = np.array([0.0, 0.5, 1.0])
    counts = count(build(NoisyTeacherConfig(temperature=1.0)), list(values), 900)
    weight = np.exp(values)
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        first = weight[order[0]] / weight.sum()
        second = weight[order[1]] / (weight.sum() - weight[order[0]])
        key = tuple((i,) for i in order)
        assert_share(counts[key], 900, first * second)


@settings(max_examples=30)
@given(st.integers(-8, 8), st.lists(st.floats(-10, 10), min_size=2, max_size=4), st.integers(0, 99))
def test_the_scale_of_returns_means_nothing(exponent, values, seed):
    # Powers of two scale floating-point numbers exactly.
    factor = 2.0**exponent
    for config in (NoisyTeacherConfig(), EqualTeacherConfig(), HumanLikeTeacherConfig()):
        small = build(config, spread=2.0, seed=seed)
        large = build(
            config, spread=2.0 * factor, seed=seed, score_steps=lambda s: score(s) * factor
        )
        query = make_query(values, f"q{seed}")
        assert small.answer(query).ranking == large.answer(query).ranking


def test_the_myopic_teacher_prefers_the_better_end():
    better_end, better_start = np.array([0.0, 0.0, 0.0, 1.0]), np.array([1.2, 0.0, 0.0, 0.0])
    query = make_query([0.0, 1.0])

    def by_step(segment):
        return better_end if segment == query.items[0] else better_start

    oracle = build(ScriptedTeacherConfig(), score_steps=by_step)
    assert oracle.answer(query).ranking == Ranking.prefer(1)
    myopic = build(MyopicTeacherConfig(discount=0.9), score_steps=by_step)
    assert myopic.answer(query).ranking == Ranking.prefer(0)


def test_the_skipping_teacher_passes_when_even_the_best_is_poor():
    teacher = build(SkipTeacherConfig(skip_below=-0.5), spread=10.0, centre=100.0)
    assert teacher.answer(make_query([80.0, 94.9])).ranking == Ranking.skipped()
    assert teacher.answer(make_query([80.0, 95.1])).ranking == Ranking.prefer(1)


def test_the_skipping_teacher_passes_on_a_tenth_of_a_bell_shaped_pool():
    rng = np.random.default_rng(0)
    teacher = build(SkipTeacherConfig())
    skips = sum(
        teacher.answer(make_query(pair, f"q{i}")).ranking == Ranking.skipped()
        for i, pair in enumerate(rng.normal(size=(500, 2)).tolist())
    )
    assert_share(skips, 500, stats.norm.cdf(-0.5) ** 2)


def test_the_equal_teacher_groups_what_is_close_to_the_best_of_its_group():
    assert group_equal(np.array([0.0, 0.05, 0.12, 1.0]), 0.1) == [[3], [2, 1], [0]]
    assert group_equal(np.array([1.0, 1.0, 0.0]), 0.0) == [[0, 1], [2]]
    ranking = (
        build(EqualTeacherConfig(equal_within=0.1))
        .answer(make_query([0.0, 0.05, 0.12, 1.0]))
        .ranking
    )
    assert ranking.order == ((3,), (1, 2), (0,))


@pytest.mark.parametrize(
    ("gap", "agree", "disagree", "skip"), [(3.0, 58, 0, 2), (1.0, 44, 9, 7), (0.1, 32, 5, 23)]
)
def test_the_human_like_teacher_answers_as_people_did(gap, agree, disagree, skip):
    """The counts are of 60 human answers each at a large, medium and small gap."""
    counts = count(build(HumanLikeTeacherConfig()), [0.0, gap], 1000)
    skips, errors = counts[Answer.SKIPPED], counts[((0,), (1,))]
    for observed, num, share in (
        (skip, 60, skips / 1000),
        (disagree, agree + disagree, errors / (1000 - skips)),
    ):
        low, high = stats.binom.interval(0.95, num, share)
        assert low <= observed <= high


def test_the_human_like_teacher_is_worse_at_smaller_gaps():
    counts = [count(build(HumanLikeTeacherConfig()), [0.0, gap], 500) for gap in (3.0, 1.0, 0.1)]
    for answer in (Answer.SKIPPED, ((0,), (1,))):
        rates = [c[answer] for c in counts]
        assert rates == sorted(rates)
        assert rates[0] < rates[2] / 2


@pytest.mark.parametrize("name", [n for n in TEACHERS if n not in ("terminal", "web")])
def test_answers_depend_on_the_seed_and_the_query_alone(name):
    rng = np.random.default_rng(1)
    queries = [make_query(rng.normal(size=2).tolist(), f"q{i}") for i in range(30)]
    config = TEACHERS.config_class(name)()
    teacher = build(config)
    answers = [teacher.answer(query) for query in queries]
    assert [teacher.answer(query) for query in queries] == answers
    assert isinstance(teacher, Teacher)
    resumed = build(config)
    assert [resumed.answer(query) for query in reversed(queries)] == answers[::-1]
    assert len({answer.id for answer in answers}) == 30
    other = build(config, seed=1)
    assert {other.answer(query).id for query in queries}.isdisjoint(a.id for a in answers)


def test_a_score_of_the_whole_segment_is_its_return():
    whole = build(ScriptedTeacherConfig(), score_steps=lambda s: score(s).sum(keepdims=True))
    assert whole.answer(make_query([1.0, 3.0])).ranking == Ranking.prefer(1)
    myopic = build(MyopicTeacherConfig(), score_steps=lambda s: score(s).sum(keepdims=True))
    with pytest.raises(ValueError) as error:
        myopic.answer(make_query([1.0, 3.0]))
    assert str(error.value) == (
        "`discount` (=0.9) must be 1 for a measure that scores segments as a whole: "
        "there are no steps to discount."
    )


@pytest.mark.parametrize(
    ("scores", "problem"),
    [
        (np.zeros(3), "must have shape (4,) or (1,), got (3,)."),
        (np.full(4, np.nan), "must be finite and of shape (L,) or (1,), got [nan nan nan nan]."),
    ],
)
def test_scores_that_cannot_be_are_named(scores, problem):
    query = make_query([1.0, 2.0])
    with pytest.raises(DataError) as error:
        build(ScriptedTeacherConfig(), score_steps=lambda s: scores).answer(query)
    assert str(error.value) == f"The scores of {query.items[0]} {problem}"


def test_the_spread_is_measured_on_a_pool():
    items = make_query([1.0, 3.0, 5.0]).items
    spread, mean = ScriptedTeacherConfig().measure_returns(score, items)
    assert spread == pytest.approx(np.std([1, 3, 5]))
    assert mean == pytest.approx(3.0)
    with pytest.raises(DataError) as error:
        ScriptedTeacherConfig().measure_returns(score, make_query([2.0, 2.0]).items)
    assert str(error.value) == (
        "All 2 items of the pool have the same return: a scripted teacher has nothing to compare. "
        "Give it another measure, or other episodes."
    )


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"temperature": -1.0}, "`temperature` must be at least 0, got -1.0."),
        ({"mistake_rate": 1.5}, "`mistake_rate` must be between 0 and 1, got 1.5."),
        ({"discount": 2.0}, "`discount` must be between 0 and 1, got 2.0."),
        (
            {"skip_rate": 0.7, "gap_skip_rate": 0.5},
            "`skip_rate` and `gap_skip_rate` must not exceed 1 together, got 1.2.",
        ),
        ({"gap_mistake_scale": 0.0}, "`gap_mistake_scale` must be above 0, got 0.0."),
    ],
)
def test_settings_out_of_range_are_refused(fields, message):
    with pytest.raises(ValueError) as error:
        ScriptedTeacherConfig(**fields)
    assert str(error.value) == message


def test_a_spread_of_zero_is_refused():
    with pytest.raises(ValueError) as error:
        build(ScriptedTeacherConfig(), spread=0.0)
    assert str(error.value) == "`spread` must be above 0 and finite, got 0.0."


# One test for each bug of published teachers and label files (pearl.md 3.1 and 3.8).


def test_bug_the_equal_margin_is_applied_once_and_never_shrinks():
    """B-Pref multiplies its margin by eps twice after the first session: 0.01 instead of 0.1."""
    teacher = build(EqualTeacherConfig(equal_within=0.1), spread=50.0)
    for session in range(3):
        near, far = make_query([0.0, 4.9], f"near{session}"), make_query([0.0, 5.1], f"f{session}")
        assert teacher.answer(near).ranking == Ranking.tie()
        assert teacher.answer(far).ranking == Ranking.prefer(1)


def test_bug_noise_does_not_vanish_on_large_returns():
    """B-Pref's beta acts on raw returns: at Meta-World's scale, "noisy" is deterministic."""
    counts = count(build(NoisyTeacherConfig(), spread=1000.0), [5000.0, 5500.0])
    assert_share(counts[((0,), (1,))], 600, 1 / (1 + np.exp(0.5 / 0.5)))


def test_bug_opposite_label_conventions_cannot_be_mixed_up(tmp_path):
    """Public label files disagree whether 1 means the first or the second; here winners are named.

    Second clearly better, and the same two the other way round: every form names the same winner.
    """
    good, bad = Segment("3.0@0", 0, LENGTH), Segment("1.0@1", 0, LENGTH)
    teacher = build(ScriptedTeacherConfig())
    queries = [Query("second", (bad, good)), Query("first", (good, bad))]
    answers = [teacher.answer(query) for query in queries]
    assert [answer.ranking.order for answer in answers] == [((1,), (0,)), ((0,), (1,))]
    view = PairwiseView.from_preferences(
        answers, lambda segment: ({"observation.state": np.zeros((4, 1))}, np.zeros((4, 1), "f4"))
    )
    assert view.prefers_b.tolist() == [1.0, 0.0]
    with PreferenceStore(tmp_path / "store.sqlite") as store:
        store.add_queries(queries, cut_hash=lambda segment: "hash")
        for answer in answers:
            store.answer(answer)
        rows = store.chosen_rejected()
    assert [row["chosen"]["episode_id"] for row in rows] == ["3.0@0", "3.0@0"]


def test_presets_differ_from_the_oracle_in_their_own_field_only():
    oracle = dataclasses.asdict(ScriptedTeacherConfig())
    changed = {
        name: {
            key
            for key, value in dataclasses.asdict(TEACHERS.config_class(name)()).items()
            if value != oracle[key]
        }
        for name in TEACHERS
        if name not in ("terminal", "web", "human-like")
    }
    assert changed == {
        "scripted": set(),
        "mistake": {"mistake_rate"},
        "noisy": {"temperature"},
        "skip": {"skip_below"},
        "myopic": {"discount"},
        "equal": {"equal_within"},
    }

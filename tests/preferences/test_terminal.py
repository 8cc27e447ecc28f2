"""Tests for the teacher that is a person."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.preferences import Answer, Query, Ranking
from robopref.preferences.teachers import Teacher
from robopref.preferences.terminal import (
    Person,
    Request,
    TerminalTeacherConfig,
    parse_reply,
)


@pytest.fixture
def sit_down():
    """Return a teacher who types `lines`, with all that was shown and asked."""

    def sit_down(*lines):
        shown: list[Query] = []
        asked: list[str] = []
        rest = iter(lines)

        def ask(prompt):
            asked.append(prompt)
            return next(rest, None)

        config = TerminalTeacherConfig("anna", "smoothness")
        return config.build(person=Person(shown.append, ask)), shown, asked

    return sit_down


PROMPT = "Better: 1, 2, = equal, ? cannot tell, s skip, u undo, q quit: "


@pytest.mark.parametrize(
    ("line", "ranking"),
    [
        ("1", Ranking.prefer(0)),
        (" 2\n", Ranking.prefer(1)),
        ("=", Ranking.tie()),
        ("?", Ranking.incomparable()),
        ("S", Ranking.skipped()),
        ("2>1", Ranking.prefer(1)),
        ("1=2", Ranking.tie()),
    ],
)
def test_each_key_means_what_the_prompt_says(sit_down, make_query, line, ranking):
    teacher, shown, asked = sit_down(line)
    preference = teacher.reply(make_query())
    assert isinstance(teacher, Teacher)
    assert preference.ranking == ranking
    assert (preference.annotator, preference.criterion) == ("anna", "smoothness")
    assert preference.time_s > 1.6e9
    assert preference.response_time_s >= 0
    assert shown == [make_query()]
    assert asked == [PROMPT]


def test_what_is_no_answer_is_asked_again(sit_down, make_query):
    teacher, shown, asked = sit_down("3", "", "left", "1")
    assert teacher.reply(make_query()).ranking == Ranking.prefer(0)
    assert asked == [
        PROMPT,
        f"'3' is no answer. {PROMPT}",
        f"'' is no answer. {PROMPT}",
        f"'left' is no answer. {PROMPT}",
    ]
    assert len(shown) == 1


@pytest.mark.parametrize("lines", [("q",), (), ("nonsense",)])
def test_quitting_or_leaving_ends_the_session(sit_down, make_query, lines):
    teacher, _, _ = sit_down(*lines)
    assert teacher.answer(make_query()) is None
    teacher, _, _ = sit_down(*lines)
    assert teacher.reply(make_query()) is Request.QUIT


def test_undo_is_not_offered_where_nothing_can_be_undone(sit_down, make_query):
    teacher, shown, asked = sit_down("u", "2")
    assert teacher.answer(make_query()).ranking == Ranking.prefer(1)
    prompt = "Better: 1, 2, = equal, ? cannot tell, s skip, q quit: "
    assert asked == [prompt, f"'u' is no answer. {prompt}"]
    assert len(shown) == 1


def test_many_items_are_ordered_in_one_line(sit_down, make_query):
    teacher, _, asked = sit_down("3 > 1=2")
    assert teacher.reply(make_query(num_items=4)).ranking == Ranking(4, ((2,), (0, 1)))
    assert asked == [
        "Better: best first, such as 2>1=3; = all equal, ? cannot tell, s skip, u undo, q quit: "
    ]


@given(st.text(max_size=6), st.integers(2, 5))
def test_any_text_is_an_answer_or_is_not(text, num_items):
    parsed = parse_reply(text, num_items)
    if isinstance(parsed, Ranking):
        assert parsed.num_items == num_items


@given(st.integers(2, 6).flatmap(lambda k: st.tuples(st.just(k), st.permutations(range(k)))))
def test_an_order_that_was_typed_is_the_order(case):
    num_items, order = case
    parsed = parse_reply(" > ".join(str(i + 1) for i in order), num_items)
    assert parsed == Ranking(num_items, tuple((i,) for i in order), Answer.RANKED)


def test_a_terminal_teacher_needs_a_person():
    with pytest.raises(ValueError) as error:
        TerminalTeacherConfig().build()
    assert str(error.value) == "`person` must be given: the teacher 'terminal' asks someone."

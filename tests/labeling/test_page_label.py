"""The labelling page in a real browser, by keys alone: pairs, rankings, actions, ratings, undo."""

from typing import Any

import pytest

from robopref.labeling.config import Criterion
from tests.labeling.page_project import answer, intercept, press, serve_project, until


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("project")


@pytest.fixture(scope="module")
def served(folder):
    with serve_project(folder) as project:
        yield project


@pytest.fixture
def project(served):
    """Return the project with nothing asked and nothing answered."""
    served.forget()
    return served


def first(answers):
    assert len(answers) == 1
    return answers[0]


def test_while_clips_are_drawn_keys_say_so_and_x_skips(project, pages):
    first_one, second = project.ask_clips(2, 2, length=12)
    page = pages.open(project, "anna", path="/compare", ready=False)
    page.get_by_role("heading", level=1).wait_for()
    held: list[Any] = []
    intercept(page, f"**/api/clips/{first_one.id}/**", lambda route: held.append(route))
    page.get_by_role("link", name="Label", exact=True).click()
    until(page, "robopref.page.judge")
    press(page, "1")
    page.get_by_text("The clips are being drawn").first.wait_for()
    assert project.answers == []
    press(page, "x")
    page.wait_for_selector("[data-state=ready]")
    assert page.evaluate("robopref.page.query.id") == second.id
    assert page.locator(".count").inner_text() == "1 answered · 1 to go"
    assert first(project.answers).ranking.answer == "skipped"
    answer(page, "1")
    assert len(project.answers) == 2
    assert held


@pytest.mark.parametrize(
    ("key", "kind", "winner"),
    [
        ("1", "ranked", 0),
        pytest.param("ArrowRight", "ranked", 1, marks=pytest.mark.slow),
        pytest.param("ArrowUp", "ranked", None, marks=pytest.mark.slow),
        ("ArrowDown", "incomparable", None),
    ],
)
def test_one_key_answers_a_pair(project, pages, key, kind, winner):
    [query] = project.ask_clips(2)
    page = pages.open(project)
    order = page.evaluate("robopref.page.query.order")
    answer(page, key)
    preference = first(project.answers)
    expected: tuple[tuple[int, ...], ...] = () if kind == "incomparable" else ((0, 1),)
    if winner is not None:
        expected = ((order[winner],), (order[1 - winner],))
    assert preference.query.id == query.id
    assert preference.ranking.answer == kind
    assert preference.ranking.order == expected
    assert list(preference.details["shown"]) == order
    assert 0 < preference.response_time_s < 60
    assert page.get_by_role("heading", name="All done").is_visible()


def test_strength_reasons_and_note_go_with_the_answer(project, pages):
    project.ask_clips(2)
    page = pages.open(project)
    press(page, "e", "a", "f", "a", "n")
    page.keyboard.type("it <b>jerks</b> 1 2")  # Digits in a note answer nothing.
    answer(page, "Enter", "1")
    preference = first(project.answers)
    assert preference.strength == 3
    assert preference.details["tags"] == ["gentler"]
    assert preference.reason == "it <b>jerks</b> 1 2"


def test_ranking_by_digits_with_a_tie(project, pages):
    project.ask_clips(4, length=12)
    page = pages.open(project)
    order = page.evaluate("robopref.page.query.order")
    press(page, "3", "1", "Enter")  # Not complete: nothing is sent.
    assert project.answers == []
    answer(page, "=", "4", "ArrowUp", "Enter")
    preference = first(project.answers)
    assert [sorted(group) for group in preference.ranking.order] == [
        [order[2]], sorted([order[0], order[3]]), [order[1]],
    ]  # fmt: skip


def test_actions_all_bad_and_one_placed_by_keys(project, pages):
    project.ask_actions(3)
    page = pages.open(project)
    assert page.evaluate("robopref.page.judge.cloud.mode") == "space"
    press(page, "Shift+ArrowLeft", "PageUp", "t", "t")
    press(page, "p", "ArrowRight", "ArrowRight", "Enter", "Enter", "b")
    answer(page, "2", "1", "3", "Enter")
    preference = first(project.answers)
    assert preference.details["all_bad"] is True
    [row] = preference.details["proposed"]
    assert len(row) == 6
    assert preference.ranking.num_items == 3


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_paths_are_large_and_coloured_as_their_numbers(project, pages, scheme):
    project.ask_actions(4)
    page = pages.open(project, color_scheme=scheme)
    span = page.evaluate(
        """() => { const { leaders } = robopref.page.judge.cloud.labels;
          const at = (name) => leaders.map((each) => Number(each.getAttribute(name)));
          const [x, y] = [at('x1'), at('y1')].map((all) => Math.max(...all) - Math.min(...all));
          return Math.hypot(x, y); }"""
    )
    assert span > 100
    colors = page.evaluate(
        """() => ['.cloud-labels', '.tray'].map((box) =>
          [...document.querySelectorAll(`${box} .badge`)].map((badge) =>
            getComputedStyle(badge).backgroundColor))"""
    )
    assert colors[0] == colors[1]
    painted = page.evaluate("robopref.page.judge.cloud.palette.slice(0, 4)")
    assert colors[0] == [f"rgb({r}, {g}, {b})" for r, g, b in painted]
    overlaps = page.evaluate(
        """() => { const boxes = robopref.page.judge.cloud.labels.badges
            .map((badge) => badge.getBoundingClientRect());
          return boxes.filter((a, k) => boxes.some((b, l) => l > k
            && Math.abs(a.x - b.x) < 28 && Math.abs(a.y - b.y) < 28)).length; }"""
    )
    assert overlaps == 0
    page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
    until(page, "rgb => String(robopref.page.judge.cloud.palette[0]) !== String(rgb)", painted[0])
    assert page.evaluate("robopref.page.judge.cloud.mode") == "space"


@pytest.mark.slow
def test_without_webgl_actions_are_seen_from_above(project, pages):
    project.ask_actions(3)
    page = pages.open(project, "anna", ready=False)
    page.add_init_script(
        """const { getContext } = HTMLCanvasElement.prototype;
        HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
          return kind === 'webgl2' ? null : getContext.call(this, kind, ...rest); };"""
    )
    page.reload()
    page.wait_for_selector("[data-state=ready]")
    assert page.evaluate("robopref.page.judge.cloud.mode") == "top"
    drawn = page.evaluate(
        """() => { const canvas = document.querySelector('.cloud canvas');
          const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
          return data.filter((value, k) => k % 4 === 3 && value).length / (data.length / 4); }"""
    )
    assert drawn > 0.005
    answer(page, "1", "2", "3", "Enter")
    assert len(project.answers) == 1


@pytest.mark.slow
def test_one_clip_is_judged_with_a_mark(project, pages):
    project.ask_rating()
    page = pages.open(project)
    press(page, "Space", "Home")
    until(page, "robopref.page.judge.stage.player.frame === 0")
    press(page, ".", ".", ".")
    until(page, "robopref.page.judge.stage.player.frame === 3")
    answer(page, "m", "2")
    rating = first(project.ratings)
    assert (rating["rating"], rating["mark_step"]) == ("bad", 3)


@pytest.mark.slow
def test_a_clip_is_a_success_where_that_is_asked(tmp_path, pages):
    asked = Criterion("success", "Which one succeeds?", "Does it work?")
    with serve_project(tmp_path, criteria=(asked,)) as project:
        project.ask_rating()
        page = pages.open(project)
        assert page.locator(".question").inner_text() == "Does it work?"
        answers = page.get_by_role("group", name="Answer").get_by_role("button").all_inner_texts()
        assert [text.split("\n")[0] for text in answers] == [
            "Success", "Mark where it went wrong", "Cannot tell", "Failure",
        ]  # fmt: skip
        answer(page, "1")
        assert first(project.ratings)["rating"] == "success"


def test_an_answer_is_taken_back_and_given_anew(project, pages):
    project.ask_clips(2, 3, length=12)
    page = pages.open(project, "who takes back")
    query = page.evaluate("robopref.page.query.id")
    assert page.locator(".count").inner_text() == "0 answered · 2 to go"
    answer(page, "1")
    assert page.locator(".count").inner_text() == "1 answered · 1 to go"
    press(page, "Shift+Z")
    stills = page.locator(".history-list video")
    until(page, "document.querySelectorAll('.history-list video').length === 2")
    until(page, "[...document.querySelectorAll('.history-list video')].every((v) => v.videoWidth)")
    assert stills.first.is_visible()
    press(page, "Escape", "z")
    until(page, "id => robopref.page.query.id === id", query)
    page.wait_for_selector("[data-state=ready]")
    assert project.answers == []
    answer(page, "2")
    assert first(project.answers).query.id == query


def test_markup_in_names_notes_and_reasons_stays_text(project, pages):
    mark = "<img src=x onerror=alert(1)>"
    project.ask_clips(2, why=f"Why {mark}")
    page = pages.open(project, mark)
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    assert page.locator(".why").text_content() == f"Why {mark}"
    assert page.locator(".who").text_content() == mark
    press(page, "n")
    page.keyboard.type(mark)
    answer(page, "Enter", "1")
    press(page, "Shift+Z")
    row = page.locator(".history-list li").filter(has_text="First is better")
    assert mark in row.text_content()
    assert page.locator("img[src='x']").count() == 0


@pytest.mark.slow
def test_curves_show_the_reward_only_when_asked(project, pages):
    project.ask_clips(2)
    page = pages.open(project)

    def with_reward(route):
        answer = route.fetch()
        found = answer.json()
        learned = {"name": "learned reward", "unit": "", "values": [0.0, 1.0], "hidden": True}
        route.fulfill(response=answer, json={"lanes": [*found["lanes"], learned]})

    intercept(page, "**/api/lanes/**", with_reward)
    press(page, "l")
    until(page, "document.querySelectorAll('.lane').length > 0")
    names = page.locator(".lanes").first.locator(".lane-name")
    assert "wrench" in names.all_inner_texts()
    assert "learned reward" not in names.all_inner_texts()
    page.get_by_role("button", name="Show the learned reward").first.click()
    for lanes in page.locator(".lanes").all():
        assert "learned reward" in lanes.locator(".lane-name").all_inner_texts()
    press(page, "l")
    assert page.locator(".lanes").first.is_hidden()

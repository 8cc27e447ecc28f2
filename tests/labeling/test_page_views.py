"""The other pages, and what everybody needs of all of them: names, sizes, contrast."""

import pytest

from tests.labeling.page_project import SHOWN, answer, intercept, press, until

# What a screen reader would say of a control; empty is a fault.
NAMELESS = """() => [...document.querySelectorAll(
    'button, input, select, textarea, a[href], [role=img], canvas, [tabindex="0"]')]
  .filter((element) => element.checkVisibility() && !element.closest('[aria-hidden=true]'))
  .filter((element) => !(element.getAttribute('aria-label') || element.textContent.trim()
    || element.labels?.length || element.closest('[role=img][aria-label]')))
  .map((element) => element.outerHTML.slice(0, 120))"""
# Controls that a finger misses, and parts that stick out of the window.
SMALL = """() => [...document.querySelectorAll('button, select, input:not([type=checkbox])')]
  .filter((element) => element.checkVisibility()).map((element) => [
    element.textContent, element.getBoundingClientRect()])
  .filter(([, box]) => box.height < 32 || box.width < 32).map(([text]) => text)"""
OUTSIDE = """() => [...document.querySelectorAll('main :is(button, select, canvas, input)')]
  .filter((element) => element.checkVisibility()).map((element) => [
    element.outerHTML.slice(0, 120), element.getBoundingClientRect()])
  .filter(([, box]) => box.left < 0 || box.right > innerWidth + 1 || box.bottom > innerHeight + 1)
  .map(([text]) => text)"""
# What is wider than the window; a table may be wider than its card, in which it scrolls.
WIDE = """() => [...document.querySelectorAll('main, main *, dialog[open], dialog[open] *')]
  .filter((element) => element.checkVisibility() && !element.parentElement.closest('.table'))
  .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
  .map((element) => element.outerHTML.slice(0, 120))
  .concat(document.documentElement.scrollWidth > innerWidth ? ['the page'] : [])"""
# The contrast of text with what is behind it (WCAG 2.2, 1.4.3), for plain colours.
FAINT = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
    .map((v) => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, k) => sum + v * [0.2126, 0.7152, 0.0722][k], 0);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  return [...document.querySelectorAll('button, p, h1, h2, label, th, td, a, dt, dd, .badge, kbd')]
    .filter((e) => e.checkVisibility({ opacityProperty: true }) && !e.closest(':disabled'))
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()))
    .map((e) => {
      const style = getComputedStyle(e);
      const [a, b] = [light(parse(style.color)), light(behind(e))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), e.textContent.trim().slice(0, 40)];
    })
    .filter(([ratio]) => ratio < 4.5);
}"""

SIZES = [(1280, 720), (820, 1180), (1180, 820), (1024, 768)]


def disagree(project, pages, count=2):
    """Have two annotators answer `count` pairs in opposite ways; return the queries."""
    queries = project.ask_clips(*[2] * count, length=12)
    for name, better in (("anna", 0), ("ben", 1)):
        page = pages.open(project, name)
        for _ in range(count):
            place = page.evaluate("robopref.page.query.order").index(better)
            answer(page, str(place + 1))
    return queries


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("kind", ["pair", "ranking", "candidates", "rating"])
@pytest.mark.slow
def test_every_kind_fits_and_every_control_has_a_name(project, pages, kind, size):
    ask = {
        "pair": lambda: project.ask_clips(2), "ranking": lambda: project.ask_clips(4, length=12),
        "candidates": lambda: project.ask_actions(4), "rating": project.ask_rating,
    }  # fmt: skip
    ask[kind]()
    width, height = size
    page = pages.open(project, viewport={"width": width, "height": height})
    assert page.evaluate(NAMELESS) == []
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(SMALL) == []
    assert page.evaluate(WIDE) == []
    clip = page.locator(".picture, .cloud").first.bounding_box()
    assert clip["width"] > 0.2 * width


@pytest.mark.slow
def test_the_other_pages_fit_every_size(project, pages):
    disagree(project, pages, 1)
    [stuck] = project.ask_clips(2)
    project.service.queue.block(stuck.id, "Its video cannot be read, whatever is tried. " * 4)
    page = pages.open(project, "a" * 60, path="/progress", ready=False)
    page.get_by_role("heading", name="Queries that cannot be shown").wait_for()
    page.goto(project.address + "/adjudicate")
    page.wait_for_selector("[data-state=ready]")
    for width, height in [*SIZES, (768, 1024), (390, 844)]:
        page.set_viewport_size({"width": width, "height": height})
        for path, seen in (
            ("/progress", ".tiles"), ("/compare", ".message, .card"),
            ("/adjudicate", "[data-state=ready]"), ("/help", "dialog[open]"),
        ):  # fmt: skip
            page.goto(project.address + path)
            page.wait_for_selector(seen)
            assert (path, width, page.evaluate(WIDE)) == (path, width, [])


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.slow
def test_pages_are_named_and_readable(project, pages, scheme):
    disagree(project, pages, 1)
    project.ask_clips(2)
    page = pages.open(project, "cleo", color_scheme=scheme)
    for path, heading in (
        ("/", "Which one is better?"), ("/progress", "Progress"),
        ("/adjudicate", "Which one is better?"), ("/compare", "Policies, compared blindly"),
    ):  # fmt: skip
        page.goto(project.address + path)
        page.get_by_role("heading", name=heading, level=1).wait_for()
        page.wait_for_timeout(300)
        assert page.evaluate(NAMELESS) == []
        assert page.evaluate(FAINT) == []
    # The measures themselves see what is wrong.
    page.evaluate(
        """() => { const [bad, faint] = ['button', 'p'].map((tag) => document.createElement(tag));
          faint.textContent = 'faint'; faint.style.color = faint.style.backgroundColor = '#777';
          document.getElementById('main').append(bad, faint); }"""
    )
    assert len(page.evaluate(NAMELESS)) == 1
    assert [text for _, text in page.evaluate(FAINT)] == ["faint"]
    press(page, "?")
    assert page.get_by_role("dialog", name="Keys").is_visible()
    press(page, "Escape")
    assert not page.get_by_role("dialog", name="Keys").is_visible()


@pytest.mark.slow
def test_a_disagreement_is_decided_by_keys(project, pages):
    queries = disagree(project, pages)
    page = pages.open(project, "cleo", path="/adjudicate")
    given = page.locator(".given").inner_text()
    assert "anna First is better" in given
    assert "ben Second is better" in given
    for left in (1, 0):
        decided = page.evaluate("robopref.page.query.id")
        press(page, "2")
        until(page, "id => robopref.page.query?.id !== id || !robopref.page.judge", decided)
        assert page.evaluate("robopref.page.queries.length") == left
        if left:
            page.wait_for_selector("[data-state=ready]")
    page.get_by_role("heading", name="Nothing to decide").wait_for()
    found = project.service.store.database.decisions("overall")
    assert {query_id for query_id, _ in found} == {query.id for query in queries}
    assert all(ranking.order == ((1,), (0,)) for ranking in found.values())


@pytest.mark.slow
def test_a_decision_is_taken_back_by_a_key(project, pages):
    [query] = disagree(project, pages, 1)
    database = project.service.store.database
    page = pages.open(project, "cleo", path="/adjudicate")
    undo = page.get_by_role("button", name="Undo")
    assert undo.is_disabled()
    press(page, "1")
    page.get_by_role("heading", name="Nothing to decide").wait_for()
    assert list(database.decisions("overall")) == [(query.id, "overall")]
    press(page, "z")
    page.wait_for_selector("[data-state=ready]")
    assert page.evaluate("robopref.page.query.id") == query.id
    assert undo.is_disabled()
    assert database.decisions("overall") == {}
    press(page, "2")
    page.get_by_role("heading", name="Nothing to decide").wait_for()
    [ranking] = database.decisions("overall").values()
    assert ranking.order == ((1,), (0,))


@pytest.mark.slow
def test_a_server_without_a_trainer_says_so(project, pages):
    page = pages.open(project, path="/progress", ready=False)
    page.get_by_text("this server fits no reward").wait_for()


@pytest.mark.slow
def test_a_query_that_could_not_be_shown_is_tried_again(project, pages):
    [query] = project.ask_clips(2)
    project.service.queue.block(query.id, "Its video cannot be read.")
    page = pages.open(project, "anna", ready=False)
    page.get_by_role("heading", name="Some queries cannot be shown").wait_for()
    page.get_by_role("link", name="To Progress").click()
    again = page.get_by_role("button", name=f"Try again: {query.id[:8]}")
    again.click()
    again.wait_for(state="detached")
    page.get_by_role("link", name="Label").click()
    page.wait_for_selector("[data-state=ready]")
    assert page.evaluate("robopref.page.query.id") == query.id


@pytest.mark.slow
def test_one_fit_is_drawn_with_its_interval(project, pages):
    project.ask_clips(2)
    page = pages.open(project, "cleo")

    def with_fit(route):
        answer = route.fetch()
        found = answer.json()
        if not found["criteria"]:  # they are being measured
            return route.fulfill(response=answer)
        [own] = found["criteria"]
        own["history"] = [{"labels": 24, "accuracy": 0.71, "low": 0.52, "high": 0.85}]
        own["annotators"] = [
            {"name": name, "answers": 9, "skips": 0, "seconds_median": 2.0,
             "first_shown_share": None, "consistency": None, "gold": None, "attention": None,
             "reliability_votes": 0.9, "reliability_scores": scores}
            for name, scores in (("anna", 0.8), ("ben", None))
        ]  # fmt: skip
        return route.fulfill(response=answer, json=found)

    intercept(page, "**/api/progress", with_fit)
    page.goto(project.address + "/progress")
    title = page.get_by_role("heading", name="Held-out accuracy", exact=True)
    tile = page.locator(".stat").filter(has=title)
    tile.wait_for()
    assert tile.locator(".figure").inner_text() == "71 %"
    assert "52 % to 85 %" in tile.inner_text()
    chart = page.get_by_role("img", name="Held-out accuracy: 71 % at 24 labels", exact=True)
    assert chart.locator(".whisker").bounding_box()["height"] > 20
    cells = page.locator("tbody tr > :last-child").all_inner_texts()
    assert cells[:2] == ["0.90 / 0.80", "0.90"]


@pytest.mark.slow
def test_progress_counts_labels_and_says_what_cannot_be_shown(project, pages):
    disagree(project, pages)
    [stuck] = project.ask_clips(2)
    project.service.queue.block(stuck.id, "Its video <i>cannot</i> be read.")
    page = pages.open(project, "cleo", path="/progress", ready=False)
    page.get_by_role("heading", name="Labels", exact=True).wait_for()
    page.get_by_text("Its video <i>cannot</i> be read.").wait_for()
    labels = page.locator(".stat").filter(has_text="Labels").first
    assert labels.locator(".figure").inner_text() == "4"
    row = page.get_by_role("row").filter(has_text="ben")
    assert row.first.get_by_role("cell").first.inner_text() == "2"


@pytest.mark.slow
def test_a_browser_that_cannot_play_the_clips_is_told_what_to_do(project, pages):
    project.ask_clips(2)
    page = pages.open(project, "anna", ready=False)
    page.add_init_script(
        """HTMLMediaElement.prototype.canPlayType = () => '';
        Object.defineProperty(HTMLMediaElement.prototype, 'src', {
          set() { setTimeout(() => this.dispatchEvent(new Event('error'))); } });"""
    )
    page.reload()
    until(page, SHOWN, "[data-state=unplayable]")
    assert "This browser does not play H.264" in page.inner_text("main")
    assert "--clips.codec vp9" in page.inner_text("main")
    press(page, "x")
    page.get_by_role("heading", name="All done").wait_for()
    assert [a.ranking.answer for a in project.answers] == ["skipped"]


def test_tiles_are_dragged_by_a_finger(project, pages):
    project.ask_clips(3, length=12)
    page = pages.open(project, has_touch=True, viewport={"width": 820, "height": 1180})
    order = page.evaluate("robopref.page.query.order")

    def drag(name, target):
        box = page.get_by_role("button", name=name, exact=True).last.bounding_box()
        to = page.locator(target).bounding_box()
        page.mouse.move(box["x"] + 20, box["y"] + 20)
        page.mouse.down()
        page.mouse.move(to["x"] + to["width"] / 2, to["y"] + to["height"] / 2, steps=5)
        page.mouse.up()
        page.wait_for_timeout(50)

    drag("Clip 2", "[data-drop='gap:0']")
    drag("Clip 3", "[data-drop='gap:0']")  # Better than 2.
    drag("Clip 1", "[data-drop='level:1']")  # As good as 2.
    page.get_by_role("button", name="Done").tap()
    page.get_by_role("heading", name="All done").wait_for()
    [preference] = project.answers
    assert preference.ranking.order == ((order[2],), tuple(sorted((order[0], order[1]))))

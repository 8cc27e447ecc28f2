"""The page *Adjudicate* where single clips were rated differently."""

import pytest

from robopref.preferences.exchange import read_rating_decisions
from robopref.preferences.rating import Verdict
from tests.labeling.page_project import answer, press


@pytest.mark.slow
def test_a_clip_that_was_rated_differently_is_decided_by_keys(project, pages):
    query = project.ask_rating()
    database = project.service.store.database
    for name, keys in (("anna", "1"), ("ben", ".....m2")):
        answer(pages.open(project, name), *keys)
    page = pages.open(project, "cleo", path="/adjudicate")
    given = page.locator(".given").inner_text()
    assert "anna Good" in given
    assert "ben Bad, wrong at step" in given
    assert not page.locator(".gold").is_visible(), "known answers are of comparisons"
    press(page, ".", "m")
    marked = page.evaluate("robopref.page.judge.markFrame * robopref.page.query.items[0].stride")
    press(page, "2")
    page.get_by_role("heading", name="Nothing to decide").wait_for()
    [decided] = read_rating_decisions(database)
    assert (decided.query.id, decided.verdict) == (query.id, Verdict.BAD)
    assert (decided.annotator, decided.mark_step) == ("cleo", marked)
    press(page, "z")
    page.wait_for_selector("[data-state=ready]")
    assert list(read_rating_decisions(database)) == []
    press(page, "1")
    page.get_by_role("heading", name="Nothing to decide").wait_for()
    [decided] = read_rating_decisions(database)
    assert (decided.verdict, decided.mark_step) == (Verdict.GOOD, None)

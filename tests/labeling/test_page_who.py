"""Two pages of one browser, which share a cookie, and links that would change who is signed in."""

import pytest

from tests.labeling.page_project import answer, press, until


def asked(page):
    """Return what the page asks about who is there."""
    page.wait_for_selector(".who-asks")
    return page.locator(".who-asks h1").inner_text()


def who(page):
    return page.locator("header .who").inner_text()


def test_a_link_asks_before_it_changes_who_is_signed_in(project, pages):
    project.ask_clips(2, 2, length=12)
    anna = pages.open(project, "anna")
    page = pages.open(project, "ben", beside=anna, ready=False)
    assert asked(page) == "You are signed in as anna. Go on as ben?"
    assert page.evaluate("document.activeElement.tagName") == "H1", "no key answers by accident"
    press(page, "Enter", "Space")
    assert asked(page)
    press(page, "Escape")
    page.wait_for_selector("[data-state=ready]")
    assert who(page) == "anna"
    answer(anna, "1")
    page.goto(f"{project.address}/?annotator=ben")
    assert asked(page)
    press(page, "y")
    page.wait_for_selector("[data-state=ready]")
    assert who(page) == "ben"
    answer(page, "2")
    assert [given.annotator for given in project.answers] == ["anna", "ben"]
    page.goto(f"{project.address}/?annotator=ben")
    page.wait_for_selector("[data-state=ready]")


def test_an_answer_in_a_page_of_somebody_who_was_replaced_waits_for_them(project, pages):
    project.ask_clips(2, 2, length=12)
    anna = pages.open(project, "anna")
    ben = pages.open(project, "ben", beside=anna, ready=False)
    ben.get_by_role("button", name="Go on as ben").click()
    ben.wait_for_selector("[data-state=ready]")
    anna.bring_to_front()
    press(anna, "1")
    assert asked(anna) == "ben is signed in now"
    words = anna.locator(".who-asks p").inner_text()
    assert "here it was anna. What anna answered and is not sent yet is kept" in words
    assert project.answers == []
    press(anna, "y")
    anna.wait_for_selector("[data-state=ready]")
    assert who(anna) == "ben"
    answer(anna, "2")
    assert [given.annotator for given in project.answers] == ["ben"]
    anna.goto(f"{project.address}/?annotator=anna")
    assert asked(anna) == "You are signed in as ben. Go on as anna?"
    press(anna, "y")
    until(anna, "Object.keys(localStorage).length === 0")
    assert sorted(given.annotator for given in project.answers) == ["anna", "ben"]
    pages.errors = [e for e in pages.errors if "409" not in e]


@pytest.mark.slow
def test_who_was_replaced_may_sign_in_anew(project, pages):
    project.ask_clips(2, 2, length=12)
    anna = pages.open(project, "anna")
    ben = pages.open(project, "ben", beside=anna, ready=False)
    asked(ben)
    press(ben, "y")
    ben.wait_for_selector("[data-state=ready]")
    anna.bring_to_front()
    press(anna, "1")
    asked(anna)
    press(anna, "Escape", "Enter")  # The name is there already.
    until(anna, "Object.keys(localStorage).length === 0")
    assert who(anna) == "anna"
    assert [given.annotator for given in project.answers] == ["anna"]
    ben.bring_to_front()
    ben.get_by_role("button", name="Sign out").click()
    assert asked(ben) == "anna is signed in now", "nobody signs out somebody else"
    pages.errors = [e for e in pages.errors if "409" not in e]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/progress", "/adjudicate", "/compare"])
def test_every_page_notices(project, pages, path):
    anna = pages.open(project, "anna", path="/compare", ready=False)
    anna.get_by_role("heading", name="Policies, compared blindly").wait_for()
    ben = pages.open(project, "ben", beside=anna, ready=False)
    asked(ben)
    press(ben, "y")
    ben.wait_for_selector("[data-state=empty]")
    anna.bring_to_front()
    anna.get_by_role("link", name=path[1:].capitalize()).click()
    assert asked(anna) == "ben is signed in now"
    pages.errors = [e for e in pages.errors if "409" not in e]

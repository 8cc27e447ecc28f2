"""Answers that wait in the browser: whose they are, and what becomes of those that are refused."""

import json

import pytest

from robopref.labeling.client import Client
from robopref.preferences import tables
from tests.labeling.page_project import answer, intercept, press, until


def leave_an_answer(pages, project, name):
    """Answer without a connection and close the page; return an empty one of the same browser."""
    page = pages.open(project, name)
    page.on("dialog", lambda dialog: dialog.accept())
    page.context.set_offline(True)
    press(page, "1")
    until(page, "document.querySelector('.connection').textContent.includes('is kept')")
    # Else it may send the answer after all, between being online again and its end.
    page.evaluate("() => { window.fetch = () => new Promise(() => {}); }")
    beside = page.context.new_page()
    page.close(run_before_unload=False)
    beside.context.set_offline(False)
    pages.errors = [e for e in pages.errors if "ERR_INTERNET_DISCONNECTED" not in e]
    return beside


def set_open(project, query, is_open):
    queue, leases = tables.label_queue, tables.label_leases
    with project.service.store.database.writing() as connection:
        connection.execute(leases.delete())
        connection.execute(queue.update().where(queue.c.query_id == query).values(is_open=is_open))


def kept(page):
    return page.evaluate("Object.keys(localStorage)")


def test_a_name_that_starts_like_another_takes_none_of_its_answers(project, pages):
    project.ask_clips(2, 2, length=12)
    blank = leave_an_answer(pages, project, "anna.k")
    blank.context.clear_cookies()
    anna = pages.open(project, "anna", beside=blank)
    answer(anna, "2")
    assert [given.annotator for given in project.answers] == ["anna"]
    assert len(kept(anna)) == 1
    anna.context.clear_cookies()
    again = pages.open(project, "anna.k", beside=blank)
    until(again, "Object.keys(localStorage).length === 0")
    assert [given.annotator for given in project.answers] == ["anna", "anna.k"]


def test_a_kept_answer_that_is_refused_is_told(project, pages):
    project.ask_clips(2)
    blank = leave_an_answer(pages, project, "dora")
    with project.service.store.database.writing() as connection:
        connection.execute(tables.label_leases.delete())
    for name in ("emil", "fay"):
        with Client(project.address, name) as client:
            client.answer(client.next()["query"], [[0], [1]])
    page = pages.open(project, "dora", beside=blank, ready=False)
    until(page, "document.querySelector('.toast.urgent') !== null")
    words = page.locator(".toast").inner_text()
    assert words.startswith("An answer that was kept was not stored: ")
    assert "by others" in words
    assert kept(page) == []
    pages.errors = [e for e in pages.errors if "409" not in e]


@pytest.mark.slow
def test_an_answer_that_the_server_fails_at_holds_up_no_other(project, pages):
    project.ask_clips(2, 2, 2, length=12)
    blank = leave_an_answer(pages, project, "anna")
    blank.goto(f"{project.address}/static/icon.svg")
    [poisoned] = kept(blank)
    body = json.loads(blank.evaluate("key => localStorage.getItem(key)", poisoned))["body"]
    poison, fails = body["id"], []
    set_open(project, body["query"], False)  # Else it would be asked again.

    def fail(route):
        if poison in (route.request.post_data or ""):
            fails.append(route)
            route.fulfill(status=500, body="Internal Server Error")
        else:
            route.continue_()

    blank.context.route("**/api/answers", fail)
    page = pages.open(project, "anna", beside=blank)
    query = page.evaluate("robopref.page.query.id")
    answer(page, "2")
    assert query != body["query"]
    assert [given.query.id for given in project.answers] == [query]
    until(page, "document.querySelector('.toast.urgent') !== null")
    assert page.locator(".toast").inner_text() == (
        "The server fails at an answer (The server answered 500.) It is kept and tried again; the "
        "others are sent."
    )
    assert page.locator(".connection").inner_text() == (
        "The server answered 500. 1 answer is kept and sent again in 60 s."
    )
    assert kept(page) == [poisoned]
    assert len(fails) in (3, 4), "three times at first, then beside each of the others"
    blank.context.unroute("**/api/answers")
    set_open(project, body["query"], True)
    press(page, "z")  # What waits is sent before the last answer is asked for.
    until(page, "Object.keys(localStorage).length === 0")
    until(page, "id => robopref.page.query?.id === id", query)
    until(page, "robopref.page.element.dataset.state === 'ready'")
    assert [given.id for given in project.answers] == [poison]
    pages.errors = [e for e in pages.errors if "500" not in e]


@pytest.mark.slow
def test_the_page_goes_on_when_the_server_fails_at_its_answer(project, pages):
    project.ask_clips(2, length=12)
    page = pages.open(project)
    intercept(page, "**/api/answers", lambda route: route.fulfill(status=500, body="no"))
    press(page, "1")
    until(page, "document.querySelector('.toast.urgent') !== null")
    page.wait_for_selector("[data-state=ready]")
    page.unroute("**/api/answers")
    press(page, "x")
    until(page, "Object.keys(localStorage).length === 0")
    pages.errors = [e for e in pages.errors if "500" not in e and "409" not in e]

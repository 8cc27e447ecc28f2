"""Several annotators, leases that run out, connections that are lost, signing in and out."""

import time

import pytest

from robopref.labeling import sessions
from robopref.labeling.config import Criterion
from robopref.preferences import tables
from tests.labeling.page_project import answer, intercept, press, serve_project, until
from tests.labeling.running import full_disk

LEASE_S = 2.0


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serve_project(tmp_path_factory.mktemp("project"), lease_s=LEASE_S, overlap=2) as project:
        yield project


def state(page):
    return page.evaluate("robopref.page.element.dataset.state")


@pytest.mark.slow
def test_two_annotators_answer_at_once(project, pages):
    project.ask_clips(2, 2, 2, length=12)
    anna, ben = pages.open(project, "anna"), pages.open(project, "ben")
    for _ in range(3):
        answer(anna, "1")
        answer(ben, "2")
    answers = project.answers
    assert sorted(a.annotator for a in answers) == ["anna"] * 3 + ["ben"] * 3
    assert len({(a.query.id, a.annotator) for a in answers}) == 6


@pytest.mark.slow
def test_a_query_is_given_back_when_nobody_looks(project, pages):
    project.ask_clips(2)
    page = pages.open(project)
    page.evaluate("robopref.page.lease.idleS = 0")
    until(page, "robopref.page.element.dataset.state === 'expired'")
    press(page, "1")
    assert project.answers == []
    press(page, "Enter")
    page.wait_for_selector("[data-state=ready]")
    answer(page, "1")
    assert len(project.answers) == 1


@pytest.mark.slow
def test_who_looks_keeps_the_query(project, pages):
    project.ask_clips(2)
    page = pages.open(project)
    lease = page.evaluate("robopref.page.lease.id")
    page.wait_for_timeout(2000 * LEASE_S)
    assert state(page) == "ready"
    assert page.evaluate("robopref.page.lease.id") == lease
    answer(page, "2")
    assert len(project.answers) == 1


def test_an_answer_outlives_a_lost_connection_and_a_reload(project, pages):
    project.ask_clips(2, 2, length=12)
    page = pages.open(project)
    page.context.set_offline(True)
    press(page, "1")
    until(page, "document.querySelector('.connection').textContent.includes('1 answer is kept')")
    assert project.answers == []
    key = page.evaluate("Object.keys(localStorage)[0]")
    assert key.startswith("robopref.outbox/anna/")
    page.context.set_offline(False)
    page.on("dialog", lambda dialog: dialog.accept())
    page.reload()
    page.wait_for_selector("[data-state=ready]")
    until(page, "Object.keys(localStorage).length === 0")
    [kept] = project.answers
    assert key.endswith(kept.id)
    pages.errors = [e for e in pages.errors if "ERR_INTERNET_DISCONNECTED" not in e]


def test_an_answer_is_not_counted_twice_when_its_receipt_is_lost(project, pages):
    project.ask_clips(2)
    page = pages.open(project)
    lost: list[object] = []

    def lose_receipt(route):
        if not lost:
            lost.append(route.fetch())  # The server has it; the page never hears.
            route.abort()
        else:
            route.continue_()

    intercept(page, "**/api/answers", lose_receipt)
    answer(page, "1")
    assert len(lost) == 1
    assert len(project.answers) == 1
    pages.errors = [e for e in pages.errors if "ERR_FAILED" not in e]


def test_an_answer_outlives_a_full_disk(tmp_path, pages):
    with serve_project(tmp_path) as project:
        project.ask_clips(2)
        page = pages.open(project)
        press(page, "n")
        page.get_by_label("Note").fill("é" * 2000)  # more than what a page of the file has left
        with full_disk(project.service.store.database):
            page.get_by_label("Note").press("Escape")
            press(page, "1")
            until(page, "document.querySelector('.connection').textContent.includes('kept')")
            words = page.locator(".connection").inner_text()
            assert "is full or failing (database or disk is full)" in words
            assert "1 answer is kept and sent again in" in words
            assert project.answers == []
        until(page, "Object.keys(localStorage).length === 0")
        assert len(project.answers) == 1
    pages.errors = [e for e in pages.errors if "503" not in e]


@pytest.mark.slow
def test_a_late_answer_that_others_gave_is_refused_in_words(project, pages):
    project.ask_clips(2)
    page = pages.open(project, "anna")
    page.evaluate("robopref.page.lease.stop()")  # A machine that sleeps renews nothing.
    time.sleep(1.2 * LEASE_S)
    for name in ("ben", "cleo"):
        answer(pages.open(project, name), "2")
    press(page, "1")
    until(page, "document.querySelector('.toast.urgent') !== null")
    assert "Your answer was not stored" in page.locator(".toast").inner_text()
    assert sorted(a.annotator for a in project.answers) == ["ben", "cleo"]
    pages.errors = [e for e in pages.errors if "409" not in e]


def test_who_was_signed_out_signs_in_and_nothing_is_lost(project, pages, monkeypatch):
    monkeypatch.setattr(sessions, "KNOWN_S", 0.0)  # It is another server that signs out.
    project.ask_clips(2)
    page = pages.open(project)
    with project.service.store.database.writing() as connection:
        connection.execute(tables.label_sessions.delete())
    press(page, "1")
    page.get_by_label("Name").fill("anna")
    press(page, "Enter")
    page.get_by_role("heading", name="All done").wait_for()
    assert len(project.answers) == 1
    pages.errors = [e for e in pages.errors if "401" not in e]


@pytest.mark.slow
def test_signing_in_with_a_token(tmp_path, pages):
    with serve_project(tmp_path, token="correct-horse") as project:
        project.ask_clips(2)
        page = pages.open(project, ready=False)
        page.get_by_text("This server asks for a token: whoever runs it has it.").first.wait_for()
        assert page.get_by_label("Name").input_value() == "anna"
        page.get_by_label("Token").fill("wrong-horse")
        press(page, "Enter")
        page.get_by_text("The token is not the one of this server.").first.wait_for()
        assert "not the one" in page.locator(".problem").inner_text()
        page.get_by_label("Token").fill("correct-horse")
        press(page, "Enter")
        page.wait_for_selector("[data-state=ready]")

        # A slow network: what is held must be given back before the session ends.
        def late(route):
            time.sleep(0.5)
            route.continue_()

        intercept(page, "**/api/leases/*", late)
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Name").wait_for()
        page.goto(f"{project.address}/?annotator=ben#token=correct-horse")
        page.wait_for_selector("[data-state=ready]")
        assert page.evaluate("location.search + location.hash") == ""
        assert page.locator(".who").inner_text() == "ben"
    pages.errors = [e for e in pages.errors if "403" not in e]


@pytest.mark.slow
def test_a_video_that_is_missing_stops_nobody(tmp_path, pages):
    with serve_project(tmp_path) as project:
        for path in (tmp_path / "data").rglob("*.mp4"):
            path.write_bytes(b"no video")
        bad = project.ask_clips(2, length=12)
        page = pages.open(project, ready=False)
        until(page, "['unplayable', 'empty'].includes(robopref.page?.element.dataset.state)")
        if page.evaluate("robopref.page.element.dataset.state") == "unplayable":
            assert page.get_by_role("heading", name="This query cannot be shown").is_visible()
            press(page, "Enter")
        page.get_by_role("heading", name="Some queries cannot be shown").wait_for()
        page.goto(project.address + "/progress")
        row = page.get_by_role("row").filter(has_text=bad[0].id[:8])
        row.first.wait_for()
        assert "video" in row.first.inner_text()
    pages.errors = [e for e in pages.errors if "404" not in e]


@pytest.mark.slow
def test_the_next_clips_are_there_before_this_query_is_answered(project, pages):
    project.ask_clips(*[2] * 4, length=10)
    fetched = []
    page = pages.open(project)
    page.on("requestfinished", lambda request: fetched.append(request.url))
    page.reload()
    page.wait_for_selector("[data-state=ready]")

    def queries():
        return {url.split("/api/clips/")[1].split("/")[0] for url in fetched if "/clips/" in url}

    for _ in range(200):
        if len(queries()) == 3:  # This one and two ahead.
            break
        page.wait_for_timeout(50)
    before = queries()
    answer(page, "1")
    assert page.evaluate("robopref.page.query.id") in before


@pytest.mark.slow
def test_one_criterion_is_chosen_and_attention_is_checked(tmp_path, pages):
    criteria = (Criterion("overall", "Which is better?"), Criterion("gentle", "Which is gentler?"))
    with serve_project(tmp_path, criteria=criteria, attention_every=5) as project:
        project.ask_clips(*[2] * 8, length=10)
        page = pages.open(project)
        assert page.locator(".question").inner_text() == "Which is better?"
        page.get_by_label("Criterion").select_option("gentle")
        until(page, "robopref.page.query?.criterion === 'gentle'")
        page.wait_for_selector("[data-state=ready]")
        assert page.locator(".question").inner_text() == "Which is gentler?"
        for _ in range(4):
            assert page.locator(".attention").count() == 0
            answer(page, "1")
        assert page.locator(".attention .why").inner_text().endswith("whatever the clips show.")
        answer(page, "ArrowDown")
        assert page.locator(".attention").count() == 0
        assert {a.criterion for a in project.answers} == {"gentle"}

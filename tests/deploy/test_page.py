"""The operator's page: over HTTP, in a real browser, and with a simulated arm."""

import contextlib
import http.client
import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.deploy import page as page_module
from robopref.deploy.operator import KEYS, TerminalOperator, Word
from robopref.deploy.page import OperatorPage, Status
from robopref.deploy.session import Outcome, Session
from robopref.envs.make import make_env
from robopref.hardware.keyboard import GRIPS, WAYS
from tests.deploy.acting import ENV, make_turns_of
from tests.labeling.page_project import press, until

STATIC = Path(page_module.__file__).parent / "static"
WRITE = {"X-Robopref": "1", "Content-Type": "application/json"}


@pytest.fixture
def no_terminal(monkeypatch):
    with open("/dev/null") as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


@pytest.fixture
def served():
    with OperatorPage() as served:
        yield served


def ask(
    served, path, body=None, *, token=None, method=None, headers=()
) -> tuple[int, Any]:  # fmt: skip
    """Return the status and the content of an answer."""
    port = int(re.findall(r":(\d+)/", served.url)[0])
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    given = {"Authorization": f"Bearer {served.token if token is None else token}"}
    if body is not None:
        given |= WRITE
    try:
        connection.request(
            method or ("GET" if body is None else "POST"), path,
            None if body is None else json.dumps(body), given | dict(headers),
        )  # fmt: skip
        answer = connection.getresponse()
        content = answer.read()
        is_json = answer.getheader("content-type", "").startswith("application/json")
        return answer.status, json.loads(content) if is_json else content.decode()
    finally:
        connection.close()


def test_words_keys_and_news_pass(served):
    assert ask(served, "/api/word", {"word": "stop"})[0] == 200
    assert ask(served, "/api/word", {"word": "take"})[0] == 200
    assert ask(served, "/api/key", {"key": "up"})[0] == 200
    assert served.words() == [Word.STOP, Word.TAKE]
    assert served.words() == []
    assert served.pressed() == ["up"]
    assert ask(served, "/api/state") == (200, {"lines": [], "next": 0, "status": None})
    served.tell("Episode 1 of 2.")
    served.tell("  paused; g goes on")
    served.show(Status("1 of 2", 7, True, 0.2, "clamp", "workspace"))
    status, found = ask(served, "/api/state?since=1")
    assert (status, found["lines"], found["next"]) == (200, ["  paused; g goes on"], 2)
    assert found["status"] == {
        "episode": "1 of 2", "step": 7, "by_hand": True, "speed": 0.2, "decision": "clamp",
        "filter": "workspace",
    }  # fmt: skip
    # A page that was open while another program was at this address hears all.
    assert len(ask(served, "/api/state?since=90")[1]["lines"]) == 2


def test_who_has_no_token_or_comes_from_elsewhere_says_nothing(served):
    for token in ("", "wrong", served.token + "x"):
        assert ask(served, "/api/state", token=token)[0] == 403
        assert ask(served, "/api/word", {"word": "go"}, token=token)[0] == 403
    for headers in (
        {"Origin": "https://example.com"}, {"X-Robopref": "0"}, {"Content-Type": "text/plain"},
        {"Host": "example.com"},
    ):  # fmt: skip
        assert ask(served, "/api/word", {"word": "go"}, headers=headers)[0] in (403, 415, 421)
    assert ask(served, "/api/word", {"word": "jump"})[0] == 422
    assert ask(served, "/api/key", {"key": "x"})[0] == 422
    assert ask(served, "/api/word", {"word": "go" * 1000})[0] == 413
    assert ask(served, "/page.py")[0] == 404
    assert ask(served, "/../page.py")[0] == 404
    assert served.words() == []
    assert served.pressed() == []
    assert len(OperatorPage().token) >= 20
    assert OperatorPage().token != OperatorPage().token
    with pytest.raises(ValueError, match="`token` must have at least 8 letters"):
        OperatorPage(token="short")


def test_it_says_what_the_terminal_says():
    buttons = re.findall(r'data-word="(\w+)" data-key="(.)"', (STATIC / "page.html").read_text())
    assert {key: Word(word) for word, key in buttons} == {
        key: word for key, word in KEYS.items() if key != "\n"
    }
    script = (STATIC / "page.js").read_text()
    assert {*re.findall(r'Arrow\w+: "(\w+)"', script)} | set("ujoc") == {*WAYS, *GRIPS}


def test_a_page_that_is_closed_takes_the_operator_with_it(served, no_terminal, monkeypatch):
    """Where there is no terminal."""
    monkeypatch.setattr(page_module, "AWAY_S", 0.2)
    operator = TerminalOperator("ann", page=served)
    assert operator.words() == []
    ask(served, "/api/state")
    assert operator.words() == []
    time.sleep(0.25)
    assert operator.words() == [Word.QUIT]
    assert operator.wait_for(frozenset({Word.GO})) is Word.QUIT


@pytest.fixture
def open_page(pages):
    """Return what opens a page of a program, which is closed before its program."""
    with contextlib.ExitStack() as opened:

        def open_page(served):
            context = pages.browser.new_context(viewport={"width": 900, "height": 700})
            opened.callback(context.close)
            page = pages.watch(context)
            page.goto(served.url)
            return page

        yield open_page


@pytest.mark.slow
def test_buttons_and_keys_of_a_browser(served, open_page):
    page = open_page(served)
    served.tell("Episode 1 of 1.")
    until(page, "document.getElementById('lines').textContent.includes('Episode 1 of 1.')")
    page.click("[data-word=pause]")
    press(page, "g", " ", "ArrowUp", "u", "+", "Control+s")
    until(page, "true")
    said: list[Word] = []
    end = time.monotonic() + 5
    while len(said) < 4 and time.monotonic() < end:
        said += served.words()
    # Space stops, though a button was clicked before.
    assert sorted(said) == sorted([Word.PAUSE, Word.GO, Word.STOP, Word.FASTER])
    assert sorted(served.pressed()) == ["u", "up"]
    served.show(Status("1 of 1", 12, False, 0.35, "hold", "deadman"))
    until(page, "document.getElementById('decision').textContent === 'hold: deadman'")
    assert page.inner_text("#acts") == "the policy"
    assert page.inner_text("#speed") == "35 %"
    box = page.locator("[data-word=stop]").bounding_box()
    assert box["width"] > 600
    assert box["height"] > 100


@pytest.mark.slow
def test_a_page_whose_program_is_gone_says_so(browser):
    with OperatorPage() as served:
        page = browser.new_context().new_page()
        page.goto(served.url)
        until(page, "document.getElementById('trouble').hidden")
    until(page, "document.getElementById('trouble').textContent.includes('NOT CONNECTED')")
    page.context.close()


@pytest.mark.slow
def test_a_wrong_token_is_named(served, browser):
    page = browser.new_context().new_page()
    page.goto(served.url + "x")
    until(page, "document.getElementById('trouble').textContent.includes('not the right token')")
    page.context.close()


@pytest.mark.slow
def test_the_arm_is_steered_and_stopped_from_the_browser(open_page, no_terminal):
    env: Any = make_env(ENV, max_episode_steps=150)
    page: Any = None

    class Pressing(TerminalOperator):
        """Its page is pressed from this thread, which the browser belongs to."""

        steps = 0

        def words(self):
            Pressing.steps += 1
            keys = {5: "t", 10: "ArrowUp", 30: " "}
            if page is not None and Pressing.steps in keys:
                press(page, keys[Pressing.steps])
                page.wait_for_timeout(50)
            elif page is not None and Pressing.steps % 3 == 0:
                page.wait_for_timeout(1)
            return super().words()

    try:
        with Pressing("ann", page=OperatorPage()) as operator:
            page = open_page(operator.page)
            page.wait_for_selector("[data-word=stop]")
            page.wait_for_timeout(300)
            done = Session(env, operator, 1.0).run_episode(make_turns_of(env)[0])
            until(page, "document.getElementById('acts').textContent === 'you'")
            page.close()
            assert env._rig.why_stopped() == "ann said stop"
    finally:
        env.close()
    assert done.outcome is Outcome.STOPPED
    assert done.episode is not None
    by_person = done.episode.extras["safety.by_person"][:-1, 0]
    assert by_person.tolist()[:4] == [0] * 4
    assert by_person[5:].all()
    assert done.episode.action[10:13, 1].tolist() == [1.0] * 3

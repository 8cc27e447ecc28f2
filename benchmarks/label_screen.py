"""What somebody sees of the labelling server of the load test, in a real browser."""

import contextlib
import importlib.util
import shutil
import time
from collections.abc import Iterator
from typing import Any

from benchmarks.label_load import Annotator
from benchmarks.label_server import Server

LOOKER = "looker"
_PATIENCE_MS = 60_000

# Notes when the first picture of each video is presented, whatever the page does with it then.
_WATCH = """
window.presented = new Map();
const { requestVideoFrameCallback } = HTMLVideoElement.prototype;
HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
  return requestVideoFrameCallback.call(this, (now, metadata) => {
    if (!presented.has(this)) presented.set(this, performance.now());
    callback(now, metadata);
  });
};
"""
# From when the page has its query until the last of its clips has begun [ms].
_CLIPS_BEGAN = """
() => {
  const known = performance.getEntriesByType("resource").find(({ name }) =>
    name.endsWith("/api/next"));
  if (!known || presented.size < robopref.page.query.items.length) return null;
  return Math.max(...presented.values()) - known.responseEnd;
}
"""


@contextlib.contextmanager
def open_browser() -> Iterator[Any]:
    """Yield a browser; None where there is none, or nothing to drive it with."""
    chromium = shutil.which("chromium")
    if chromium is None or importlib.util.find_spec("playwright") is None:
        yield None
        return
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def see_first(browser: Any, server: Server, num: int) -> list[float]:
    """Return how long after a start a first query was on the screen, `num` times [s].

    No clip is drawn before.
    """
    seconds = []
    for _ in range(num):
        page = browser.new_context().new_page()
        server.kill()
        shutil.rmtree(server.clips, ignore_errors=True)
        began = time.monotonic()
        server.start()
        _look(page, server)
        seconds.append(time.monotonic() - began)
        page.context.close()
    return seconds


def see_clips(browser: Any, server: Server, num: int) -> list[float]:
    """Return how long the clips of `num` queries took to begin once the page had the query [ms].

    The clips are in the server's cache, and nothing is in the browser's.
    """
    milliseconds = []
    annotator = Annotator(LOOKER, server.port, [])
    annotator.request("POST", "/api/session", {"annotator": LOOKER}, "sign in")
    for _ in range(num):
        query = annotator.request("POST", "/api/next", {}, "next")["query"]
        for item in query["items"]:
            annotator.request("GET", next(iter(item["clips"].values())), None, "clip")
        # What is held comes back, so that the page shows the very same query.
        page = browser.new_context().new_page()
        page.add_init_script(_WATCH)
        _look(page, server)
        milliseconds.append(_wait_for(page, _CLIPS_BEGAN))
        page.context.close()
        annotator.answer(query)
    annotator.close()
    if annotator.log.refused:
        raise RuntimeError(f"The server refuses to work: {annotator.log.refused[0]}")
    return milliseconds


def _look(page: Any, server: Server) -> None:
    page.goto(f"http://127.0.0.1:{server.port}/?annotator={LOOKER}")
    page.wait_for_selector("[data-state=ready]", timeout=_PATIENCE_MS)


def _wait_for(page: Any, expression: str) -> float:
    """Return the value of an expression of the page once it is not null."""
    # Not by the browser's driver, which evaluates text in the page: its policy forbids that.
    end = time.monotonic() + _PATIENCE_MS / 1000
    while (value := page.evaluate(expression)) is None:
        if time.monotonic() > end:
            raise RuntimeError("No clip began on the page.")
        page.wait_for_timeout(20)
    return float(value)

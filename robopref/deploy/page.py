"""The operator's page: the keys of the terminal as buttons and keys of a browser on this machine.

It listens at this machine's own address, and answers only who has the token that its address ends
with, which no other site's page and no other user of the machine knows.
"""

import secrets
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any

from robopref.access import bind, check_token, find_token
from robopref.errors import HardwareError
from robopref.hardware.teleop import Word

HOST = "127.0.0.1"
AWAY_S = 5.0
"""A page that does not ask for news for so long was closed, or nobody looks at it [s]."""
START_S = 10.0
MOST_LINES = 200
FILES = {"": "page.html", "page.css": "page.css", "page.js": "page.js"}


@dataclass(frozen=True)
class Status:
    """What the operator should see at any moment.

    Args:
        episode: Which of how many.
        step: Steps of it so far.
        by_hand: Whether the operator steers.
        speed: Share of the greatest speeds.
        decision: The strongest that the supervisor did in the last step.
        filter: What did it; empty where nothing did anything.
    """

    episode: str
    step: int
    by_hand: bool
    speed: float
    decision: str
    filter: str


class OperatorPage:
    """Serves the page from a thread. Use with `with`.

    Args:
        port: Port; 0 for any that is free.
        token: What it is reached with; None takes the environment's (`ROBOPREF_TOKEN`), or a new
            one that nobody can guess.

    Raises:
        ValueError: The token is easily guessed.
    """

    def __init__(self, port: int = 0, token: str | None = None) -> None:
        check_token(token)
        self.token = find_token(token) or secrets.token_urlsafe(16)
        self._port = port
        self._lock = threading.Lock()
        self._words: deque[Word] = deque(maxlen=64)
        self._keys: deque[str] = deque(maxlen=64)
        self._lines: deque[str] = deque(maxlen=MOST_LINES)
        self._num_lines = 0
        self._status: Status | None = None
        self._asked_s: float | None = None
        self._server: Any = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> "OperatorPage":
        """Listen.

        Raises:
            DataError: The port is taken.
            HardwareError: The server does not start.
        """
        import uvicorn

        listener = bind(HOST, self._port)
        self._port = listener.getsockname()[1]
        settings = uvicorn.Config(
            _make_app(self), log_level="warning", access_log=False, server_header=False,
            timeout_graceful_shutdown=1, ws="none", lifespan="off",
        )  # fmt: skip
        self._server = uvicorn.Server(settings)
        self._thread = threading.Thread(
            target=self._server.run, args=([listener],), name="operator-page", daemon=True
        )
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started:
            if time.monotonic() > deadline or not self._thread.is_alive():
                raise HardwareError("The operator's page does not start.")
            time.sleep(0.01)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the server."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join()

    @property
    def url(self) -> str:
        """Where it is, with its token; what follows a # is not sent to anybody."""
        return f"http://{HOST}:{self._port}/#{self.token}"

    @property
    def is_gone(self) -> bool:
        """Whether it was open, and is not any more."""
        asked_s = self._asked_s
        return asked_s is not None and time.monotonic() - asked_s > AWAY_S

    def words(self) -> Sequence[Word]:
        """Return what was said since the last call."""
        with self._lock:
            found = list(self._words)
            self._words.clear()
        return found

    def pressed(self) -> Sequence[str]:
        """Return the keys to steer by that were pressed since the last call."""
        with self._lock:
            found = list(self._keys)
            self._keys.clear()
        return found

    def tell(self, text: str) -> None:
        """Show a text."""
        with self._lock:
            self._lines.append(text)
            self._num_lines += 1

    def show(self, status: Status) -> None:
        """Show how things are."""
        with self._lock:
            self._status = status

    def hear(self, word: Word) -> None:
        """Take a word that was said on the page."""
        with self._lock:
            self._words.append(word)

    def press(self, key: str) -> None:
        """Take a key to steer by."""
        with self._lock:
            self._keys.append(key)

    def news(self, since: int) -> dict[str, Any]:
        """Return the texts after the first `since`, and the status."""
        self._asked_s = time.monotonic()
        with self._lock:
            # A page that has heard more than was said is of a program before this one.
            new = self._num_lines - since if since <= self._num_lines else self._num_lines
            lines = list(self._lines)[-new:] if new else []
            status = None if self._status is None else asdict(self._status)
            return {"lines": lines, "next": self._num_lines, "status": status}


def _make_app(page: OperatorPage) -> Any:
    """Return the server's application."""
    from fastapi import Body, Depends, FastAPI, HTTPException, Query, Request
    from fastapi.responses import FileResponse

    from robopref.hardware.keyboard import GRIPS, WAYS
    from robopref.labeling.security import Guard, allowed_hosts

    app = FastAPI(openapi_url=None)
    folder = Path(__file__).parent / "static"

    def admit(request: Request) -> None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not secrets.compare_digest(given.encode(), page.token.encode()):
            raise HTTPException(403, "The token is not the one of this page.")

    only_admitted = [Depends(admit)]

    @app.get("/api/state", dependencies=only_admitted)
    def state(since: Annotated[int, Query(ge=0)] = 0) -> dict[str, Any]:
        return page.news(since)

    @app.post("/api/word", dependencies=only_admitted)
    def say(word: Annotated[Word, Body(embed=True)]) -> dict[str, str]:
        page.hear(word)
        return {"word": word}

    @app.post("/api/key", dependencies=only_admitted)
    def press(key: Annotated[str, Body(embed=True)]) -> dict[str, str]:
        if key not in WAYS and key not in GRIPS:
            raise HTTPException(422, f"`key` must be one of {[*WAYS, *GRIPS]}.")
        page.press(key)
        return {"key": key}

    for path, name in FILES.items():
        app.add_api_route(f"/{path}", lambda name=name: FileResponse(folder / name))
    return Guard(app, allowed_hosts(HOST), max_body=1024)

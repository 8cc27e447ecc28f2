"""What the routes share: the service, who is signed in, and how failures are worded."""

import logging
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, FastAPI, Header, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from robopref.errors import DataError
from robopref.labeling.background import Trainer
from robopref.labeling.management import Management
from robopref.labeling.messages import Failure
from robopref.labeling.refusals import ConflictError, RefusedError, UnknownError
from robopref.labeling.service import LabelService
from robopref.labeling.sessions import Sessions
from robopref.labeling.worker import ClipError
from robopref.preferences.names import MAX_NAME
from robopref.preferences.schema import StorageError

FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": Failure, "description": words}
    for status, words in {
        400: "The request cannot be read.",
        401: "Nobody is signed in.",
        403: "The request does not come from the page.",
        404: "What it names is not there.",
        409: "It comes too late, or somebody else is signed in than the request says.",
        413: "The body is too large.",
        415: "The body is of another kind.",
        422: "The request says something that cannot be.",
        429: "Too many wrong tokens came from there just now.",
        503: "It cannot be done now.",
    }.items()
}
"""How a request may fail, for the description of the interface."""

NO_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>No such page</title>
<link rel="stylesheet" href="/static/base.css">
<link rel="stylesheet" href="/static/pages.css">
</head>
<body>
<main class="message">
<h1>There is no such page</h1>
<p>The address may be mistyped. <a class="link" href="/">To the labelling</a></p>
</main>
</body>
</html>
"""
"""What a person sees at an address that is none; programs ask below /api."""

log = logging.getLogger(__name__)


class SignedOutError(Exception):
    """Raised when a request needs somebody who is signed in."""


Believed = Annotated[
    str | None,
    Header(
        alias="X-Annotator",
        description="Who the request speaks for, percent-encoded. All pages of a browser share one "
        "cookie; where that is somebody else's by now, the request is refused (409, "
        "`other-annotator`) instead of done under another name. Left out, nothing is compared.",
    ),
]
"""Who a request speaks for, as far as who makes it knows."""


@dataclass(frozen=True)
class Desk:
    """What the routes share.

    Args:
        service: The project.
        management: What is done around it.
        sessions: Who is signed in.
        cookie: Name of the cookie; servers on other ports have others.
        trainer: Refits the reward in the background; None if nothing does.
    """

    service: LabelService
    management: Management
    sessions: Sessions
    cookie: str
    trainer: Trainer | None = None


async def get_desk(request: Request) -> Desk:
    """Return what the routes share; a plain function would take a thread for it."""
    desk: Desk = request.app.state.desk
    return desk


async def get_annotator(request: Request, believed: Believed = None) -> str:
    """Return who is signed in; mostly without a thread of its own.

    Raises:
        SignedOutError: Nobody is.
        ConflictError: Somebody else is than the request says.
    """
    desk: Desk = request.app.state.desk
    key = request.cookies.get(desk.cookie)
    name = desk.sessions.known(key) or await run_in_threadpool(desk.sessions.find, key)
    if name is None:
        raise SignedOutError
    check_speaker(name, believed)
    return name


def check_speaker(name: str, believed: str | None) -> None:
    """Check that a request speaks for who is signed in.

    Raises:
        ConflictError: It does not.
    """
    said = name if believed is None else unquote(believed)
    if said != name:
        raise ConflictError(
            "other-annotator",
            f"'{name}' is signed in now, not '{said[:MAX_NAME]}'. Sign in under the name that is "
            "meant.",
        )


ADesk = Annotated[Desk, Depends(get_desk)]
Annotator = Annotated[str, Depends(get_annotator)]


def failure(status: int, code: str, message: str) -> JSONResponse:
    """Return the answer to a request that failed."""
    body = {"error": {"code": code, "message": message}}
    headers = {"retry-after": "1"} if status in (429, 503) else None
    return JSONResponse(body, status, headers)


def add_failures(app: FastAPI) -> None:
    """Word what routes raise."""

    @app.exception_handler(SignedOutError)
    def signed_out(_request: Request, _error: Exception) -> JSONResponse:
        return failure(401, "signed-out", "Sign in first: POST /api/session with your name.")

    @app.exception_handler(RequestValidationError)
    def wrong_body(_request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return failure(422, "wrong-request", _first_problem(error))

    @app.exception_handler(HTTPException)
    def http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if error.status_code == 404 and not request.url.path.startswith("/api/"):
            return HTMLResponse(NO_PAGE, 404)
        answer = failure(error.status_code, "http", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(DataError)
    def data(request: Request, error: Exception) -> JSONResponse:
        if isinstance(error, ConflictError):
            return failure(409, error.code, str(error))
        if isinstance(error, UnknownError):
            return failure(404, "unknown", str(error))
        if isinstance(error, RefusedError):
            return failure(422, "wrong-request", str(error))
        # Where the database or the data set is, annotators need not know.
        log.warning("%s %s: %s", request.method, request.url.path, error)
        neutral = error.neutral if isinstance(error, StorageError) else ""
        return failure(503, "storage", neutral or "It cannot be done now: see the server's log.")

    @app.exception_handler(Exception)
    def internal(_request: Request, _error: Exception) -> JSONResponse:
        return failure(500, "internal", "The server failed at this; its log says how.")

    @app.exception_handler(ClipError)
    def clip(_request: Request, error: Exception) -> JSONResponse:
        passing = isinstance(error, ClipError) and error.passing
        return failure(503 if passing else 404, "cannot-be-shown", str(error))


def _first_problem(error: RequestValidationError) -> str:
    problem = error.errors()[0]
    where = ".".join(str(part) for part in problem["loc"] if part != "body")
    return f"{where}: {problem['msg']}." if where else f"{problem['msg']}."

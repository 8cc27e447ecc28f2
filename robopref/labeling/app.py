"""The web application: routes, pages, and the guard before them."""

from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from robopref import __version__
from robopref.errors import DataError
from robopref.labeling import routes_clips, routes_label, routes_manage
from robopref.labeling.desk import Desk, SignedOutError, add_failures, get_annotator
from robopref.labeling.security import Guard, Scope

STATIC = Path(__file__).parent / "static"
PAGES = ("/", "/progress", "/adjudicate", "/compare", "/help")
"""Addresses of the page; its script looks which one it is."""


def make_app(desk: Desk, hosts: tuple[str, ...]) -> Guard:
    """Return the application.

    Args:
        desk: What the routes share.
        hosts: Names under which the server may be called.
    """
    app = FastAPI(
        title="robopref label", version=__version__, openapi_url="/api/openapi.json",
        # Their pages load scripts from other hosts.
        docs_url=None, redoc_url=None,
    )  # fmt: skip
    app.state.desk = desk
    add_failures(app)
    for routes in (routes_label, routes_clips, routes_manage):
        app.include_router(routes.router)
    for page in PAGES:
        app.add_api_route(page, _page, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=STATIC, check_dir=False), name="static")

    async def is_signed_in(scope: Scope) -> bool:
        try:
            await get_annotator(Request({**scope, "app": app}))
        except SignedOutError:
            return False
        except DataError:  # The database cannot be used: nothing can be imported either.
            return False
        return True

    return Guard(app, hosts, is_signed_in=is_signed_in)


def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

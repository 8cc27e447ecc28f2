"""The web application: routes, pages, and the guard before them."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from starlette.staticfiles import StaticFiles

from robopref import __version__
from robopref.labeling import routes_clips, routes_label, routes_manage
from robopref.labeling.desk import Desk, add_failures
from robopref.labeling.security import Guard

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
    return Guard(app, hosts)


def _page() -> FileResponse:
    return FileResponse(STATIC / "index.html", headers={"cache-control": "no-cache"})

"""A labelling server for tests: a project served at a port of its own."""

import contextlib
import http.client
import json
import threading
from typing import Any

from sqlalchemy import event

from robopref.labeling.client import Client
from robopref.labeling.config import LabelConfig
from robopref.labeling.server import ServerConfig, open_project, serve
from tests.labeling.clip_data import SMALL

WRITE = {"X-Robopref": "1", "Content-Type": "application/json"}
"""Headers of a request that changes something."""


def code(answer):
    """Return the status and the code of a failure."""
    return answer[0], answer[2]["error"]["code"]


@contextlib.contextmanager
def serving(service, config, trainer=None):
    """Serve a project in a thread inside the block; yield its address."""
    listening = threading.Event()
    found: dict[str, Any] = {}

    def announce(address, server):
        found.update(address=address, server=server)
        listening.set()

    thread = threading.Thread(
        target=serve, args=(service, config), kwargs={"announce": announce, "trainer": trainer},
        daemon=True,
    )  # fmt: skip
    thread.start()
    assert listening.wait(60)
    try:
        yield found["address"]
    finally:
        found["server"].should_exit = True
        thread.join(60)


@contextlib.contextmanager
def full_disk(database):
    """Let a SQLite store grow no further inside the block, as on a disk that is full."""

    def limit(connection, *_):
        connection.execute("PRAGMA max_page_count=1")  # at least as many as there are

    event.listen(database.engine, "connect", limit)
    database.engine.dispose()
    with database.reading() as connection:
        spare = connection.exec_driver_sql("PRAGMA freelist_count").scalar()
    assert not spare, "pages that are free would be used"
    try:
        yield
    finally:
        event.remove(database.engine, "connect", limit)
        database.engine.dispose()


class Running:
    """A project served at a port of its own, in a thread."""

    def __init__(self, folder, data, **settings):
        location = settings.pop("db", folder / "store.sqlite")
        self.config = ServerConfig(
            data, str(location), folder / "out", port=0, clips=SMALL,
            segment_length=8, token=settings.pop("token", None),
        )  # fmt: skip
        options: dict[str, Any] = {"gold_every": 0, "repeat_every": 0}
        self.project = LabelConfig(**options | settings)

    def __enter__(self):
        with contextlib.ExitStack() as stack:
            self.service = stack.enter_context(open_project(self.config, self.project))
            self.url = stack.enter_context(serving(self.service, self.config))
            self._stack = stack.pop_all()
        self.port = int(self.url.rstrip("/").rpartition(":")[2])
        return self

    def __exit__(self, *exception):
        self._stack.close()

    def client(self, name="anna", **settings):
        return Client(self.url, name, **settings)

    def raw(self, method="GET", path="/api/project", headers=(), body=None):
        """Make a request as it stands; return status, headers, and JSON or bytes."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        given = {"Host": f"127.0.0.1:{self.port}", **dict(headers)}
        if body is not None and "Content-Length" not in given:
            given["Content-Length"] = str(len(body))
        for key, value in given.items():
            if value is not None:
                connection.putheader(key, value)
        connection.endheaders()
        if body:
            with contextlib.suppress(ConnectionError):  # refused by its head
                connection.send(body)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        is_json = response.getheader("content-type", "").startswith("application/json")
        return response.status, response, json.loads(content) if is_json else content

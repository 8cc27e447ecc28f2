"""A labelling server for tests: a project served at a port of its own."""

import contextlib
import http.client
import json
import threading
from typing import Any

from robopref.labeling.client import Client
from robopref.labeling.config import LabelConfig
from robopref.labeling.server import ServerConfig, open_project, serve
from tests.labeling.clip_data import SMALL


class Running:
    """A project served at a port of its own, in a thread."""

    def __init__(self, folder, data, **settings):
        self.config = ServerConfig(
            data, str(folder / "store.sqlite"), folder / "out", port=0, clips=SMALL,
            segment_length=8, token=settings.pop("token", None),
        )  # fmt: skip
        options: dict[str, Any] = {"gold_every": 0, "repeat_every": 0}
        self.project = LabelConfig(**options | settings)
        self.url = ""
        self.server: Any = None
        self.port = 0
        self._listening = threading.Event()
        self._failure = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        assert self._listening.wait(60)
        if self._failure is not None:
            raise self._failure
        return self

    def __exit__(self, *exception):
        self.server.should_exit = True
        self._thread.join(60)

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

    def _run(self):
        try:
            self._serve()
        except BaseException as error:
            self._failure = error
            self._listening.set()

    def _serve(self):
        def announce(url, server):
            self.url, self.server = url, server
            self.port = int(url.rstrip("/").rpartition(":")[2])
            self._listening.set()

        with open_project(self.config, self.project) as service:
            self.service = service
            serve(service, self.config, announce=announce)

"""The connection of a labelling client: signs in where that is asked for, and repeats itself."""

import http.client
import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from robopref.errors import DataError

Plain = dict[str, Any]


class ClientError(DataError):
    """Raised when the server refuses; `status` and `code` say why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Connection:
    """Requests to a labelling server in the name of an annotator.

    What finds no server, or one that cannot answer now, is repeated; what adds something has an id
    made here, so that it counts once however often it is sent. One is for one thread.

    Args:
        url: Address of the server, as it printed it.
        annotator: Under which name answers are kept.
        token: What the server asks for, if it does.
        patience_s: How long a request is repeated [s].

    Raises:
        ValueError: The address is none.
    """

    def __init__(
        self, url: str, annotator: str, token: str | None = None, *, patience_s: float = 30.0
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"`url` must be like http://127.0.0.1:8321, got '{url}'.")
        self.annotator = annotator
        self._token = token
        self._patience_s = patience_s
        secure = parts.scheme == "https"
        kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
        self._connection = kind(parts.hostname, parts.port, timeout=max(60.0, patience_s))
        self._cookie: str | None = None

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def get(self, path: str) -> Plain:
        """Return the JSON at a path."""
        return self.request("GET", path)

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Plain:
        """Send JSON to a path and return the JSON that comes back."""
        return self.request("POST", path, body or {})

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Plain:
        """Make a request of JSON."""
        content = None if body is None else json.dumps(body).encode()
        answer: Plain = json.loads(self.request_bytes(method, path, content))
        return answer

    def request_bytes(
        self, method: str, path: str, body: bytes | None = None,
        content_type: str = "application/json",
    ) -> bytes:  # fmt: skip
        """Make a request; sign in where that is asked for, and repeat it while nothing answers.

        Raises:
            ClientError: The server refuses.
            DataError: It cannot be reached.
        """
        deadline = time.monotonic() + self._patience_s
        signed_in = False
        while True:
            try:
                status, content = self._once(method, path, body, content_type)
            except (OSError, http.client.HTTPException) as error:
                self._connection.close()
                if time.monotonic() > deadline:
                    raise DataError(
                        f"The labelling server at {self._connection.host}:{self._connection.port} "
                        f"does not answer: {error}. Start it with: robopref label."
                    ) from error
                time.sleep(0.2)
                continue
            if status < 400:
                return content
            if status == 401 and not signed_in:
                self._sign_in()
                signed_in = True
            elif status == 503 and time.monotonic() < deadline:
                time.sleep(0.5)
            else:
                raise _error(status, content)

    def _once(
        self, method: str, path: str, body: bytes | None, content_type: str
    ) -> tuple[int, bytes]:
        headers = {"X-Robopref": "1", "X-Annotator": quote(self.annotator, safe="")}
        if body is not None:
            headers["Content-Type"] = content_type
        if self._cookie is not None:
            headers["Cookie"] = self._cookie
        if self._connection.sock is None:
            self._connection.connect()
            connected: Any = self._connection.sock
            # Small requests are not to wait for the acknowledgement of the ones before.
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connection.request(method, path, body, headers)
        response = self._connection.getresponse()
        content = response.read()
        cookie = response.getheader("Set-Cookie")
        if cookie:
            self._cookie = cookie.partition(";")[0]
        return response.status, content

    def _sign_in(self) -> None:
        body = {"annotator": self.annotator, "token": self._token}
        status, content = self._once(
            "POST", "/api/session", json.dumps(body).encode(), "application/json"
        )
        if status >= 400:
            raise _error(status, content)


def _error(status: int, content: bytes) -> ClientError:
    try:
        error = json.loads(content)["error"]
        return ClientError(status, error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return ClientError(status, "unreadable", content[:200].decode(errors="replace"))

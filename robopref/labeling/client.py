"""A client of the labelling server that does all that the page does, for scripts and for tests."""

import http.client
import json
import socket
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from robopref.config import write_bytes_atomically
from robopref.errors import DataError

EXPORT_S = 3600.0
"""How long a file is waited for [s]: a million answers take minutes."""

Plain = dict[str, Any]


class ClientError(DataError):
    """Raised when the server refuses; `status` and `code` say why."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class Client:
    """An annotator of a labelling server.

    What finds no server, or one that cannot answer now, is repeated; what adds something has an id
    made here, so that it counts once however often it is sent. One client is for one thread.

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

    def __enter__(self) -> "Client":
        """Return the client."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of the connection."""
        self.close()

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def project(self) -> Plain:
        """Return what is asked on this server."""
        return self.get("/api/project")

    def next(self, criterion: str | None = None, kinds: Sequence[str] = ()) -> Plain:
        """Return what to judge next under "query", or None there and a "reason"."""
        return self.post("/api/next", {"criterion": criterion, "kinds": list(kinds)})

    def answer(
        self,
        query: Mapping[str, Any],
        order: Iterable[Iterable[int]] = (),
        *,
        answer: str = "ranked",
        **fields: Any,
    ) -> str:
        """Keep an answer; return its id. When this returns, it is on disk.

        Args:
            query: What `next` gave under "query".
            order: Groups of items, best first.
            answer: "ranked", "incomparable" or "skipped".
            **fields: `strength`, `tags`, `note`, `response_time_s`, `all_bad`, `proposed`, `id`.
        """
        body = {
            **self._judged(query), "answer": answer, "order": [list(group) for group in order],
            "shown": query["order"], **fields,
        }  # fmt: skip
        self.post("/api/answers", body)
        return str(body["id"])

    def rate(
        self, query: Mapping[str, Any], rating: str, mark_step: int | None = None, **fields: Any
    ) -> str:
        """Keep a rating; return its id. When this returns, it is on disk.

        Args:
            query: What `next` gave under "query".
            rating: "good", "bad", "success", "failure", "cannot tell" or "skipped".
            mark_step: Where it went wrong; a step of the clip.
            **fields: `tags`, `note`, `response_time_s`, `id`.
        """
        body = {**self._judged(query), "rating": rating, "mark_step": mark_step, **fields}
        self.post("/api/ratings", body)
        return str(body["id"])

    def undo(self, answer_id: str) -> Plain:
        """Take one's own answer or rating back; return its query as `next` does."""
        return self.post(f"/api/answers/{answer_id}/undo")

    def mine(self, limit: int = 50) -> list[Plain]:
        """Return one's own answers and ratings, newest first."""
        found: list[Plain] = self.get(f"/api/answers/mine?limit={limit}")["answers"]
        return found

    def renew(self, lease_id: str) -> float:
        """Keep a query for longer; return until when it is kept."""
        return float(self.post(f"/api/leases/{lease_id}/renew")["expires_s"])

    def release(self, lease_id: str) -> bool:
        """Give a query back; return whether it was kept."""
        return bool(self.request("DELETE", f"/api/leases/{lease_id}")["released"])

    def clip(self, query: Mapping[str, Any], item: int, camera: str | None = None) -> bytes:
        """Return the video file of an item, by its usual camera or another."""
        urls = query["items"][item]["clips"]
        return self.request_bytes("GET", urls[camera or query["items"][item]["cameras"][0]])

    def lanes(self, query: Mapping[str, Any], item: int) -> list[Plain]:
        """Return the curves under a clip."""
        found: list[Plain] = self.get(query["items"][item]["lanes"])["lanes"]
        return found

    def cloud(self, query: Mapping[str, Any]) -> bytes:
        """Return the point cloud of a query of candidates."""
        return self.request_bytes("GET", query["observation"]["cloud"])

    def progress(self) -> Plain:
        """Return how far the labelling is; waits for newer figures that are on their way."""
        while (found := self.get("/api/progress"))["is_measuring"]:
            time.sleep(0.1)
        return found

    def add_queries(self, queries: Iterable[Mapping[str, Any]]) -> list[str]:
        """Add queries, each {"items": [...], "reason", "priority", "gold"}; return their ids."""
        named = [{"id": str(uuid.uuid4()), **query} for query in queries]
        added: list[str] = self.post("/api/queries", {"queries": named})["ids"]
        return added

    def disagreements(self, criterion: str | None = None) -> list[Plain]:
        """Return the queries that annotators answered differently."""
        query = "" if criterion is None else "?" + urlencode({"criterion": criterion})
        found: list[Plain] = self.get("/api/adjudication" + query)["queries"]
        return found

    def adjudicate(
        self, query_id: str, criterion: str, order: Iterable[Iterable[int]] = (), **fields: Any
    ) -> str:
        """Decide a disagreement; return the decision's id."""
        body = {
            "id": str(uuid.uuid4()), "query": query_id, "criterion": criterion,
            "order": [list(group) for group in order], "answer": "ranked", **fields,
        }  # fmt: skip
        self.post("/api/adjudication", body)
        return str(body["id"])

    def undo_decision(self, decision_id: str) -> None:
        """Take one's own decision back."""
        self.post(f"/api/adjudication/{decision_id}/undo")

    def unblock(self, query_id: str) -> bool:
        """Ask a query again that could not be shown; return whether that was so."""
        return bool(self.post(f"/api/queries/{quote(query_id, safe='')}/unblock")["unblocked"])

    def add_comparisons(self, num: int = 20, policies: Sequence[str] = ()) -> list[str]:
        """Ask for comparisons of policies from equal starts; return the ids of their queries.

        Args:
            num: How many; fewer where there are not so many.
            policies: Whose episodes; none for all.
        """
        body = {"id": str(uuid.uuid4()), "num": num, "policies": list(policies)}
        added: list[str] = self.post("/api/comparison", body)["ids"]
        return added

    def comparison(self, *, reveal: bool = False) -> Plain:
        """Return how policies compare; who is who only where that is asked for."""
        return self.get("/api/comparison" + ("?reveal=1" if reveal else ""))

    def export(self, form: str, path: Path) -> None:
        """Write all that was said to a file: parquet, jsonl, chosen_rejected or lerobot."""
        before, self._connection.timeout = self._connection.timeout, EXPORT_S
        self._connection.close()
        try:
            content = self.request_bytes("GET", f"/api/export/{quote(form)}")
        finally:
            self._connection.timeout = before
            self._connection.close()
        write_bytes_atomically(path, content)

    def import_jsonl(self, path: Path) -> int:
        """Add what `export("jsonl")` or `PreferenceStore.export_jsonl` wrote; return how many."""
        body = path.read_bytes()
        self.mine(1)  # Signs in where need be: no large body is taken from who is not.
        answer = self.request_bytes("POST", "/api/import/jsonl", body, "application/x-ndjson")
        return int(json.loads(answer)["new"])

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

    @staticmethod
    def _judged(query: Mapping[str, Any]) -> Plain:
        return {
            "id": str(uuid.uuid4()), "query": query["id"], "criterion": query["criterion"],
        }  # fmt: skip


def _error(status: int, content: bytes) -> ClientError:
    try:
        error = json.loads(content)["error"]
        return ClientError(status, error["code"], error["message"])
    except (ValueError, KeyError, TypeError):
        return ClientError(status, "unreadable", content[:200].decode(errors="replace"))

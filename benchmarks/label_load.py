"""Annotators of the load test: they sign in, ask, look, think, answer; some in each process.

Beside them there are pages that somebody left open, which ask for progress and comparisons.

They carry on when the server dies: a request that got no reply is sent again, an answer under the
same id.
"""

import http.client
import json
import random
import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from benchmarks.label_data import CRITERION

TIMEOUT_S = 40.0
GIVE_UP_S = 60.0
"""A server that does not come back within this time [s] has failed."""
THINK_S = (0.5, 2.5)
"""An annotator looks at a query for a time between these [s]; real ones take longer."""
READ_S, READ_SOON_S = 5.0, 1.0
"""Times after which an open page asks again, the second while figures are measured [s]."""
TWICE, UNDONE = 0.05, 0.02
"""Shares of answers that are sent twice, and taken back."""


@dataclass
class Log:
    """What annotators saw.

    Args:
        answered: Query of each acknowledged answer, by its id.
        undone: Ids of answers whose undoing was acknowledged.
        handed: Who was handed a query, by its id; those that check an annotator left out.
        seconds: How long requests took that were sent once, by kind.
        refused: Replies that are no success, in words.
        outages: How long annotators waited for a server that had died [s].
    """

    answered: dict[str, str] = field(default_factory=dict)
    undone: set[str] = field(default_factory=set)
    handed: dict[str, set[str]] = field(default_factory=dict)
    seconds: dict[str, list[float]] = field(default_factory=dict)
    refused: list[str] = field(default_factory=list)
    outages: list[float] = field(default_factory=list)

    def add(self, other: "Log") -> None:
        """Take in what others saw."""
        self.answered |= other.answered
        self.undone |= other.undone
        for query, names in other.handed.items():
            self.handed.setdefault(query, set()).update(names)
        for kind, values in other.seconds.items():
            self.seconds.setdefault(kind, []).extend(values)
        self.refused += other.refused
        self.outages += other.outages


class Annotator:
    """One annotator, who keeps one connection."""

    def __init__(self, name: str, port: int, clips: list[str], cookie: str = "") -> None:
        self.name = name
        self.log = Log()
        self._port = port
        self._clips = clips
        self._cookie = cookie
        self._rng = random.Random(name)
        self._connection: http.client.HTTPConnection | None = None

    def work(self, seconds: float) -> None:
        """Answer queries for a time."""
        end = time.monotonic() + seconds
        # Not all at the same instant.
        time.sleep(self._rng.uniform(0, THINK_S[1]))
        if not self._cookie:
            self.request("POST", "/api/session", {"annotator": self.name}, "sign in")
        while time.monotonic() < end:
            found = self.request("POST", "/api/next", {}, "next")
            query = None if found is None else found["query"]
            if query is None:
                self.log.refused.append(f"next: {found and found['reason']}")
                time.sleep(1)
                continue
            if not query.get("role") or query["role"] == "ask":
                self.log.handed.setdefault(query["id"], set()).add(self.name)
            if self._clips:
                self.request("GET", self._rng.choice(self._clips), None, "clip")
            time.sleep(self._rng.uniform(*THINK_S))
            self.answer(query)
        self.close()

    def answer(self, query: dict[str, Any]) -> None:
        """Answer a query at random."""
        name = str(uuid.uuid4())
        order = list(range(len(query["items"])))
        self._rng.shuffle(order)
        body = {
            "id": name, "query": query["id"], "criterion": CRITERION,
            "answer": "ranked", "order": [[item] for item in order],
            "strength": 2, "shown": query["order"], "response_time_s": 1.0,
        }  # fmt: skip
        stored = self.request("POST", "/api/answers", body, "answer")
        if stored is None:
            return
        self.log.answered[name] = query["id"]
        if self._rng.random() < TWICE:
            again = self.request("POST", "/api/answers", body, "answer again")
            if again is not None and again["new"]:
                self.log.refused.append(f"answer {name} was new twice")
        if self._rng.random() < UNDONE and self.request(
            "POST", f"/api/answers/{name}/undo", {}, "undo"
        ):
            self.log.undone.add(name)

    def request(self, method: str, path: str, body: Any, kind: str) -> Any:
        """Return the reply to a request, sent until there is one; None if it is a refusal."""
        began, outage = time.monotonic(), False
        while True:
            start = time.perf_counter()
            try:
                status, content = self._send(method, path, body)
            except (OSError, http.client.HTTPException):
                self.close()
                outage = True
                if time.monotonic() - began > GIVE_UP_S:
                    raise
                time.sleep(0.1)
                continue
            if outage:
                self.log.outages.append(time.monotonic() - began)
            else:
                self.log.seconds.setdefault(kind, []).append(time.perf_counter() - start)
            if status >= 400:
                self.log.refused.append(f"{kind}: {status} {content[:200]!r}")
                return None
            return content if method == "GET" else json.loads(content)

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _send(self, method: str, path: str, body: Any) -> tuple[int, bytes]:
        if self._connection is None:
            self._connection = http.client.HTTPConnection(
                "127.0.0.1", self._port, timeout=TIMEOUT_S
            )
        headers = {"X-Robopref": "1", "Cookie": self._cookie}
        content = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            content = json.dumps(body)
        self._connection.request(method, path, content, headers)
        reply = self._connection.getresponse()
        received = reply.read()
        for header in reply.headers.get_all("set-cookie") or []:
            self._cookie = header.partition(";")[0]
        return reply.status, received


class Reader(Annotator):
    """A page that is left open on Progress, with another on Compare, asking as the real ones do."""

    def work(self, seconds: float) -> None:
        """Look again and again for a time."""
        end = time.monotonic() + seconds
        time.sleep(self._rng.uniform(0, READ_S))
        if not self._cookie:
            self.request("POST", "/api/session", {"annotator": self.name}, "sign in")
        while time.monotonic() < end:
            self.request("GET", "/api/comparison", None, "comparison")
            found = self.request("GET", "/api/progress", None, "progress")
            is_measuring = found is not None and json.loads(found)["is_measuring"]
            time.sleep(READ_SOON_S if is_measuring else READ_S)
        self.close()


def annotate(
    names: list[str], readers: list[str], port: int, seconds: float, clips: list[str]
) -> Log:
    """Let annotators and readers work at the same time, each in a thread; return what they saw."""
    annotators = [Annotator(name, port, clips) for name in names]
    annotators += [Reader(name, port, []) for name in readers]
    faults: list[BaseException] = []

    def work(annotator: Annotator) -> None:
        try:
            annotator.work(seconds)
        except BaseException as error:
            faults.append(error)
            raise

    threads = [threading.Thread(target=work, args=(each,)) for each in annotators]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if faults:
        raise RuntimeError(f"An annotator gave up: {faults[0]!r}") from faults[0]
    log = Log()
    for annotator in annotators:
        log.add(annotator.log)
    return log

"""A client of the labelling server that does all that the page does, for scripts and for tests."""

import json
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from robopref.config import write_bytes_atomically
from robopref.labeling.connection import ClientError, Connection, Plain

__all__ = ["Client", "ClientError"]

EXPORT_S = 3600.0
"""How long a file is waited for [s]: a million answers take minutes."""


class Client(Connection):
    """An annotator of a labelling server.

    What adds something has an id made here, so that it counts once however often it is sent.

    Args:
        url: Address of the server, as it printed it.
        annotator: Under which name answers are kept.
        token: What the server asks for, if it does.
        patience_s: How long a request is repeated [s].

    Raises:
        ValueError: The address is none.
    """

    def __enter__(self) -> "Client":
        """Return the client."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Let go of the connection."""
        self.close()

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

    def clips(self, query_id: str) -> list[dict[str, str]]:
        """Return where the clips of any query are, by item and camera."""
        path = f"/api/queries/{quote(query_id, safe='')}/clips"
        found: list[dict[str, str]] = self.get(path)["clips"]
        return found

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

    def disagreements(self, criterion: str | None = None, *, ratings: bool = False) -> list[Plain]:
        """Return the queries that annotators answered differently, or the clips so rated."""
        query = "" if criterion is None else "?" + urlencode({"criterion": criterion})
        found = self.get("/api/adjudication" + query)
        wanted: list[Plain] = found["ratings" if ratings else "queries"]
        return wanted

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

    def adjudicate_rating(
        self, query_id: str, criterion: str, rating: str, mark_step: int | None = None,
        **fields: Any,
    ) -> str:  # fmt: skip
        """Decide a disagreement about one clip; return the decision's id."""
        body = {
            "id": str(uuid.uuid4()), "query": query_id, "criterion": criterion, "rating": rating,
            "mark_step": mark_step, **fields,
        }  # fmt: skip
        self.post("/api/adjudication/ratings", body)
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

    @staticmethod
    def _judged(query: Mapping[str, Any]) -> Plain:
        return {
            "id": str(uuid.uuid4()), "query": query["id"], "criterion": query["criterion"],
        }  # fmt: skip

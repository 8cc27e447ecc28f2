"""The Python of docs/labeling.md runs against a server."""

from pathlib import Path

import pytest

from robopref.labeling.config import KINDS
from tests.labeling.clip_data import record_simulated
from tests.labeling.running import Running
from tests.test_docs import blocks


@pytest.mark.slow
def test_a_newcomer_can_try_every_kind_of_query(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    record_simulated(Path("runs/reach"), 3, num_steps=60)
    asking, adding = blocks("labeling.md")
    with Running(tmp_path, Path("runs/reach")) as running, running.client("ben") as client:
        for block in (asking, adding):
            code = block.replace("http://127.0.0.1:8321", running.url)
            exec(compile(code, "labeling.md", "exec"), {})
        seen = []
        for _ in KINDS:
            query = client.next()["query"]
            seen.append(query["kind"])
            if query["kind"] == "rating":
                client.rate(query, "good")
            else:
                client.answer(query, [[item] for item in query["order"]])
    assert seen == list(KINDS)

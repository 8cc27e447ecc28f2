"""The HTTP interface against what it says of itself, by requests that schemathesis makes up."""

import importlib.util
import subprocess
import sys

import pytest

from tests.labeling.clip_data import record_real
from tests.labeling.running import Running

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance",
    "response_headers_conformance", "response_schema_conformance", "negative_data_rejection",
    "missing_required_header",
)  # fmt: skip
"""All but two: an answer of 422 to a body of the right form is no fault, since an order may not fit
its query; and `Allow` of a path with routes of several methods is Starlette's."""


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("schemathesis") is None, reason="schemathesis is not installed"
)
def test_no_request_breaks_the_server_or_its_description(tmp_path):
    record_real(tmp_path / "data")
    with Running(tmp_path, tmp_path / "data") as running, running.client("fuzz") as client:
        query = client.next()["query"]
        client.clip(query, 0)
        done = subprocess.run(
            [
                sys.executable, "-m", "schemathesis.cli", "run",
                f"{running.url}api/openapi.json",
                "-H", "X-Robopref: 1", "-H", f"Cookie: {client._cookie}", "-H", "X-Annotator: fuzz",
                "--checks", ",".join(CHECKS), "-n", "8", "--continue-on-failure",
                "--generation-deterministic", "--phases", "coverage,fuzzing", "--max-time", "45",
                # It signs out, and the other takes no JSON.
                "--exclude-path", "/api/session", "--exclude-path", "/api/import/jsonl",
                "--no-color",
            ],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
        assert "generated" in done.stdout
        assert client.next()["query"]["id"] == query["id"], "the server goes on"

"""Who is signed in, and who a request speaks for: all pages of a browser share one cookie."""

import json
import uuid

import pytest

from tests.labeling.clip_data import record_real
from tests.labeling.running import WRITE, Running


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    record_real(folder / "data")
    with Running(folder, folder / "data") as running:
        yield running


def test_an_answer_of_one_annotator_is_not_stored_as_that_of_another(running):
    with running.client("ben") as ben:
        query = ben.next()["query"]
        body = {**ben._judged(query), "answer": "ranked", "order": [[0], [1]]}
        headers = {**WRITE, "Cookie": ben._cookie, "X-Annotator": "anna"}
        status, _, refused = running.raw("POST", "/api/answers", headers, json.dumps(body).encode())
        assert (status, refused["error"]["code"]) == (409, "other-annotator")
        assert refused["error"]["message"] == (
            "'ben' is signed in now, not 'anna'. Sign in under the name that is meant."
        )
        assert ben.mine() == []
        for method, path in [
            ("POST", "/api/next"), ("GET", "/api/answers/mine"), ("DELETE", "/api/session"),
            ("GET", query["items"][0]["lanes"]), ("POST", f"/api/leases/{uuid.uuid4()}/renew"),
        ]:  # fmt: skip
            assert running.raw(method, path, headers, b"{}")[0] == 409, path
        assert ben.project()["annotator"] == "ben", "nobody else signs them out"


@pytest.mark.parametrize("name", ["名前", "50 % / ü", "anna%2Ek"])
def test_any_name_can_be_said(running, name):
    with running.client(name) as client:
        assert client.mine() == []
        said = {"Cookie": client._cookie, "X-Annotator": name[:1]}
        if name.isascii():
            assert running.raw(path="/api/answers/mine", headers=said)[0] == 409


def test_who_says_no_name_is_who_is_signed_in(running):
    with running.client("cleo") as client:
        client.mine()
        assert running.raw(path="/api/answers/mine", headers={"Cookie": client._cookie})[0] == 200


@pytest.mark.parametrize(
    ("headers", "is_secure"),
    [
        ({}, False),
        ({"Origin": "http://127.0.0.1:{port}"}, False),
        ({"Origin": "https://127.0.0.1:{port}"}, True),  # a proxy with TLS, which passes `Host` on
        ({"X-Forwarded-Proto": "https"}, True),
    ],
)
def test_the_cookie_of_a_page_that_came_encrypted_goes_back_encrypted_only(
    running, headers, is_secure
):
    given = {key: value.format(port=running.port) for key, value in headers.items()}
    body = b'{"annotator": "anna"}'
    status, response, _ = running.raw("POST", "/api/session", {**WRITE, **given}, body)
    assert status == 200
    assert ("; secure" in response.getheader("set-cookie").lower()) == is_secure

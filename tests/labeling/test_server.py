"""Tests of the server over HTTP: what an annotator does, and what is refused."""

import uuid
from typing import Any

import pytest

from robopref.access import bind
from robopref.errors import DataError
from robopref.labeling import replies
from robopref.labeling.assignment import NOT_HERE
from robopref.labeling.client import Client, ClientError
from robopref.labeling.server import ServerConfig
from robopref.preferences import tables
from tests.labeling.clip_data import record_real
from tests.labeling.running import WRITE, Running, code

TOKEN = "a-token-for-tests"


def test_an_annotator_labels_from_first_to_last(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        project = client.project()
        assert (project["annotator"], project["needs_token"]) == (None, False)
        answered = []
        while (found := client.next())["query"] is not None:
            query = found["query"]
            assert sorted(query["order"]) == [0, 1]
            answered.append(client.answer(query, [[1], [0]], strength=3, tags=["faster"], note="ü"))
        assert found["reason"] == "all answered"
        assert len(answered) == 20
        assert client.project()["annotator"] == "anna"
        assert {own["id"] for own in client.mine()} == set(answered)
        back = client.undo(answered[-1])["query"]
        assert back["id"] == client.next()["query"]["id"]
        client.answer(back, answer="incomparable")
        stored = {p.id: p for p in running.service.store.preferences()}
        assert set(answered[:-1]) < set(stored)
        first = stored[answered[0]]
        assert (first.ranking.order, first.strength, first.reason) == (((1,), (0,)), 3, "ü")
        assert first.details["tags"] == ["faster"]
        assert sorted(first.details["shown"]) == [0, 1]


def test_what_is_asked_has_the_form_that_the_description_gives_it(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        episodes = running.service.episodes
        segments = [{"episode_id": name, "start": 2, "length": 6} for name in episodes.ids]
        action = episodes.episode(episodes.ids[0]).action[:1].tolist()
        chunk = {"episode_id": episodes.ids[0], "step": 0}
        candidates = [{**chunk, "action": action}, {**chunk, "action": [[-x for x in action[0]]]}]
        client.add_queries(
            {"items": items, "priority": 1.0}
            for items in (
                segments,
                segments[:1],
                candidates,
                [*segments, segments[0] | {"start": 0}],
            )
        )
        kinds = set()
        while (found := client.next())["query"] is not None:
            query = replies.Asked.model_validate(found).query
            kinds.add(query.kind)
            if query.kind == "rating":
                client.rate(found["query"], "good")
            else:
                client.answer(found["query"], answer="skipped")
        replies.Nothing.model_validate(found)
        assert kinds == {"pair", "ranking", "candidates", "rating"}


def test_clips_come_whole_in_parts_and_not_again(running):
    with running.client("clips") as client:
        query = client.next()["query"]
        whole = client.clip(query, 0)
        assert whole[4:8] == b"ftyp"
        path = next(iter(query["items"][0]["clips"].values()))
        headers = {"Cookie": client._cookie}
        part = running.raw(path=path, headers=headers | {"Range": "bytes=10-19"})
        assert (part[0], part[2]) == (206, whole[10:20])
        tag = part[1].getheader("etag")
        assert "immutable" in part[1].getheader("cache-control")
        assert running.raw(path=path, headers=headers | {"If-None-Match": tag})[0] == 304
        assert client.get(f"{path.removesuffix('.mp4')}/status") == {"state": "ready"}
        assert {"unit", "values", "hidden", "name"} <= set(client.lanes(query, 0)[0])


def test_who_is_not_signed_in_sees_the_project_and_nothing_else(running):
    assert running.raw()[0] == 200
    for path in (
        "/api/answers/mine",
        "/api/clips/q/0/front.mp4",
        "/api/lanes/q/0",
        "/api/clouds/q",
    ):
        assert code(running.raw(path=path)) == (401, "signed-out")
    assert code(running.raw("POST", "/api/next", WRITE, b"{}")) == (401, "signed-out")
    forged = {"Cookie": f"robopref_session_{running.port}=" + "x" * 43}
    assert code(running.raw(path="/api/answers/mine", headers=forged)) == (401, "signed-out")


def test_a_server_with_a_token_lets_in_who_has_it(tmp_path, data):
    with Running(tmp_path, data, token=TOKEN) as running:
        with running.client() as client, pytest.raises(ClientError) as error:
            client.next()
        assert (error.value.status, error.value.code) == (403, "wrong-token")
        with running.client(token=TOKEN) as client:
            assert client.next()["query"] is not None


def test_cookies_are_for_this_site_and_not_for_scripts(running):
    body = b'{"annotator": "cleo"}'
    _, response, content = running.raw("POST", "/api/session", WRITE, body)
    assert content == {"annotator": "cleo"}
    cookie = response.getheader("set-cookie").lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    key = response.getheader("set-cookie").partition(";")[0]
    assert running.raw(headers={"Cookie": key})[2]["annotator"] == "cleo"
    assert running.raw("DELETE", "/api/session", WRITE | {"Cookie": key})[0] == 200
    assert running.raw(headers={"Cookie": key})[2]["annotator"] is None


def test_a_camera_that_is_no_camera_is_refused(running):
    with running.client("cameras") as client:
        name = client.next()["query"]["id"]
        for camera in ("..%2f..%2fstore.sqlite", "nothing", "%2e%2e"):
            answer = running.raw(
                path=f"/api/clips/{name}/0/{camera}.mp4", headers={"Cookie": client._cookie}
            )
            assert answer[0] == 404
        assert client.next()["query"]["id"] == name, "asking for nonsense blocks no query"


def test_wrong_answers_are_refused_and_say_why(running):
    with running.client("wrong") as client:
        query = client.next()["query"]
        for order, words in [
            ([[0], [2]], "each of the items 0 to 1"), ([[0], [0]], "at most once"), ([], "order"),
        ]:  # fmt: skip
            with pytest.raises(ClientError, match=words) as error:
                client.answer(query, order)
            assert error.value.status == 422
        for key, value, status in [
            ("criterion", "other", 404), ("query", "none", 404), ("shown", [0, 0], 422),
            ("response_time_s", -1, 422), ("strength", 4, 422), ("id", "no-uuid", 422),
        ]:  # fmt: skip
            body = client._judged(query) | {
                "answer": "ranked", "order": [[0], [1]], "shown": [], key: value,
            }  # fmt: skip
            with pytest.raises(ClientError) as error:
                client.post("/api/answers", body)
            assert error.value.status == status, key
        with pytest.raises(ClientError, match="is ordered, not rated"):
            client.rate(query, "good")
        assert client.mine() == []


def test_headers_keep_pages_and_answers_to_themselves(running):
    _, response, _ = running.raw()
    assert response.getheader("cache-control") == "no-store"
    assert response.getheader("x-content-type-options") == "nosniff"
    assert "frame-ancestors 'none'" in response.getheader("content-security-policy")
    assert response.getheader("access-control-allow-origin") is None
    assert response.getheader("server") is None


def test_a_server_restarted_goes_on_where_it_was(tmp_path, data):
    key = str(uuid.uuid4())
    with Running(tmp_path, data) as running, running.client() as client:
        query = client.next()["query"]
        client.answer(query, [[0], [1]], id=key)
        cookie = (client._cookie or "").partition("=")[2]
    with Running(tmp_path, data) as again:
        headers = {"Cookie": f"robopref_session_{again.port}={cookie}"}
        project: Any = again.raw(headers=headers)[2]
        assert project["annotator"] == "anna", "still signed in"
        with again.client() as client:
            assert client.mine()[0]["id"] == key
            client.answer(query, [[0], [1]], id=key)
            assert len(client.mine()) == 1


def test_a_query_whose_data_is_gone_is_passed_over_and_reported(tmp_path, data):
    with Running(tmp_path, data) as running, running.client() as client:
        first = client.next()["query"]
        with running.service.store.database.writing() as connection:
            items = [
                {"episode_id": "gone", "start": 0, "length": 8, "hash": "x"},
                {"episode_id": "gone", "start": 8, "length": 8, "hash": "y"},
            ]
            connection.execute(
                tables.queries.update().where(tables.queries.c.id != first["id"]), {"items": items}
            )
        running.service._queries.clear()
        client.answer(first, [[0], [1]])
        assert client.next()["query"] is None
        assert running.service.queue.blocked() == [], "another server may have them"
        assert client.next()["reason"] == NOT_HERE
        assert client.progress()["trouble"] == (
            "19 queries of episodes that are not in this data set are passed over here."
        )


def test_an_episode_that_is_recorded_anew_is_not_asked_about(tmp_path):
    store = record_real(tmp_path / "data")
    with Running(tmp_path, store.root) as running, running.client() as client:
        first = client.next()["query"]
        store.delete(store.ids)
        store.merge(record_real(tmp_path / "other", seed=1))
        running.service.refresher._next_s = 0.0
        client.answer(first, [[0], [1]])
        assert client.next()["query"] is None
        reasons = [row["blocked"] for row in running.service.queue.blocked()]
        assert len(reasons) == 19
        assert all("its content differs from what it was" in reason for reason in reasons)


def test_a_client_without_a_server_says_so(tmp_path):
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listener.close()
    client = Client(f"http://127.0.0.1:{port}", "anna", patience_s=0.1)
    with client, pytest.raises(DataError) as error:
        client.project()
    assert str(error.value).startswith(f"The labelling server at 127.0.0.1:{port} does not answer:")
    with pytest.raises(ValueError) as wrong:
        Client("ftp://x", "anna")
    assert str(wrong.value) == "`url` must be like http://127.0.0.1:8321, got 'ftp://x'."


def test_a_taken_port_and_an_open_address_without_a_token_are_refused(tmp_path):
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    with pytest.raises(DataError) as error:
        bind("127.0.0.1", port)
    listener.close()
    assert str(error.value) == (
        f"The server cannot listen at 127.0.0.1:{port}: Address already in use. Give another port "
        "(--port), or 0 for any that is free."
    )
    with pytest.raises(ValueError) as open_address:
        ServerConfig(tmp_path, "db", tmp_path, host="0.0.0.0")
    assert str(open_address.value) == (
        "`host` '0.0.0.0' can be reached from other machines: give a `token` that annotators sign "
        "in with (ROBOPREF_TOKEN or --token), or listen at 127.0.0.1."
    )
    with pytest.raises(ValueError) as short:
        ServerConfig(tmp_path, "db", tmp_path, token="short")
    assert str(short.value) == "`token` must have at least 8 letters, got 5."


def test_the_interface_is_described(running):
    description = running.raw(path="/api/openapi.json")[2]
    assert {"/api/next", "/api/answers", "/api/clips/{query}/{item}/{name}"} <= set(
        description["paths"]
    )


def test_an_address_that_is_none_is_a_page_for_people_and_plain_for_programs(running):
    status, response, content = running.raw(path="/nothing/<b>")
    assert (status, response.getheader("content-type")) == (404, "text/html; charset=utf-8")
    assert b'href="/"' in content
    assert b"<b>" not in content
    assert code(running.raw(path="/api/nothing")) == (404, "http")

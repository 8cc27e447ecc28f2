"""Tests of what the server refuses before a route sees it, and of names that are only names."""

import contextlib
import socket

import pytest

from tests.labeling.running import WRITE, code


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8321", "127.0.0.1.evil.example", "", "[::1", "a:b:c"]
)
def test_foreign_hosts_are_refused(running, host):
    assert code(running.raw(headers={"Host": host})) == (421, "foreign-host")


def test_two_hosts_are_refused(running):
    with socket.create_connection(("127.0.0.1", running.port)) as raw:
        raw.sendall(
            f"GET /api/project HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n"
            "Host: evil.example\r\nConnection: close\r\n\r\n".encode()
        )
        assert raw.recv(100).split()[1] in (b"400", b"421")


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://[", "file://"]
)
def test_requests_of_other_sites_are_refused(running, origin):
    assert code(running.raw(headers={"Origin": origin})) == (403, "foreign-origin")
    own = {"Origin": f"http://127.0.0.1:{running.port}"}
    assert running.raw(headers=own)[0] == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", ""])
def test_what_a_form_of_another_site_can_send_is_refused(running, kind):
    assert code(
        running.raw("POST", "/api/session", {"Content-Type": kind}, b'{"annotator": "x"}')
    ) == (403, "not-from-the-page")
    headers = {"X-Robopref": "1", "Content-Type": kind}
    assert code(running.raw("POST", "/api/session", headers, b'{"annotator": "x"}')) == (
        415,
        "wrong-type",
    )


def test_large_bodies_are_refused_whatever_length_they_announce(running):
    large = b'{"annotator": "' + b"x" * 2**20 + b'"}'
    assert code(running.raw("POST", "/api/session", WRITE, large)) == (413, "too-large")
    with socket.create_connection(("127.0.0.1", running.port)) as raw:
        raw.sendall(
            f"POST /api/session HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\nX-Robopref: 1\r\n"
            "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )
        received = b""
        with contextlib.suppress(ConnectionError):
            for _ in range(20):
                raw.sendall(b"20000\r\n" + b"x" * 0x20000 + b"\r\n")
            raw.sendall(b"0\r\n\r\n")
        while part := raw.recv(4096):
            received += part
            if b"too-large" in received:
                break
    assert received.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    "body",
    [
        b"{", b"[1]", b"null", b"", b'{"annotator": 3}', b'{"annotator": "a", "more": 1}',
        b'{"annotator": "\\ud800"}', b'{"annotator": "a\\u0000b"}', b'{"annotator": ""}',
        b'{"annotator": " a"}', b'{"annotator": "' + b"x" * 65 + b'"}', b"\xff\xfe", b"[" * 3000,
    ],
)  # fmt: skip
def test_broken_bodies_are_refused(running, body):
    status, name = code(running.raw("POST", "/api/session", WRITE, body))
    assert (status, name) in [(422, "wrong-request"), (400, "http")]


@pytest.mark.parametrize(
    "name", ["Robert'); DROP TABLE preferences;--", "<script>alert(1)</script>", "名前", '"\\%_']
)
def test_names_are_names_whatever_they_look_like(running, name):
    with running.client(name) as client:
        assert client.project()["annotator"] is None
        answered = client.answer(client.next()["query"], [[0], [1]], tags=[name], note=name)
        assert client.project()["annotator"] == name
        assert (
            running.raw(headers={"Cookie": client._cookie})[1]
            .getheader("content-type")
            .startswith("application/json")
        )
        (own,) = client.mine()
        assert (own["id"], own["reason"], own["details"]["tags"]) == (answered, name, [name])
        client.undo(answered)
        client.release(client.next()["query"]["lease"]["id"])


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py", "/static/..%2fapp.py", "/static/%2e%2e/%2e%2e/pyproject.toml",
        "/static//etc/passwd", "/..%2f..%2fetc%2fpasswd", "/static/..\\app.py",
        "/api/clips/..%2f..%2fetc/0/passwd.mp4", "/api/clips/x/0/..%2f..%2fpasswd.mp4",
        "/api/clips/x/0/%00.mp4",
    ],
)  # fmt: skip
def test_no_path_of_a_request_reaches_a_file_outside(running, path):
    with running.client("paths") as client:
        client.mine()
        status, _, content = running.raw(path=path, headers={"Cookie": client._cookie})
    assert status in (400, 404, 405, 422), content
    assert b"root:" not in str(content).encode()
    assert b"import" not in str(content).encode()

"""Tests of signing in: guesses of a token wait, and no large body is read before."""

import re
import socket
import time
import webbrowser

import pytest

from robopref import cli
from robopref.labeling import sessions
from robopref.labeling.client import ClientError
from robopref.labeling.sessions import Throttle
from tests.labeling.clip_data import record_real
from tests.labeling.running import Running

TOKEN = "a-token-for-tests"
IMPORT = {"X-Robopref": "1", "Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    record_real(tmp_path_factory.mktemp("data") / "set")
    folder = tmp_path_factory.mktemp("run")
    data = tmp_path_factory.mktemp("more") / "set"
    record_real(data)
    with Running(folder, data, token=TOKEN) as running:
        yield running


def test_large_bodies_are_read_from_who_is_signed_in(running, tmp_path):
    large = b" " * (2**21)
    status, _, content = running.raw("POST", "/api/import/jsonl", IMPORT, large)
    assert (status, content["error"]["code"]) == (401, "signed-out")
    path = tmp_path / "blank.jsonl"
    path.write_bytes(large)
    with running.client(token=TOKEN) as client:
        assert client.import_jsonl(path) == 0
    forged = IMPORT | {"Cookie": f"robopref_session_{running.port}=" + "x" * 43}
    assert running.raw("POST", "/api/import/jsonl", forged, large)[0] == 401


def test_a_large_body_of_no_announced_length_is_not_read_either(running):
    with socket.create_connection(("127.0.0.1", running.port)) as raw:
        raw.sendall(
            f"POST /api/import/jsonl HTTP/1.1\r\nHost: 127.0.0.1:{running.port}\r\n"
            "X-Robopref: 1\r\nContent-Type: application/x-ndjson\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        received = b""
        try:
            for _ in range(20):
                raw.sendall(b"20000\r\n" + b" " * 0x20000 + b"\r\n")
            raw.sendall(b"0\r\n\r\n")
        except ConnectionError:
            pass
        while part := raw.recv(4096):
            received += part
            if b"signed-out" in received:
                break
    assert received.startswith(b"HTTP/1.1 401 ")


def test_after_a_wrong_token_the_next_one_waits(running, monkeypatch):
    monkeypatch.setattr(sessions, "WRONG_S", 0.3)
    with running.client("guess", token="wrong-token") as client:
        for _ in range(2):
            with pytest.raises(ClientError) as error:
                client.next()
            assert error.value.status == 403
    start = time.monotonic()
    with running.client("late", token=TOKEN) as client:
        client.next()
    assert time.monotonic() - start > 0.2


def test_tries_of_one_address_come_one_after_the_other_and_not_too_many():
    now = [100.0]
    throttle = Throttle(clock=lambda: now[0])
    assert [throttle.wait_s("a"), throttle.wait_s("a")] == [0.0, 0.0]
    throttle.wrong("a")
    waits = [throttle.wait_s("a") for _ in range(14)]
    assert waits[:3] == [1.0, 2.0, 3.0]
    assert waits[-1] is None
    assert throttle.wait_s("b") == 0.0, "others wait for nothing"
    now[0] += 60
    assert throttle.wait_s("a") == 0.0


def test_the_token_may_come_from_the_environment(tmp_path, monkeypatch, capsys):
    record_real(tmp_path / "data")
    command = [
        "label", "--data", str(tmp_path / "data"), "--db", str(tmp_path / "s.sqlite"), "--out",
        str(tmp_path / "out"), "--port", "0", "--no-browser", "--learner", "none",
    ]  # fmt: skip
    monkeypatch.setenv("ROBOPREF_TOKEN", "short")
    assert cli.main([*command, "--stop-after", "0.1"]) == 2
    assert "--token must have at least 8 letters, got 5." in capsys.readouterr().err
    monkeypatch.setenv("ROBOPREF_TOKEN", TOKEN)
    assert cli.main([*command, "--stop-after", "0.1"]) == 0
    mine, others, _ = capsys.readouterr().out.splitlines()[:3]
    assert re.fullmatch(rf"Label at http://127\.0\.0\.1:\d+/\?annotator=\S+#token={TOKEN}", mine)
    assert re.fullmatch(
        rf"Others, who are asked for their name: http://127\.0\.0\.1:\d+/#token={TOKEN}", others
    )
    assert cli.main([*command, "--stop-after", "0.1", "--allowed-host", "label.example.org"]) == 0
    assert f": https://label.example.org/#token={TOKEN}\n" in capsys.readouterr().out


def test_a_browser_is_started_with_a_token_only_where_others_see_it_anyway(
    tmp_path, monkeypatch, capsys
):
    record_real(tmp_path / "data")
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    command = [
        "label", "--data", str(tmp_path / "data"), "--db", str(tmp_path / "s.sqlite"), "--out",
        str(tmp_path / "out"), "--port", "0", "--learner", "none", "--stop-after", "0.1",
    ]  # fmt: skip
    monkeypatch.setenv("ROBOPREF_TOKEN", TOKEN)
    assert cli.main(command) == 0
    assert cli.main([*command, "--token", "a&b of c#d"]) == 0
    assert [link.partition("#")[2] for link in opened] == ["", "token=a%26b%20of%20c%23d"]

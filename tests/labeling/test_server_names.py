"""Tests of the names by which a labelling server may be called."""

import contextlib
import dataclasses
import socket

import pytest

from robopref.access import bind
from robopref.errors import DataError
from robopref.labeling import security
from robopref.labeling.client import Client
from robopref.labeling.security import WILDCARDS, reachable_name
from robopref.labeling.server import ServerConfig
from tests.labeling.running import WRITE, Running, code

TOKEN = "a-token-for-tests"
NAME = "label.example.org"


@contextlib.contextmanager
def running_with(folder, data, **settings):
    running = Running(folder, data, token=TOKEN)
    running.config = dataclasses.replace(running.config, first_queries=0, **settings)
    with running:
        yield running


@pytest.mark.parametrize("bind_to", ["0.0.0.0", "::"])
def test_a_server_at_every_address_answers_to_addresses_and_no_foreign_name(
    tmp_path, data, bind_to, monkeypatch
):
    try:
        bind(bind_to, 0).close()
    except DataError as error:
        pytest.skip(str(error))
    monkeypatch.setattr(security, "ELSEWHERE", ("127.0.0.1",))  # Tests look no further.
    with running_with(tmp_path, data, host=bind_to) as running:
        assert running.url == f"http://127.0.0.1:{running.port}/"
        with Client(running.url, "anna", TOKEN) as client:
            assert client.next()["query"] is None, "called as it is announced"
        own_name = socket.gethostname()
        for host in ("192.168.7.9", "10.0.0.5:80", "[fd00::7]:8321", own_name, "localhost:8321"):
            headers = {"Host": host, "Origin": f"http://{host}"}
            assert running.raw(headers=headers)[0] == 200, host
        for host in ("evil.example", "10.0.0.5.evil.example", "0x7f000001", "[x]", "[::1", ""):
            assert code(running.raw(headers={"Host": host})) == (421, "foreign-host"), host
        for origin in ("http://10.0.0.6", "http://evil.example", "https://10.0.0.5"):
            headers = {"Host": "10.0.0.5:80", "Origin": origin}
            assert code(running.raw(headers=headers)) == (403, "foreign-origin"), origin


def test_without_a_network_a_server_at_every_address_is_called_by_its_host_name(monkeypatch):
    assert reachable_name("10.0.0.5") == "10.0.0.5"
    monkeypatch.setattr(security, "ELSEWHERE", ())
    for address in WILDCARDS:
        assert reachable_name(address) == socket.gethostname()


def test_a_proxy_with_tls_may_stand_before_it(tmp_path, data):
    with running_with(tmp_path, data, allowed_hosts=("Label.example.org",)) as running:
        # nginx passes `$host` (no port), `$http_host`, or by default the address of the server.
        for host in (NAME, f"{NAME}:8443", f"127.0.0.1:{running.port}"):
            for origin in (f"https://{NAME}", f"https://{NAME}:8443"):
                headers = WRITE | {"Host": host, "Origin": origin}
                body = b'{"annotator": "anna", "token": "a-token-for-tests"}'
                assert running.raw("POST", "/api/session", headers, body)[0] == 200, (host, origin)
        for origin in ("https://evil.example", f"https://{NAME}.evil.example", f"ftp://{NAME}"):
            headers = {"Host": NAME, "Origin": origin}
            assert code(running.raw(headers=headers)) == (403, "foreign-origin"), origin
        for host in (f"{NAME}.evil.example", "evil.example", "example.org", "10.0.0.5"):
            assert code(running.raw(headers={"Host": host})) == (421, "foreign-host"), host


def test_names_of_proxies_that_cannot_be_or_have_no_token_are_refused(tmp_path):
    with pytest.raises(ValueError) as wrong:
        ServerConfig(tmp_path, "db", tmp_path, token=TOKEN, allowed_hosts=("https://x.example",))
    assert str(wrong.value) == (
        "`allowed_hosts` must be a name without scheme and port, such as label.example.org, got "
        "'https://x.example'."
    )
    with pytest.raises(ValueError) as unguarded:
        ServerConfig(tmp_path, "db", tmp_path, allowed_hosts=(NAME,))
    assert str(unguarded.value) == (
        "`allowed_hosts` ['label.example.org'] can be called from other machines: give a `token` "
        "that annotators sign in with (ROBOPREF_TOKEN or --token)."
    )

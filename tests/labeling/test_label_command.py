"""Tests of `robopref label` as a program: its start, its imports, kills, and two servers."""

import os
import re
import signal
import subprocess
import sys
import time
from typing import Any

import pytest

from robopref import cli
from robopref.errors import UnknownNameError
from robopref.labeling.client import Client, ClientError
from robopref.preferences import tables
from robopref.preferences.store import PreferenceStore
from tests.labeling.clip_data import record_real

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "set"
    record_real(folder)
    return folder


class Program:
    """The command, running."""

    def __init__(self, folder, data, *options, learner="none"):
        command = [
            sys.executable, "-m", "robopref.cli", "label", "--data", str(data), "--db",
            str(folder / "store.sqlite"), "--out", str(folder / "out"), "--port", "0",
            "--no-browser", "--learner", learner, "--segment-length", "8", *options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ENV)
        self.output: Any = self.process.stdout
        line = self._line()
        (self.url,) = re.findall(r"http://[^?]*", line)

    def _line(self):
        return self.output.readline()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.end(signal.SIGKILL)

    def end(self, how):
        self.process.send_signal(how)
        self.rest = self.output.read()
        self.output.close()
        return self.process.wait(60)


def test_the_server_imports_no_torch(data, tmp_path):
    script = f"""
import sys
class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is blocked here")
sys.meta_path.insert(0, NoTorch())
from robopref import cli
assert cli.main(["label", "--data", {str(data)!r}, "--db", {str(tmp_path / "s.sqlite")!r},
    "--out", {str(tmp_path)!r}, "--port", "0", "--no-browser", "--stop-after", "0.1",
    "--learner", "none"]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=ENV, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert re.fullmatch(r"Label at http://127\.0\.0\.1:\d+/\?annotator=\S+", lines[0])
    assert lines[-1] == (
        f"Next:   robopref train reward --data {data} --db {tmp_path / 's.sqlite'}"
    )


def test_ctrl_c_ends_it_and_says_what_there_is(data, tmp_path):
    with Program(tmp_path, data) as program:
        with Client(program.url, "anna") as client:
            client.answer(client.next()["query"], [[0], [1]])
        assert program.end(signal.SIGINT) == 0
    assert f"Labels by 'overall' in {tmp_path / 'store.sqlite'}: 1." in program.rest


@pytest.mark.slow
def test_kills_lose_nothing_that_was_acknowledged(data, tmp_path):
    acknowledged = []
    for _ in range(3):
        with Program(tmp_path, data) as program, Client(program.url, "anna") as client:
            for _ in range(3):
                query = client.next()["query"]
                acknowledged.append((query["id"], client.answer(query, [[0], [1]])))
            client.next()  # and leave a lease behind
    with PreferenceStore(tmp_path / "store.sqlite", create=False) as store:
        stored = [(p.query.id, p.id) for p in store.preferences()]
    assert stored == acknowledged
    assert len({name for name, _ in stored}) == 9


@pytest.mark.slow
def test_an_annotator_carries_on_after_a_restart_at_the_same_port(data, tmp_path):
    first = Program(tmp_path, data)
    port = first.url.rstrip("/").rpartition(":")[2]
    with Client(first.url, "anna", patience_s=60) as client:
        query = client.next()["query"]
        first.end(signal.SIGKILL)
        options = ("--port", port)
        with Program(tmp_path, data, *options):
            client.answer(query, [[0], [1]])
            assert client.next()["query"]["id"] != query["id"]


@pytest.mark.slow
def test_two_servers_share_one_database(data, tmp_path):
    with (
        Program(tmp_path, data) as one, Program(tmp_path, data) as two,
        Client(one.url, "anna") as anna, Client(two.url, "ben") as ben,
    ):  # fmt: skip
        seen = []
        for _ in range(6):
            pair = [client.next()["query"] for client in (anna, ben)]
            seen += [query["id"] for query in pair]
            for client, query in zip((anna, ben), pair, strict=True):
                client.answer(query, [[0], [1]])
        assert len(set(seen)) == 12, "no query went to both"
        assert anna.next()["progress"]["answered_all"] == 12
        with pytest.raises(ClientError) as error:
            ben.undo(anna.mine()[0]["id"])
        assert error.value.status == 404


@pytest.mark.slow
@pytest.mark.timeout(200)
def test_the_queue_is_refilled_and_the_trainer_ends_with_the_server(data, tmp_path):
    with Program(tmp_path, data, learner="mlp") as program:
        with Client(program.url, "anna", patience_s=60) as client:
            deadline = time.monotonic() + 100
            answered = 0
            while answered < 24 and time.monotonic() < deadline:
                query = client.next()["query"]
                if query is None:
                    time.sleep(0.2)
                    continue
                client.answer(query, [[0], [1]])
                answered += 1
            assert answered == 24, "20 are made at the start"
            assert client.progress()["trainer"]["state"] in ("waiting", "fitting")
        assert program.end(signal.SIGINT) == 0


def test_a_store_of_another_version_is_refused_with_the_command(data, tmp_path, capsys):
    path = tmp_path / "store.sqlite"
    with PreferenceStore(path) as store, store.database.writing() as connection:
        connection.execute(
            tables.meta.update().where(tables.meta.c.key == "version"), {"value": "2"}
        )
    command = ["label", "--data", str(data), "--db", str(path), "--out", str(tmp_path)]
    assert cli.main(command) == 2
    assert f"robopref data upgrade-preferences --db '{path}'" in capsys.readouterr().err


def test_settings_that_cannot_be_are_refused(data):
    for options, message in [
        (["--learner", "mpl"], "No reward named 'mpl'. Did you mean 'mlp'?"),
        (["--host", "0.0.0.0"], "can be reached from other machines"),
        (["--criterion", "a", "a"], "`criteria` must have different names"),
        (["--gold-every", "1"], "`gold_every` must be 0 or at least 2, got 1"),
        (["--refit-every", "0"], "`refit_every` must be at least 1, got 0"),
    ]:
        with pytest.raises((ValueError, UnknownNameError), match=re.escape(message)):
            cli.parse(["label", "--data", str(data), *options])


def test_a_missing_data_set_is_named(tmp_path, capsys):
    assert cli.main(["label", "--data", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err

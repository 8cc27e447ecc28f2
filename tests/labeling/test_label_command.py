"""Tests of `robopref label` as a program: its start, its imports, kills, and two servers."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import webbrowser
from pathlib import Path
from typing import Any

import pytest

from robopref import cli
from robopref.errors import UnknownNameError
from robopref.labeling.client import Client, ClientError
from robopref.labeling.config import TAGS
from robopref.preferences import tables
from robopref.preferences.store import PreferenceStore
from tests.labeling.clip_data import NUM_STEPS, record_real

ENV = {**os.environ, "OMP_NUM_THREADS": "1"}


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
        f"Next:   robopref label --data {data} --db {tmp_path / 's.sqlite'} --learner none"
    )


def test_ctrl_c_ends_it_and_says_what_there_is(data, tmp_path):
    with Program(tmp_path, data) as program:
        with Client(program.url, "anna") as client:
            client.answer(client.next()["query"], [[0], [1]])
        assert program.end(signal.SIGINT) == 0
    assert f"Labels by 'overall' in {tmp_path / 'store.sqlite'}: 1." in program.rest


def test_after_ties_alone_it_proposes_to_go_on(data, tmp_path):
    with Program(tmp_path, data) as program:
        with Client(program.url, "anna") as client:
            client.answer(client.next()["query"], [[0, 1]])
        assert program.end(signal.SIGINT) == 0
    first, after = program.rest.splitlines()[-2:]
    assert first == (
        f"Labels by 'overall' in {tmp_path / 'store.sqlite'}: 1. All are ties, which tell a reward "
        "nothing."
    )
    assert after.startswith("Next:   robopref label --data ")


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


def test_the_browser_opens_the_link_that_is_announced(data, tmp_path, monkeypatch, capsys):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    monkeypatch.setattr("getpass.getuser", lambda: "anna b&c")
    command = ["label", "--data", str(data), "--db", str(tmp_path / "s.sqlite"), "--port", "0"]
    command += ["--out", str(tmp_path), "--learner", "none", "--stop-after", "0.1"]
    assert cli.main(command) == 0
    announced = capsys.readouterr().out.splitlines()[0].removeprefix("Label at ")
    assert opened == [announced]
    assert announced.endswith("/?annotator=anna%20b%26c")
    assert cli.main([*command, "--no-browser"]) == 0
    assert len(opened) == 1


def test_at_every_address_a_real_one_is_announced(data, tmp_path):
    token = "a-token-for-tests"
    with Program(tmp_path, data, "--host", "0.0.0.0", "--token", token) as program:
        assert "0.0.0.0" not in program.url
        port = program.url.rstrip("/").rpartition(":")[2]
        with Client(f"http://127.0.0.1:{port}", "anna", token) as client:
            assert client.next()["query"] is not None


def test_a_reward_that_is_not_there_is_refused(data, tmp_path, capsys):
    missing = tmp_path / "nosuch"
    command = ["label", "--data", str(data), "--out", str(tmp_path / "out"), "--no-browser"]
    assert cli.main([*command, "--reward", str(missing)]) == 2
    assert capsys.readouterr().err == (
        f"Error: No reward in '{missing}': neither it nor '{missing}/reward' holds a config.json.\n"
    )
    assert not (tmp_path / "out").exists()


def test_projects_of_other_data_or_stores_have_folders_of_their_own(data, tmp_path, monkeypatch):
    def folder(*options):
        command = cli.parse(["label", *map(str, options)])
        config, _ = command._settings()
        assert command._training().out == config.out
        return config.out

    monkeypatch.chdir(data.parent)
    own = folder("--data", data)
    assert str(own).startswith("runs/label/set-")
    assert folder("--data", "set") == folder("--data", "set", "--db", "set/preferences.sqlite")
    assert folder("--data", "set") == own
    others = [("--data", tmp_path / "set"), ("--data", data, "--db", "other.sqlite")]
    others += [("--data", data, "--db", "postgresql://anna@host/name")]
    assert len({own, *(folder(*options) for options in others)}) == 4
    assert folder("--data", data, "--out", "here") == Path("here")


def test_options_of_the_page_reach_the_project(data):
    def project(*options):
        return cli.parse(["label", "--data", str(data), *options])._settings()[1]

    assert project().tags == TAGS
    given = project("--tag", "neat", "--tag", "no spill", "--num-ahead", "4", "--show-reward-lane")
    assert (given.tags, given.num_ahead) == (("neat", "no spill"), 4)
    assert (given.show_reward_lane, project().show_reward_lane) == (True, False)


def test_settings_that_cannot_be_are_refused(data):
    for options, message in [
        (["--tag", ""], "--tag must be 1 to 64 printable characters, got ''."),
        (
            [word for number in range(11) for word in ("--tag", f"reason {number}")],
            "--tag must be at most 10, one for each key that the page has for them, got 11.",
        ),
        (["--num-ahead", "21"], "--num-ahead must be between 0 and 20, got 21."),
        (["--allowed-host", "a.example"], "--allowed-host ['a.example'] can be called from other"),
        (["--learner", "mpl"], "No reward named 'mpl'. Did you mean 'mlp'?"),
        (["--host", "0.0.0.0"], "can be reached from other machines"),
        (["--criterion", "a", "a"], "--criterion must have different names"),
        (["--gold-every", "1"], "--gold-every must be 0 or at least 2, got 1"),
        (["--overlap", "0"], "--overlap must be between 1 and 1000, got 0."),
        (["--lease", "0"], "--lease must be between 1 and 86400, got 0.0."),
        (["--port", "99999"], "--port must be between 0 and 65535, got 99999."),
        (["--clips.codec", "foo"], "--clips.codec must be one of ['auto', 'h264', 'vp9'], got"),
        (["--refit-every", "0"], "--refit-every must be at least 1, got 0"),
    ]:
        with pytest.raises((ValueError, UnknownNameError), match=re.escape(message)):
            cli.parse(["label", "--data", str(data), *options])


def test_a_missing_data_set_is_named(tmp_path, capsys):
    assert cli.main(["label", "--data", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert str(tmp_path / "none") in capsys.readouterr().err


def test_a_reward_of_other_data_is_refused_at_the_start(tmp_path, data, capsys):
    (tmp_path / "reward").mkdir()
    header = {"type": "mlp", "obs_dim": 39, "action_dim": 4, "options": {}}
    (tmp_path / "reward" / "config.json").write_text(json.dumps(header))
    command = [
        "label", "--data", str(data), "--db", str(tmp_path / "s.sqlite"), "--out", str(tmp_path),
        "--port", "0", "--no-browser", "--stop-after", "0.1", "--reward", str(tmp_path),
    ]  # fmt: skip
    assert cli.main(command) == 2
    assert (
        f"The reward in '{tmp_path}/reward' was built for observations of size 39; those of "
        f"'{data}' have size 7."
    ) in " ".join(capsys.readouterr().err.split())


def test_cameras_that_are_none_are_refused_at_the_start(data, tmp_path, capsys):
    db = tmp_path / "store.sqlite"
    options = [
        "--db",
        str(db),
        "--out",
        str(tmp_path / "out"),
        "--no-browser",
        "--stop-after",
        "0.1",
    ]
    words = ["label", "--data", str(data), *options]
    assert cli.main([*words, "--clips.cameras", "foo"]) == 2
    assert capsys.readouterr().err == (
        "Error: --clips.cameras must name some of ['wrist'], got ['foo'].\n"
    )
    assert not db.exists()


def test_what_is_refused_leaves_no_store(tmp_path, capsys):
    # One step apart, so that one episode alone is the longest.
    episodes = record_real(tmp_path / "uneven")
    shorter = record_real(tmp_path / "shorter", num_steps=NUM_STEPS - 1, seed=1)
    episodes.delete(episodes.ids[1:])
    shorter.delete(shorter.ids[:1])
    episodes.merge(shorter)
    words = ["label", "--data", str(episodes.root), "--out", str(tmp_path / "out"), "--no-browser"]
    options = ["--learner", "none", "--stop-after", "0.1", "--segment-length", "5000"]
    assert cli.main([*words, *options]) == 2
    assert capsys.readouterr().err == (
        f"Error: No episode has 5000 steps: the longest of {len(episodes)} has {NUM_STEPS}. "
        "Ask for shorter segments (--segment-length).\n"
    )
    assert not (episodes.root / "preferences.sqlite").exists()

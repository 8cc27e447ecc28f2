"""Tests that data sets are read where they lie: behind an HTTP server, or a URL of files."""

import logging
import shutil
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from robopref.cli import main
from robopref.data import remote
from robopref.data.hashing import episode_hash
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, MissingExtraError
from robopref.locations import as_url
from tests.data.conftest import CAMERA


class FolderServer(ThreadingHTTPServer):
    """Serves a folder; keeps what is asked for, and answers with an error if told to."""

    def __init__(self, folder):
        super().__init__(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
        self.asked: list[str] = []
        self.failures: list[int] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(SimpleHTTPRequestHandler):
    def send_head(self):
        server = self.server
        assert isinstance(server, FolderServer)
        server.asked.append(self.path)
        if server.failures and not self.path.endswith("/"):
            self.send_error(server.failures.pop())
            return None
        return super().send_head()

    def log_message(self, format, *args):
        pass


@pytest.fixture
def served(tmp_path):
    """A server of the folder `tmp_path / "store"`, beside a cache of its own."""
    pytest.importorskip("aiohttp", reason="the extra 'remote' is not installed")
    server = FolderServer(tmp_path / "store")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv(remote.CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(remote, "WAITS_S", (0.01, 0.01))
    monkeypatch.setattr(remote, "REFRESH_S", 0.0)
    return tmp_path / "cache"


@pytest.fixture
def filled(store, make_episode):
    store.add_all(make_episode(n, camera=True) for n in range(3))
    store.add_all(make_episode(n, camera=True) for n in range(3, 5))
    return store


@pytest.mark.parametrize("kind", ["http", "file"])
def test_what_lies_elsewhere_is_read_as_if_it_were_here(filled, request, kind):
    url = f"file://{filled.root}" if kind == "file" else request.getfixturevalue("served").url
    there = EpisodeStore.open(url)
    assert there.location == url
    assert there.rows == filled.rows
    for ours, theirs in zip(filled, there, strict=True):
        assert episode_hash(ours) == episode_hash(theirs)
    segment = Segment(filled.ids[3], 2, 4)
    np.testing.assert_array_equal(there.frames(segment, CAMERA), filled.frames(segment, CAMERA))
    assert there.validate() == []


def test_files_are_brought_when_something_of_them_is_read_and_once(filled, served):
    there = EpisodeStore.open(served.url)
    data = [path for path in served.asked if path.startswith("/data/") and path.endswith("parquet")]
    assert data == []
    first = there.episode(filled.ids[0])
    assert "/data/chunk-000/file-000.parquet" in served.asked
    assert "/data/chunk-000/file-001.parquet" not in served.asked
    served.asked.clear()
    again = EpisodeStore.open(served.url)
    assert episode_hash(again.episode(filled.ids[1])) == filled.rows[1].content_hash
    assert episode_hash(first) == filled.rows[0].content_hash
    assert not [path for path in served.asked if path.endswith((".parquet", ".mp4"))]


def test_what_changed_there_is_seen(filled, make_episode):
    """Of files: a web server says too little of what changed."""
    there = EpisodeStore.open(f"file://{filled.root}")
    assert len(list(there)) == 5
    assert not there.refresh()
    filled.delete([filled.ids[0]])
    filled.add(make_episode(9, camera=True))
    assert there.refresh()
    assert there.ids == filled.ids
    assert [episode_hash(e) for e in there] == [row.content_hash for row in filled.rows]
    assert there.validate() == []


def test_another_process_may_use_the_same_copy(filled, make_episode):
    url = f"file://{filled.root}"
    one, other = EpisodeStore.open(url), EpisodeStore.open(url)
    filled.add(make_episode(9, camera=True))
    assert one.refresh()
    assert episode_hash(other.episode(filled.ids[-1])) == filled.rows[-1].content_hash


def test_nothing_is_written_there(filled, served, make_episode):
    there = EpisodeStore.open(served.url)
    for change in (
        lambda: there.add(make_episode(7, camera=True)),
        lambda: there.delete([there.ids[0]]),
        there.compact,
    ):
        with pytest.raises(DataError, match="can only be read") as error:
            change()
        assert f"robopref data merge --data {served.url} --out" in str(error.value)
    assert len(there) == 5


def test_a_copy_is_made_with_the_command_that_the_error_names(filled, served, tmp_path, capsys):
    assert main(["data", "merge", "--data", served.url, "--out", str(tmp_path / "here")]) == 0
    here = EpisodeStore.open(tmp_path / "here")
    assert [row.content_hash for row in here.rows] == [row.content_hash for row in filled.rows]
    capsys.readouterr()
    assert main(["data", "info", "--data", served.url]) == 0
    out = capsys.readouterr().out
    assert "5 " in out
    assert f"robopref data validate --data {served.url}" in out


def test_an_upload_that_was_cut_off_is_refused(filled, served):
    (filled.root / "data/chunk-000/file-001.parquet").unlink()
    with pytest.raises(DataError) as error:
        EpisodeStore.open(served.url)
    assert str(error.value) == (
        f"'{served.url}' lacks 1 of the 7 files that its episode table names, "
        "'data/chunk-000/file-001.parquet' among them: its upload has not finished. Wait until "
        "it has, or upload what is missing."
    )


def test_a_server_that_is_away_for_a_moment_is_waited_for(filled, served, caplog):
    served.failures += [503, 503]
    with caplog.at_level(logging.WARNING):
        assert len(EpisodeStore.open(served.url)) == 5
    assert sum("trying again" in line for line in caplog.messages) == 2


@pytest.mark.parametrize(
    ("status", "said"),
    [
        (403, "may not be read: 403"),
        (404, "There is no whole .*meta/info.json"),
        (500, "cannot be read: 500"),
    ],
)
def test_other_answers_are_errors_in_words(filled, served, status, said):
    served.failures += [status] * 5
    with pytest.raises(DataError, match=said) as error:
        EpisodeStore.open(served.url)
    assert served.url in str(error.value)


def test_a_kill_while_copying_leaves_no_half_copies(filled, served, cache, monkeypatch):
    real = remote.Mirror.fetch
    brought: list[Path] = []

    def fetch(mirror, path):
        if len(brought) == 3:
            raise KeyboardInterrupt
        brought.append(path)
        real(mirror, path)

    monkeypatch.setattr(remote.Mirror, "fetch", fetch)
    with pytest.raises(KeyboardInterrupt):
        EpisodeStore.open(served.url)
    monkeypatch.setattr(remote.Mirror, "fetch", real)
    there = EpisodeStore.open(served.url)
    assert there.validate() == []
    assert not list(cache.rglob("*.partial"))


def test_nobody_there_no_data_set_and_unknown_schemes_are_told(tmp_path, served):
    (tmp_path / "store" / "other").mkdir(parents=True)
    with pytest.raises(DataError, match=r"There is no whole LeRobot data set .*meta/info.json"):
        EpisodeStore.open(served.url)
    with pytest.raises(DataError, match="cannot be read"):
        EpisodeStore.open("http://127.0.0.1:9/nobody")
    with pytest.raises(DataError, match="Protocol not known"):
        EpisodeStore.open("nonsense://bucket/data")
    with pytest.raises(DataError, match="There is no whole LeRobot data set"):
        EpisodeStore.open(f"file://{tmp_path}/nothing")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "s3fs", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'robopref\[remote\]'"):
        EpisodeStore.open("s3://bucket/data")


def test_a_damaged_copy_is_made_again(filled, cache):
    url = f"file://{filled.root}"
    EpisodeStore.open(url)
    shutil.rmtree(cache)
    assert len(list(EpisodeStore.open(url))) == 5
    (listing,) = cache.rglob(remote.LISTING)
    listing.write_text("{nonsense")
    assert len(list(EpisodeStore.open(url))) == 5


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("s3://bucket/a/b", "s3://bucket/a/b"),
        (Path("hf://datasets/owner/name"), "hf://datasets/owner/name"),
        (Path("file:///tmp/x"), "file:///tmp/x"),
        ("runs/demo/pool", None),
        (Path("/data/s3:/x"), None),
        (Path("C:/data"), None),
    ],
)
def test_urls_are_told_from_folders(location, url):
    assert as_url(location) == url

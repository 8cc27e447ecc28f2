"""Work in real child processes: order, sharing, crashes."""

import os
import resource
import signal
import threading
import time

import pytest

from robopref.errors import DataError, MissingExtraError
from robopref.labeling import worker
from robopref.labeling.worker import ClipError, Dropped, Workers


class Doer:
    """What the child of these tests does; settings are a folder."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, job):
        what, *rest = job
        if what == "log":
            with (self.folder / "log").open("a") as file:
                file.write(f"{rest[0]}\n")
            return rest[0]
        if what == "wait":
            while not (self.folder / rest[0]).exists():
                time.sleep(0.005)
            return "waited"
        if what == "die":
            (self.folder / "deaths").open("a").write("x")
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "die once" and not (self.folder / "died").exists():
            (self.folder / "died").write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        if what == "raise":
            raise rest[0]
        return os.getpid()


@pytest.fixture
def workers(tmp_path):
    with_close = Workers(Doer, tmp_path, what="trying")
    yield with_close
    with_close.close()


def test_what_is_urgent_comes_first_and_the_rest_in_order(workers, tmp_path):
    keep_busy(workers)
    futures = [workers.submit(n, ("log", n)) for n in range(3)]
    futures.append(workers.submit(9, ("log", 9), urgent=True))
    futures.append(workers.submit(2, ("log", 2), urgent=True))  # It is needed now.
    (tmp_path / "go").write_text("")
    assert [future.result(30) for future in futures] == [0, 1, 2, 9, 2]
    assert (tmp_path / "log").read_text().split() == ["2", "9", "0", "1"]


def keep_busy(workers):
    """Have the one child wait for a file named "go"."""
    workers.submit("block", ("wait", "go"))
    while workers._queue:
        time.sleep(0.001)


def test_the_same_thing_is_done_once(workers, tmp_path):
    workers.submit("block", ("wait", "go"))
    first = workers.submit("a", ("log", "a"))
    assert workers.submit("a", ("log", "a"), urgent=True) is first
    assert workers.has("a")
    assert not first.cancel(), "others may wait for it"
    (tmp_path / "go").write_text("")
    assert first.result(30) == "a"
    assert (tmp_path / "log").read_text() == "a\n"
    deadline = time.monotonic() + 5
    while workers.has("a") and time.monotonic() < deadline:
        time.sleep(0.001)
    assert workers.submit("a", ("log", "a")).result(30) == "a", "asked for anew, done anew"


def test_what_was_asked_for_ahead_gives_way_when_too_much_waits(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "MAX_WAITING", 3)
    keep_busy(workers)
    urgent = workers.submit("urgent", ("log", "u"), urgent=True)
    ahead = [workers.submit(n, ("log", n)) for n in range(5)]
    with pytest.raises(Dropped) as error:
        ahead[0].result(30)
    assert str(error.value) == "Too much waits for trying."
    again = workers.submit(0, ("log", 0), urgent=True)
    (tmp_path / "go").write_text("")
    assert [future.result(30) for future in (urgent, again, *ahead[2:])] == ["u", 0, 2, 3, 4]
    assert isinstance(ahead[1].exception(30), Dropped)
    assert (tmp_path / "log").read_text().split() == ["0", "u", "2", "3", "4"]


def test_of_what_is_urgent_the_newest_is_done_first(workers, tmp_path, monkeypatch):
    monkeypatch.setattr(worker, "MAX_WAITING", 3)
    keep_busy(workers)
    jobs = [workers.submit(n, ("log", n), urgent=True) for n in range(4)]
    workers.submit(1, ("log", 1), urgent=True)
    (tmp_path / "go").write_text("")
    assert [job.result(30) for job in jobs[1:]] == [1, 2, 3]
    assert isinstance(jobs[0].exception(30), Dropped), "whoever asked has gone, or asks again"
    assert (tmp_path / "log").read_text().split() == ["1", "3", "2"]


def test_a_killed_child_is_replaced_and_its_job_done(workers, tmp_path):
    pid = workers.submit("pid", ("pid",)).result(30)
    assert workers.pids == [pid]
    os.kill(pid, signal.SIGKILL)
    other = workers.submit("pid", ("pid",)).result(30)
    assert other != pid
    waiting = workers.submit("block", ("wait", "go"))
    os.kill(other, signal.SIGKILL)  # In the middle of something.
    (tmp_path / "go").write_text("")
    assert waiting.result(30) == "waited"
    assert workers.submit("once", ("die once",)).result(30) == workers.pids[0]


def test_what_kills_every_child_is_given_up_and_the_rest_goes_on(workers, tmp_path):
    bad, good = workers.submit("bad", ("die",)), workers.submit("good", ("log", "good"))
    with pytest.raises(ClipError) as error:
        bad.result(30)
    assert str(error.value) == (
        "The process for trying was ended by SIGKILL again, at the same thing."
    )
    assert not error.value.passing
    assert good.result(30) == "good"
    assert (tmp_path / "deaths").read_text() == "xx"


def test_a_child_that_cannot_be_started_fails_its_job_for_now(workers, tmp_path):
    bounds = resource.getrlimit(resource.RLIMIT_NOFILE)
    os.kill(workers.submit("pid", ("pid",)).result(30), signal.SIGKILL)
    deadline = time.monotonic() + 30
    while workers.pids and time.monotonic() < deadline:
        time.sleep(0.01)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, bounds[1]))  # No pipe can be opened.
    try:
        error = workers.submit("a", ("log", "a")).exception(30)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, bounds)
    assert isinstance(error, ClipError)
    assert str(error) == (
        "The process for trying cannot be started: [Errno 24] Too many open files."
    )
    assert error.passing
    assert workers.submit("a", ("log", "a")).result(30) == "a", "it is tried anew"


def test_a_child_that_hangs_is_killed(workers, monkeypatch):
    pid = workers.submit("pid", ("pid",)).result(30)
    monkeypatch.setattr(workers, "_timeout_s", 0.3)
    monkeypatch.setattr(worker, "ATTEMPTS", 1)
    with pytest.raises(ClipError) as error:
        workers.submit("block", ("wait", "never")).result(30)
    assert str(error.value) == "The process for trying did not answer within 0.3 s."
    assert pid not in workers.pids


@pytest.mark.parametrize(
    ("raised", "passing"),
    [
        (DataError("No such episode."), False),
        (ValueError("Too small."), False),
        (MissingExtraError("No OpenGL."), True),
        (ClipError("Disk full.", passing=True), True),
    ],
)
def test_what_a_job_raises_comes_back_in_words(workers, raised, passing):
    with pytest.raises(ClipError) as error:
        workers.submit("a", ("raise", raised)).result(30)
    assert (str(error.value), error.value.passing) == (str(raised), passing)


def test_a_fault_of_the_program_costs_the_child_and_says_so(workers, capfd):
    with pytest.raises(ClipError, match="ended with code 1 again"):
        workers.submit("a", ("raise", TypeError("a bug"))).result(30)
    assert "TypeError: a bug" in capfd.readouterr().err


def test_closing_ends_children_and_fails_what_waits(tmp_path):
    workers = Workers(Doer, tmp_path, num_processes=2, what="trying")
    futures = [workers.submit(n, ("wait", "never")) for n in range(4)]
    deadline = time.monotonic() + 30
    while len(workers.pids) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    pids = workers.pids
    assert len(pids) == 2
    start = time.monotonic()
    workers.close()
    assert time.monotonic() - start < 5
    for future in futures:
        error = future.exception(0)
        assert isinstance(error, ClipError)
        assert error.passing
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    late = workers.submit("late", ("pid",)).exception(0)
    assert str(late) == "The server stops: no trying."
    assert not [thread for thread in threading.enumerate() if thread in workers._threads]


def test_closing_what_never_started_is_quick(tmp_path):
    Workers(Doer, tmp_path, what="trying").close()

"""Kills at every instant and at random ones, and full disks: nothing acknowledged is lost."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError

# A process dies, without any clean-up, just before its n-th change of the file system.
DIE_BEFORE_CHANGE = """
import os, sys

CHANGES = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "shutil.rmtree"}

def die_before_change(n):
    count = 0
    def hook(event, arguments):
        nonlocal count
        writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wa")
        if event in CHANGES or writes:
            if count == n:
                os._exit(9)
            count += 1
    sys.addaudithook(hook)
"""

# Run in a process of its own: for each n, a child does the operation on a copy of the data set.
KILL_AT_EVERY_INSTANT = (
    DIE_BEFORE_CHANGE
    + """
import shutil
from pathlib import Path
import numpy as np
from robopref.data.episode import Episode
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
import pandas  # what the operation imports must not count

work, operation, stride = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])

def make(number, steps=6):
    rng = np.random.default_rng(number)
    ramp = np.arange(steps + 1, dtype=np.uint8)[:, None, None, None]
    obs = {
        "observation.state": rng.normal(size=(steps + 1, 3)).astype(np.float32),
        "observation.images.top": np.broadcast_to(20 * ramp, (steps + 1, 16, 16, 3)).copy(),
    }
    outcome = np.zeros(steps, np.float32)
    return Episode(f"id-{number}", obs, rng.normal(size=(steps, 2)).astype(np.float32), outcome,
                   outcome > 0, False, True, "env", f"task {number}", number, 10,
                   rng.normal(size=(steps + 1, 4)), rng.normal(size=2))

def hashes(store):
    return {i: store.content_hash(Segment(i, 0, 5)) for i in store.ids}

def build(path, numbers):
    store = EpisodeStore.create(path, fps=10)
    for number in numbers:
        store.add(make(number))
    return store

base = build(work / "base", range(4))
other = build(work / "other", range(3, 6))
before, extra = hashes(base), hashes(other)
base.add(make(9))
after_add = hashes(base)
base.add(make(10))
after_add_all = hashes(base)
base.delete(["id-9", "id-10"])
base.compact()
base.add(make(8))
before["id-8"] = hashes(base)["id-8"]
OPERATIONS = {
    "add": (lambda s: s.add(make(9)), {**before, "id-9": after_add["id-9"]}),
    "add-all": (lambda s: s.add_all(make(n) for n in (9, 2, 10)), {**before, **after_add_all}),
    "compact": (lambda s: s.compact(), before),
    "delete": (lambda s: s.delete(["id-1", "id-8"]),
               {k: v for k, v in before.items() if k not in ("id-1", "id-8")}),
    "merge": (lambda s: s.merge(other), {**before, **extra}),
}
run, after = OPERATIONS[operation]
def child(path, n):
    store = EpisodeStore.open(path)
    die_before_change(n)
    run(store)
    os._exit(0)

n = killed = 0
while True:
    path = work / "copy"
    shutil.rmtree(path, ignore_errors=True)
    shutil.copytree(base.root, path)
    pid = os.fork()
    if pid == 0:
        child(path, n)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9), (n, status)
    store = EpisodeStore.open(path)
    found = hashes(store)
    assert before.items() <= found.items() or found == after, (n, found.keys())
    assert found.items() <= {**before, **after}.items(), (n, found.keys())
    store.stats()
    run_again = operation != "delete" or len(found) > len(after)
    if run_again:
        run(store)
    assert hashes(store) == hashes(EpisodeStore.open(path)) == after, n
    assert store.validate() == [], (n, store.validate())
    store.compact()
    assert hashes(store) == after
    assert not list(path.glob(".rewrite*")), n
    if status == 0:
        break
    killed += 1
    n += stride
print(killed)
"""
)


def kill_at_every_instant(tmp_path, operation, stride):
    command = [sys.executable, "-c", KILL_AT_EVERY_INSTANT, str(tmp_path), operation, str(stride)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return int(done.stdout)


@pytest.mark.parametrize("operation", ["add", "add-all", "compact"])
def test_a_kill_at_some_instants_loses_nothing(tmp_path, operation):
    assert kill_at_every_instant(tmp_path, operation, stride=11) >= 1


@pytest.mark.slow
@pytest.mark.parametrize("operation", ["add", "add-all", "compact", "delete", "merge"])
def test_a_kill_at_every_instant_loses_nothing(tmp_path, operation):
    assert kill_at_every_instant(tmp_path, operation, stride=1) >= 12


KILL_AT_CREATION = (
    DIE_BEFORE_CHANGE
    + """
from robopref.data.store import EpisodeStore

root, n = sys.argv[1], 0
while True:
    pid = os.fork()
    if pid == 0:
        die_before_change(n)
        EpisodeStore.create(f"{root}/{n}", fps=10)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if status == 0:
        break
    assert status == 9, (n, status)
    n += 1
print(n)
"""
)


def test_a_folder_can_be_made_again_after_a_kill_at_any_instant_of_its_making(tmp_path):
    command = [sys.executable, "-c", KILL_AT_CREATION, str(tmp_path)]
    num_kills = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert num_kills >= 4
    for number in range(num_kills):
        path = tmp_path / str(number)
        is_made = (path / "meta" / "info.json").is_file()
        store = EpisodeStore.open(path) if is_made else EpisodeStore.create(path, fps=10)
        assert len(store) == 0


WRITER = """
import sys
import numpy as np
from robopref.data.episode import Episode
import robopref.data.store
robopref.data.store.COMPACT_EVERY = 6
store = robopref.data.store.EpisodeStore.open(sys.argv[1])
for number in range(len(store), 100000):
    rng = np.random.default_rng(number)
    outcome = np.zeros(20, np.float32)
    obs = {"observation.state": rng.normal(size=(21, 3)).astype(np.float32)}
    store.add(Episode(f"id-{number}", obs, np.ones((20, 2), np.float32), outcome, outcome > 0,
                      False, True, "env", "task", number, 10, rng.normal(size=(21, 4))))
    print(f"id-{number}", flush=True)
"""


def test_kill_9_at_random_moments_loses_no_acknowledged_episode(tmp_path):
    root = tmp_path / "store"
    EpisodeStore.create(root, fps=10)
    acknowledged: list[str] = []
    store = EpisodeStore.open(root)
    delays = random.Random(0)
    for _ in range(3):
        command = [sys.executable, "-c", WRITER, str(root)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            acknowledged.append(process.stdout.readline().strip())
            time.sleep(delays.uniform(0.05, 0.6))
            process.send_signal(signal.SIGKILL)
            acknowledged += process.stdout.read().split()
        store = EpisodeStore.open(root)
        assert set(acknowledged) <= set(store.ids)
        assert len(store) <= len(acknowledged) + 3  # at most one unacknowledged a kill
        assert store.validate() == [] or store.report
    assert len(acknowledged) > 3
    store.compact()
    assert store.validate() == []
    assert EpisodeStore.open(root).report == []


def test_a_compaction_is_flushed_before_the_old_files_go(store, make_episode, monkeypatch):
    """A power cut keeps what was flushed, names of files too, and may lose all else."""
    for i in range(3):
        store.add(make_episode(i))
    root = store.root
    flushed = []

    def look_and_flush(descriptor):
        path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        flushed.append((str(path.relative_to(root)), (root / ".rewrite").exists()))
        fsync(descriptor)

    fsync = os.fsync
    monkeypatch.setattr("os.fsync", look_and_flush)
    store.compact()
    committed = flushed.index((".", True))
    written = {path for path, _ in flushed[:committed]}
    folders = {path.relative_to(root) for path in root.rglob("*") if path.is_dir()}
    assert {f".rewrite.partial/{folder}" for folder in folders} <= written
    finished = [path for path, pending in flushed[committed + 1 :] if pending]
    assert sorted(finished) == [".", "meta"]


LIMITED = """
import resource, sys
import numpy as np
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
store = EpisodeStore.open(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
outcome = np.zeros(2000, np.float32)
obs = {"observation.state": np.random.default_rng(0).normal(size=(2001, 5)).astype(np.float32)}
try:
    store.add(Episode("big", obs, np.zeros((2000, 2), np.float32), outcome, outcome > 0, False,
                      True, "env", "task", 0, 20, np.zeros((2001, 11)), np.zeros(6)))
except DataError as error:
    print(error)
"""


def test_a_file_that_cannot_be_written_says_so_and_harms_nothing(store, make_episode, contents):
    for i in range(3):
        store.add(make_episode(i))
    before = contents(store)
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, str(store.root)], capture_output=True, text=True, check=True
    )
    assert done.stdout == (
        f"Writing episode big to '{store.root}' failed: File too large. The 3 episodes in "
        f"'{store.root}' are unharmed. Free space or fix the permission, then run the same "
        "command again.\n"
    )
    opened = EpisodeStore.open(store.root)
    assert contents(opened) == before
    assert opened.report == []
    assert opened.validate() == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A file system of 400 kB, where this process may mount one."""
    mount = tmp_path / "tiny"
    mount.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(mount)]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"mounting is not permitted: {done.stderr.decode().strip()}")
    yield mount
    subprocess.run(["umount", "-l", str(mount)], check=True)


def test_a_full_disk_says_so_and_harms_nothing(tiny_disk, make_episode, contents):
    store = EpisodeStore.create(tiny_disk / "store", fps=20)

    def fill():
        for i in range(100):
            store.add(make_episode(i, steps=60))

    with pytest.raises(DataError) as error:
        fill()
    stored = len(store)
    assert 0 < stored < 100
    assert "failed: No space left on device" in str(error.value)
    assert f"The {stored} episodes in '{store.root}' are unharmed." in str(error.value)
    opened = EpisodeStore.open(store.root)
    assert contents(opened) == contents(store)
    assert len(opened) == stored
    with pytest.raises(DataError):
        opened.compact()  # needs more room than there is
    assert contents(EpisodeStore.open(store.root)) == contents(store)
    assert not [name for name in os.listdir(store.root) if name.startswith(".rewrite")]


def test_a_read_only_folder_can_be_read(store, make_episode):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    store.add(make_episode(0))
    store.root.chmod(0o500)
    opened = EpisodeStore.open(store.root)
    assert opened.content_hash(Segment(store.ids[0], 0, 2))
    store.root.chmod(0o700)

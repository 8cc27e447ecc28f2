import errno
import os
from pathlib import Path

import pytest

from robopref.labeling.clip_cache import ClipCache
from robopref.labeling.worker import ClipError

MB = 2**20


def name(number, suffix="mp4"):
    return f"{number:040x}.{suffix}"


def put(cache, number, size=MB // 4, *, age_s=0.0):
    with cache.writing(name(number)) as path:
        path.write_bytes(bytes(size))
    if age_s:
        now = os.stat(cache.directory / name(number)).st_mtime
        os.utime(cache.directory / name(number), (now - age_s, now - age_s))


def held(cache):
    return {int(path.name.partition(".")[0], 16) for path in cache.directory.glob("*.mp4")}


def test_a_clip_is_there_as_a_whole_or_not_at_all(tmp_path):
    cache = ClipCache(tmp_path / "clips", MB)
    assert cache.find(name(1)) is None
    with cache.writing(name(1)) as path:
        path.write_bytes(b"half")
        assert cache.find(name(1)) is None
        path.write_bytes(b"whole")
    found = cache.find(name(1))
    assert found is not None
    assert found.read_bytes() == b"whole"
    with pytest.raises(RuntimeError, match="stopped"), cache.writing(name(2)) as path:
        stop_halfway(path)
    assert [path.name for path in cache.directory.iterdir()] == [name(1)]


def test_what_was_not_looked_at_for_longest_goes_first(tmp_path):
    cache = ClipCache(tmp_path, MB)
    for number in range(4):
        put(cache, number, age_s=100 - number)
    assert held(cache) == {0, 1, 2, 3}
    assert cache.find(name(0)) is not None  # Looked at now.
    put(cache, 4)
    put(cache, 5)
    assert held(cache) == {0, 3, 4, 5}


def test_servers_share_a_folder_and_its_bound(tmp_path):
    one, other = ClipCache(tmp_path, MB), ClipCache(tmp_path, MB)
    for number in range(6):
        put(one if number % 2 else other, number, age_s=100 - number)
    assert one.find(name(5)) == other.find(name(5))
    put(one, 6)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) <= MB


def test_files_of_others_stay(tmp_path):
    cache = ClipCache(tmp_path, MB)
    film = tmp_path / "holiday.mp4"
    film.write_bytes(bytes(2 * MB))
    put(cache, 1)
    cache.trim(0)
    assert held_names(tmp_path) == {"holiday.mp4"}


def test_parts_of_clips_whose_writer_died_are_removed(tmp_path):
    cache = ClipCache(tmp_path, MB)
    fresh, old = (tmp_path / f".{name(n)}.123.partial" for n in (1, 2))
    for path in (fresh, old):
        path.write_bytes(b"part")
    os.utime(old, (0, 0))
    cache.trim(MB)
    assert held_names(tmp_path) == {fresh.name}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="This system has no /dev/full.")
def test_on_a_full_disk_room_is_made_and_the_query_is_not_to_blame(tmp_path):
    cache = ClipCache(tmp_path, 100 * MB)
    for number in range(4):
        put(cache, number, age_s=100 - number)
    with pytest.raises(ClipError) as error, cache.writing(name(9)):
        Path("/dev/full").write_bytes(bytes(10))
    assert error.value.passing
    assert str(error.value) == (
        f"Clips cannot be written to '{tmp_path}': {os.strerror(errno.ENOSPC)}. Free space or fix "
        "the permission; queries go on by themselves then."
    )
    assert held(cache) == {2, 3}


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "clips").write_text("")
    cache = ClipCache(tmp_path / "clips", MB)
    with pytest.raises(ClipError, match=r"Clips cannot be written to '.*clips': ") as error:
        put(cache, 1)
    assert error.value.passing


def test_a_bound_below_a_megabyte_is_refused(tmp_path):
    with pytest.raises(ValueError) as error:
        ClipCache(tmp_path, 10)
    assert str(error.value) == "`max_bytes` must be at least 1048576, got 10."


def stop_halfway(path):
    path.write_bytes(b"half")
    raise RuntimeError("stopped")


def held_names(folder):
    return {path.name for path in folder.iterdir()}

"""Tests for robopref/data/folders.py."""

import pytest

from robopref.data.folders import new_folder


def test_a_folder_is_there_whole_or_not_at_all(tmp_path):
    path = tmp_path / "deep" / "out"

    def fail():
        with new_folder(path) as folder:
            (folder / "file").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(path.parent.iterdir()) == []
    path.mkdir()
    with new_folder(path) as folder:
        (folder / "file").touch()
        assert list(path.iterdir()) == []
    assert [p.name for p in path.iterdir()] == ["file"]
    assert [p.name for p in path.parent.iterdir()] == ["out"]


def test_what_appeared_meanwhile_is_not_written_over(tmp_path):
    path = tmp_path / "out"

    def come_late():
        with new_folder(path) as folder:
            (folder / "file").write_text("ours")
            path.mkdir()
            (path / "file").write_text("theirs")

    with pytest.raises(OSError):
        come_late()
    assert list(tmp_path.iterdir()) == [path]
    assert (path / "file").read_text() == "theirs"

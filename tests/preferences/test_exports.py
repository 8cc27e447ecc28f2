"""Tests of files that are written a few rows at a time."""

import gc

from robopref.preferences import database, exports


def test_exports_hold_few_answers_at_a_time(store, fill, tmp_path, monkeypatch):
    fill(store, 40)
    monkeypatch.setattr(database, "AT_ONCE", 4)
    monkeypatch.setattr(exports, "AT_ONCE", 4)
    alive = most = 0

    class Counted(dict):
        """A row that is counted while it is held."""

        def __init__(self, *args):
            nonlocal alive, most
            super().__init__(*args)
            alive += 1
            most = max(most, alive)

        def __del__(self):
            nonlocal alive
            alive -= 1

    read, write = database.read_together, exports._flat
    monkeypatch.setattr(
        database, "read_together",
        lambda *args: ((Counted(row), query) for row, query in read(*args)),
    )  # fmt: skip
    monkeypatch.setattr(exports, "_flat", lambda row: Counted(write(row)))
    assert store.export_jsonl(tmp_path / "out.jsonl") == 40
    assert store.export_parquet(tmp_path / "out.parquet") == 40
    gc.collect()
    assert most < 10
    assert alive == 0
    assert (tmp_path / "out.jsonl").read_text().count("\n") == 40

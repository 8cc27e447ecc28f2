"""Tests that what the scale benchmark measures of data and labels is what it says."""

import numpy as np

from benchmarks import scale_data
from robopref.data.store import EpisodeStore


def test_data_are_what_a_recorder_writes(tmp_path):
    _, rate = scale_data.make_data(tmp_path / "data", 30)
    assert rate > 0
    again = EpisodeStore.open(tmp_path / "data")
    assert len(again) == 30
    assert again.validate() == []
    assert len({row.content_hash for row in again.rows}) == 30
    figures = scale_data.measure_info(tmp_path / "data", repeats=1)
    assert 0.1 < figures["data_info_s"]["value"] < 60
    assert 0.03 < figures["data_info_gb"]["value"] < 1


def test_windows_and_labels_are_timed(tmp_path, monkeypatch):
    monkeypatch.setattr(scale_data, "SAMPLE_S", 0.1)
    monkeypatch.setattr(scale_data, "CALLS", 12)
    monkeypatch.setattr(scale_data, "find_programs", lambda: None)
    store, _ = scale_data.make_data(tmp_path / "data", 30)
    figures = scale_data.measure_windows(store, tmp_path / "windows")
    assert figures["windows_per_s"]["value"] > 1000
    labels = scale_data.measure_labels(tmp_path, store, 100)
    for call in ("next", "answer", "query", "count"):
        found = labels[f"sqlite_{call}_p95_ms"]
        assert found["n"] == 12
        assert 0 < found["low"] <= found["value"] <= found["high"]
        assert found["ok"] == bool(np.float64(found["value"]) <= 20)

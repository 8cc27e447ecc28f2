"""LeRobot itself opens what robopref records; the comparison is that of the benchmark."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def benchmark():
    path = ROOT / "benchmarks" / "lerobot_roundtrip.py"
    spec = importlib.util.spec_from_file_location("lerobot_roundtrip", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not module.PEER.exists():
        pytest.skip("there is no .venv-lerobot; 'make peers' builds it (LeRobot needs numpy 2)")
    return module


@pytest.mark.slow
def test_lerobot_reads_every_value_window_and_picture(benchmark):
    found = benchmark.run(quick=True)
    assert list(found["steps"]) == ["recorded", "interrupted", "compacted", "thinned out"]
    for step in found["steps"].values():
        assert step["unequal"] == []
        assert step["extra_columns"] == ["env_id", "episode_id", "seed"]
        assert step["pictures_differ"] < 1
    assert found["steps"]["interrupted"]["files"] == found["steps"]["recorded"]["files"] + 1
    assert found["steps"]["compacted"]["files"] == 1
    assert found["steps"]["thinned out"]["episodes"] == 3

"""Tests for commands/bench.py."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from benchmarks import demo
from robopref import cli
from robopref.commands import bench
from robopref.commands.bench import BenchCommand, format_table, make_report

SCRIPT = '''"""Measure nothing, fast.

More about it.
"""

import numpy as np


def run(quick):
    print("working")
    return {
        "figures": {
            "speed": {"value": np.float32(2.5), "low": 2, "high": 3.0, "n": 5, "floor": 4,
                      "ok": np.bool_(False)},
            "plain": 7,
            "undefined": float("nan"),
        },
        "labels": np.int64(10),
        "quick": quick,
    }
'''


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    (tmp_path / "robopref").mkdir()
    (tmp_path / "benchmarks").mkdir()
    # A name of its own: the module stays imported.
    (tmp_path / "benchmarks" / "probe_of_the_tests.py").write_text(SCRIPT)
    (tmp_path / "benchmarks" / "shared_code.py").write_text('"""No benchmark."""\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_without_a_name_the_benchmarks_are_listed(checkout, capsys):
    BenchCommand().run()
    assert capsys.readouterr().out == (
        "probe_of_the_tests  Measure nothing, fast.\n\n"
        "Next: robopref bench probe_of_the_tests --quick\n"
    )


def test_one_object_on_standard_output_and_the_rest_elsewhere(checkout, capsys):
    assert cli.main(["bench", "probe_of_the_tests", "--quick", "--json", "-"]) == 0
    captured = capsys.readouterr()
    assert "working" in captured.err
    report = json.loads(captured.out)
    assert report.pop("seconds") >= 0
    empty = {"low": None, "high": None, "n": None, "floor": None, "ok": None}
    assert report == {
        "bench": "probe_of_the_tests",
        "commit": None,  # tmp_path is no repository.
        "command": "robopref bench probe_of_the_tests --quick --json -",
        "figures": {
            "speed": {"value": 2.5, "low": 2, "high": 3.0, "n": 5, "floor": 4, "ok": False},
            "plain": {"value": 7, **empty},
            "undefined": {"value": None, **empty},
        },
        "labels": 10,
        "quick": True,
    }


def test_the_object_in_a_file(checkout, capsys):
    assert cli.main(["bench", "probe_of_the_tests", "--json", "out/probe.json"]) == 0
    assert json.loads(Path("out/probe.json").read_text())["quick"] is False


def test_a_table_otherwise(checkout, capsys):
    BenchCommand("probe_of_the_tests").run()
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["figure", "value", "interval", "n", "aim"]
    assert lines[2].split() == ["speed", "2.5", "2", "to", "3", "5", "4", "missed"]
    assert lines[3].split() == ["plain", "7"]
    assert lines[4].split() == ["undefined", "none"]
    assert lines[-1] == (
        "Next: robopref bench probe_of_the_tests --json benchmarks/results/probe_of_the_tests.json"
    )


def test_an_unknown_name_suggests_the_nearest(checkout, capsys):
    assert cli.main(["bench", "probe_of_the_test"]) == 2
    assert capsys.readouterr().err == (
        "Error: No benchmark named 'probe_of_the_test'. Did you mean 'probe_of_the_tests'? "
        "Benchmarks: ['probe_of_the_tests'].\n"
    )


def test_a_sweep_is_given_workers(checkout, capsys):
    script = """
from tests.test_workers import double


def run(quick, workers):
    with workers:
        return {"figures": {"sum": sum(workers.map(double, range(4)))}}
"""
    (checkout / "benchmarks" / "sweep_of_the_tests.py").write_text(script)
    for num_workers in ("0", "1"):
        words = ["bench", "sweep_of_the_tests", "--json", "-", "--num-workers", num_workers]
        assert cli.main(words) == 0
        assert json.loads(capsys.readouterr().out)["figures"]["sum"]["value"] == 12


def test_what_is_no_sweep_is_not_shared(checkout, capsys):
    assert cli.main(["bench", "probe_of_the_tests", "--ray"]) == 2
    assert capsys.readouterr().err == (
        "Error: The benchmark 'probe_of_the_tests' is no sweep that workers could share. Run it "
        "without --ray and the options that begin so.\n"
    )


def test_outside_a_checkout_the_message_says_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(bench, "__file__", str(tmp_path / "robopref" / "commands" / "bench.py"))
    assert cli.main(["bench", "demo"]) == 2
    assert capsys.readouterr().err == (
        f"Error: No benchmarks in '{tmp_path}'. They are part of the source, not of the "
        "installed package: clone the repository and run this in it.\n"
    )


def test_the_commit_says_whether_files_were_changed(tmp_path):
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    environment = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null"}
    file = tmp_path / "file"
    for command in (["init", "-q"], ["add", "file"], ["commit", "-q", "-m", "x"]):
        file.write_text("one")
        subprocess.run([*git, *command], check=True, env=environment)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True)
    assert make_report("a", {}, "", tmp_path, 0)["commit"] == head.stdout.strip()
    file.write_text("two")
    assert make_report("a", {}, "", tmp_path, 0)["commit"] == f"{head.stdout.strip()}-dirty"


def test_the_demo_goes_on_only_in_runs_of_the_same_code(monkeypatch):
    monkeypatch.setattr(demo, "describe_commit", lambda root: "0123456789" * 4 + "-dirty")
    assert demo._code() == "012345678901-dirty"
    monkeypatch.setattr(demo, "describe_commit", lambda root: None)
    assert demo._code() == "unknown"


def test_a_report_without_figures_is_a_table_too():
    report = make_report("a", {"note": "x"}, "robopref bench a", Path("/"), 1.5)
    assert format_table(report).splitlines()[0] == "a at None in 2 s"
    assert report["note"] == "x"


def test_the_benchmarks_of_this_checkout_have_a_summary():
    benches = bench.list_benches(Path(__file__).resolve().parents[1])
    assert all(summary.endswith((".", "?")) for summary in benches.values())

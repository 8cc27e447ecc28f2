"""Tests for the examples: each runs, with small settings, and does what it says."""

import runpy
from pathlib import Path

import pytest

import robopref.examples
from tests.align.conftest import make_tiny

FOLDER = Path(robopref.examples.__file__).parent


def load(name):
    return runpy.run_path(str(FOLDER / name))["main"]


def test_every_example_is_tested():
    names = sorted(path.name for path in FOLDER.glob("[0-9]*.py"))
    assert names == [
        "01_learn_a_reward.py", "02_choose_among_candidates.py", "03_align.py"
    ]  # fmt: skip


@pytest.mark.slow
def test_learn_a_reward():
    assert load("01_learn_a_reward.py")(num_episodes=20, num_workers=0) > 0.7


@pytest.mark.slow
def test_choose_among_candidates():
    policy, chosen = load("02_choose_among_candidates.py")(num_episodes=20, num_steps=300)
    assert chosen < policy


@pytest.mark.slow
def test_align(tmp_path):
    gain = load("03_align.py")(make_tiny(), tmp_path / "run")
    assert -1.0 <= gain <= 1.0
    assert (tmp_path / "run" / "report.html").is_file()

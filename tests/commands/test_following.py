"""Tests for commands/following.py."""

import shlex
from pathlib import Path

import pytest

from robopref import cli
from robopref.align.run import Run
from robopref.commands import following


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def begin(line):
    """Begin the run of a command line without doing its work."""
    command = cli.parse(shlex.split(line)[1:])
    Run(command.out, command)
    (command.out / "reward").mkdir()


def test_a_reward_is_trained_where_no_other_data_set_has_its_own(here):
    first = following.train_reward(Path("runs/reach"), "runs/reach/p.sqlite")
    assert first == "robopref train reward --data runs/reach --db runs/reach/p.sqlite"
    begin(first)
    assert following.train_reward(Path("runs/reach"), "runs/reach/p.sqlite") == first
    other = following.train_reward(Path("runs/door"), "runs/door/p.sqlite")
    assert other == (
        "robopref train reward --data runs/door --db runs/door/p.sqlite --out runs/door-reward"
    )
    begin(other)
    assert following.train_reward(Path("runs/door"), "q.sqlite").endswith(" runs/door-reward-2")


def test_a_criterion_has_a_folder_of_its_own(here):
    line = following.train_reward(Path("runs/reach"), "p.sqlite", "how gentle/soft")
    assert line == (
        "robopref train reward --data runs/reach --db p.sqlite --criterion 'how gentle/soft' "
        "--out runs/reach-how-gentle-soft-reward"
    )
    assert cli.parse(shlex.split(line)[1:]).criterion == "how gentle/soft"


@pytest.mark.parametrize(
    ("env", "policy", "behaviour"),
    [
        ("metaworld/reach-v3", "expert:fast", "fast"),
        ("planar/avoid-long-v0", "expert:keep-out", "keep-out"),
        ("metaworld/reach-v3", "mine", None),
        ("gymnasium/CartPole-v1", "expert:fast", None),
    ],
)
def test_a_policy_is_judged_as_the_episodes_that_taught_it(env, policy, behaviour):
    words = following.judging(env, {"policy": policy})
    assert words == ["--env", env, *([] if behaviour is None else ["--behaviour", behaviour])]

"""Tests for options.py."""

import importlib
import sys
from pathlib import Path

import pytest

from robopref import cli, options
from robopref.config import from_dict, to_dict
from robopref.errors import UnknownNameError

PROBE = "options_probe"
PROBE_SOURCE = '''
import dataclasses
import os
from pathlib import Path

from tyro.conf import Positional

from robopref.config import component
from robopref.errors import DataError, check_at_least
from robopref.registry import Registry

REWARDS = Registry("reward", "robopref.none")
REWARDS.register("mlp", "options_probe:MLPConfig", "A network.")
REWARDS.register("ensemble", "options_probe:EnsembleConfig", "Several networks.")
REWARDS.register("broken", "options_probe_broken:BrokenConfig", "Must not be imported.")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """How to train."""

    num_steps: int = 10
    """Steps to take."""

    def __post_init__(self):
        check_at_least("num_steps", self.num_steps, 1)


@dataclasses.dataclass(frozen=True)
class MLPConfig:
    """A network."""

    width: int = 64
    """Width of each layer."""
    train: TrainConfig = TrainConfig(num_steps=500)
    """How to train it."""


@dataclasses.dataclass(frozen=True)
class EnsembleConfig:
    """Several networks."""

    member: MLPConfig | str = component("options_probe:REWARDS", default="mlp")
    """What it is made of."""
    num_members: int = 3
    """How many."""


@dataclasses.dataclass(frozen=True)
class ProbeCommand:
    """Do something to a path.

    Example:
        robopref probe some/path --reward mlp
    """

    path: Positional[Path]
    """Where."""
    reward: MLPConfig | EnsembleConfig | str = component("options_probe:REWARDS", default="mlp")
    """What scores."""
    quick: bool = False
    """Less of everything."""


@dataclasses.dataclass(frozen=True)
class OptionalCommand:
    """Take a reward, or none."""

    reward: MLPConfig | EnsembleConfig | str | None = component(
        "options_probe:REWARDS", or_none=True
    )
    """What scores, if anything does."""


@dataclasses.dataclass(frozen=True)
class RequiredCommand:
    """Need a reward."""

    reward: MLPConfig | EnsembleConfig | str = component("options_probe:REWARDS")
    """What scores."""
'''


@pytest.fixture
def probe(tmp_path, monkeypatch):
    (tmp_path / f"{PROBE}.py").write_text(PROBE_SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield importlib.import_module(PROBE)
    sys.modules.pop(PROBE)


def parse(probe, *argv, command="ProbeCommand"):
    return options.parse_options(getattr(probe, command), argv, program="robopref probe")


def test_defaults_come_from_the_dataclasses(probe):
    command = parse(probe, "here")
    assert type(command) is probe.ProbeCommand
    assert command == probe.ProbeCommand(Path("here"), probe.MLPConfig())
    assert command.reward.train.num_steps == 500  # The default of the field, not of the class.


def test_options_of_the_chosen_component(probe):
    argv = ["here", "--reward", "ensemble", "--reward.num-members=5",
            "--reward.member.train.num_steps", "7", "--quick"]  # fmt: skip
    command = parse(probe, *argv)
    member = probe.MLPConfig(train=probe.TrainConfig(7))
    assert command.reward == probe.EnsembleConfig(member, 5)
    assert type(command.reward.member) is probe.MLPConfig
    assert command.quick


def test_an_option_of_another_component_is_refused(probe, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(probe, "here", "--reward", "mlp", "--reward.num-members", "5")
    assert stop.value.code == 2
    assert "Unrecognized options: --reward.num-members" in capsys.readouterr().err


def test_unknown_component_suggests_the_nearest(probe):
    with pytest.raises(UnknownNameError) as error:
        parse(probe, "here", "--reward=ensembel")
    assert str(error.value) == (
        "No reward named 'ensembel'. Did you mean 'ensemble'? "
        "Registered: ['broken', 'ensemble', 'mlp']."
    )


def test_errors_of_the_configs_name_the_options(probe):
    with pytest.raises(ValueError) as error:
        parse(probe, "here", "--reward.train.num-steps", "0")
    assert str(error.value) == "--reward.train.num-steps must be at least 1, got 0."


def test_help_lists_the_names_without_importing_them(probe, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(probe, "here", "--help")
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "robopref probe some/path --reward mlp" in text
    assert (
        "--reward NAME What scores. (default: mlp) broken Must not be imported. "
        "ensemble Several networks. mlp A network." in text
    )
    assert "--reward.train.num-steps INT Steps to take. (default: 500)" in text
    assert "PATH Where. (required)" in text


def test_a_component_without_default_is_required(probe, capsys):
    with pytest.raises(SystemExit) as stop:
        parse(probe, command="RequiredCommand")
    assert stop.value.code == 2
    assert "--reward" in capsys.readouterr().err
    given = parse(probe, "--reward", "mlp", command="RequiredCommand")
    assert given == probe.RequiredCommand(probe.MLPConfig())


def test_a_component_may_be_left_out(probe, capsys):
    assert parse(probe, command="OptionalCommand") == probe.OptionalCommand(None)
    argv = ["--reward", "mlp", "--reward.width", "3"]
    command = parse(probe, *argv, command="OptionalCommand")
    assert command == probe.OptionalCommand(probe.MLPConfig(width=3))
    assert to_dict(probe.OptionalCommand()) == {"reward": None}
    assert from_dict(probe.OptionalCommand, to_dict(command)) == command
    with pytest.raises(SystemExit):
        parse(probe, "--help", command="OptionalCommand")
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "--reward NAME What scores, if anything does. broken Must" in text
    with pytest.raises(SystemExit):
        parse(probe, "--reward.width", "3", command="OptionalCommand")


def test_a_flag_that_turns_something_off_says_so(capsys):
    shown = show_help("evaluate", capsys)
    assert (
        "--no-knows-success Turns this off: The environment says when its task is solved. "
        "(on by default)" in shown
    )


def test_what_may_be_repeated_and_is_needed_says_so(capsys):
    shown = show_help("data merge", capsys)
    assert "--data PATH Folder of a data set. (required, may be repeated)" in shown
    assert "--data runs/demo/evaluation/aligned --out runs/compared" in shown


def show_help(verb, capsys):
    with pytest.raises(SystemExit):
        cli.parse([*verb.split(), "--help"])
    lines = (line.strip("│ ") for line in capsys.readouterr().out.splitlines())
    return "\n".join(lines).replace("\n", " ").replace("  ", " ")


def test_help_does_not_break_within_a_paragraph(capsys, monkeypatch):
    """Lines are filled, so that none ends where the next word would have had room."""
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        cli.parse(["evaluate", "--help"])
    text = capsys.readouterr().out
    start = text.index("--name {None}|STR")
    lines = [line.strip("│ ") for line in text[start : text.index("--num-workers")].splitlines()]
    assert "compared; None for the" in " ".join(lines)
    assert min(map(len, lines[1:-2])) > 40

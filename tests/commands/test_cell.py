"""An arm that is given on the command line, as a cell that commands act in."""

import os

import numpy as np
import pytest
import yaml

pytest.importorskip("ruckig", reason="the extra 'arm' is not installed")

from robopref.cli import main, parse
from robopref.commands.cell import ARM_TASK, env_of
from robopref.config import load_yaml, resolve
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import ConfigError
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.ur import URArmConfig
from robopref.policies.diffusion import DiffusionPolicyConfig
from robopref.rig import RigConfig
from robopref.seeding import make_generator
from robopref.types import IMAGES, STATE
from tests.data.conftest import make_episode

__all__ = ["make_episode"]

BOX = (-0.2, -0.6, 0.0, 0.8, 0.6, 1.0)
WRITTEN = {
    "robot": {"type": "sim", "model": "ur5e"},
    "task": "Reach for the cup.",
    "reach_m": 0.02,
    "workspace": {
        "stay_in": {"low_m": [-1, -1, 0], "high_m": [1, 1, 1]},
        "half_spaces": [{"normal": [0, 0, 1], "offset_m": 0.1}],
    },
    "cameras": {"side": {"driver": {"type": "opencv", "device": "/dev/video0"}}},
}


@pytest.fixture
def no_terminal(monkeypatch):
    with open(os.devnull) as nothing:
        monkeypatch.setattr("sys.stdin", nothing)
        yield


def cell_of(out):
    return load_yaml(RigConfig, out / "cell.yaml")


def test_the_options_of_an_arm_become_a_cell(tmp_path):
    command = parse(
        ["deploy", "--robot", "ur", "--robot.address", "192.168.1.10", "--robot.gain", "200",
         "--stay-in", *map(str, BOX), "--policy", "runs/cup", "--out", str(tmp_path)]
    )  # fmt: skip
    robot = resolve(command, "robot")
    assert robot == URArmConfig("192.168.1.10", gain=200.0)
    env = env_of(command.env, robot, command.stay_in, command.out)
    assert env == f"real/{tmp_path}/cell.yaml"
    cell = cell_of(tmp_path)
    assert resolve(cell, "robot") == robot
    assert cell.workspace is not None
    assert cell.workspace.stay_in.low_m + cell.workspace.stay_in.high_m == BOX
    assert cell.cameras == {}


def test_an_arm_takes_the_place_of_that_of_a_file_and_leaves_the_rest(tmp_path):
    base = tmp_path / "base.yaml"
    base.write_text(yaml.safe_dump(WRITTEN))
    robot = URArmConfig("192.168.1.10")
    env_of(f"real/{base}", robot, None, tmp_path / "one")
    cell, before = cell_of(tmp_path / "one"), load_yaml(RigConfig, base)
    assert resolve(cell, "robot") == robot
    assert (cell.task, cell.reach_m, cell.cameras) == (before.task, before.reach_m, before.cameras)
    assert cell.workspace == before.workspace
    env_of(f"real/{base}", robot, BOX, tmp_path / "two")
    smaller = cell_of(tmp_path / "two").workspace
    assert smaller is not None
    assert before.workspace is not None
    assert smaller.stay_in.low_m == BOX[:3]
    assert smaller.half_spaces == before.workspace.half_spaces


def test_without_an_arm_the_environment_stays_as_it_is(tmp_path):
    assert parse(["deploy", "--policy", "runs/cup"]).robot is None
    assert env_of(ARM_TASK, None, None, tmp_path) == ARM_TASK
    assert not list(tmp_path.iterdir())
    with pytest.raises(ValueError, match="`stay_in` is about an arm that is given with `robot`"):
        env_of(ARM_TASK, None, BOX, tmp_path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--robot", "ur"],
            "Error: Say where the arm may be, by the lower and upper corner of a box around all "
            "its links in the frame of its base [m], such as --stay-in -0.2 -0.6 0 0.8 0.6 1, or "
            "by the file of a cell: --env real/FILE.\n",
        ),
        (
            ["--robot", "sim", "--env", "arm/reach-v3"],
            "Error: --robot takes the place of the arm in a cell: --env must read 'real/<file>' "
            "beside it, got 'arm/reach-v3'.\n",
        ),
        (
            ["--robot", "simm"],
            "Error: No arm named 'simm'. Did you mean 'sim'? Registered: ['flexiv', 'franka', "
            "'lerobot', 'mock', 'ros2', 'sim', 'ur', 'xarm'].\n",
        ),
    ],
)
def test_what_cannot_be_a_cell_is_refused_in_words(options, message, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["deploy", *options, "--policy", "runs/cup", "--out", str(out)]) == 2
    assert capsys.readouterr().err == message
    assert not out.exists()


def test_a_folder_with_episodes_of_another_cell_is_left_as_it_is(tmp_path, make_episode):
    env_of(ARM_TASK, SimArmConfig("xarm7"), None, tmp_path)
    # Nothing was recorded yet: what was wrong may be corrected.
    env = env_of(ARM_TASK, SimArmConfig("ur5e"), None, tmp_path)
    store = EpisodeStore.open(tmp_path)
    store.add(make_episode(1, fps=store.fps, env=env))
    assert env_of(ARM_TASK, SimArmConfig("ur5e"), None, tmp_path) == env
    with pytest.raises(ConfigError, match="holds episodes of another cell"):
        env_of(ARM_TASK, SimArmConfig("xarm7"), None, tmp_path)
    assert resolve(cell_of(tmp_path), "robot").model == "ur5e"


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.usefixtures("no_terminal")
def test_one_command_deploys_on_an_arm_that_it_names(tmp_path, capsys):
    policy = DiffusionPolicyConfig().build({STATE: (14,)}, 4, make_generator(0))
    policy.save_pretrained(tmp_path / "policy")
    out = tmp_path / "deployed"
    command = ["deploy", "--robot", "sim", "--robot.model", "ur5e", "--policy",
               str(tmp_path / "policy"), "--num-episodes", "1", "--max-episode-steps", "8",
               "--speed", "1", "--image-px", "96", "--yes", "--out", str(out)]  # fmt: skip
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert "Arm        ur5e: 6 joints" in shown
    assert "Camera     front: " in shown
    store = EpisodeStore.open(out)
    (name,) = store.ids
    episode = store.episode(name)
    assert episode.env == f"real/{out}/cell.yaml"
    assert episode.extras["safety.sent"].shape == (9, 6)
    # The camera drew the arm that moved, and not one at rest.
    pictures = store.frames(Segment(name, 0, 8), f"{IMAGES}front").astype(int)
    assert np.abs(pictures[-1] - pictures[0]).max() > 20
    # The cell is a file like any other, and the same command has nothing left to do.
    assert main(command) == 0
    assert "1 episodes in" in capsys.readouterr().out
    assert len(EpisodeStore.open(out).ids) == 1

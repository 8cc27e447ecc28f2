"""The plugin that gives LeRobot robopref's supervisor and rewards, in LeRobot's environment."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from robopref.rewards.mlp import MLPRewardConfig
from robopref.types import STATE, SegmentBatch

ROOT = Path(__file__).parents[1]
PYTHON = ROOT / ".venv-lerobot/bin/python"
PLUGIN = ROOT / "plugins/lerobot_robot_robopref"
LIMIT_DEG = 150 - 3
"""Limit of the joint less the margin that the supervisor keeps."""

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run(*command, **environment):
    done = subprocess.run(
        [PYTHON, *command], capture_output=True, text=True, timeout=800, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    if not PYTHON.exists():
        pytest.skip("there is no .venv-lerobot; 'make peers' builds it (LeRobot needs numpy 2)")
    site, folder, saved = (tmp_path_factory.mktemp(name) for name in ("site", "work", "reward"))
    # A copy: pip builds beside what it installs.
    source = shutil.copytree(PLUGIN, site / "source")
    pip = ("-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation")
    run(*pip, "--target", site, source)
    generator = torch.Generator().manual_seed(0)
    reward = MLPRewardConfig().build(obs_dim=5, action_dim=2)
    reward.save_pretrained(saved)
    obs, action = (torch.randn(4, 6, size, generator=generator) for size in (5, 2))
    batch = SegmentBatch({STATE: obs.numpy()}, action.numpy(), np.ones((4, 6), bool))
    expected = torch.from_numpy(reward.rewards(batch)).float()
    last = {STATE: obs.numpy()[:, -1:]}
    alone = reward.rewards(SegmentBatch(last, action.numpy()[:, -1:], np.ones((4, 1), bool)))
    given = {
        STATE: obs, "action": action, "rewards": expected,
        "alone": torch.from_numpy(alone[:, 0].copy()).float(),
    }  # fmt: skip
    save_file(given, saved / "expected.safetensors")
    script = Path(__file__).with_name("lerobot_plugin.py")
    said = run(script, folder, saved, PYTHONPATH=f"{site}{os.pathsep}{ROOT}")
    return json.loads(said.splitlines()[-1])


def test_lerobot_finds_the_robot_by_its_type(found):
    robot = found["robot"]
    assert robot["kind"] == "lerobot_robot_robopref.supervised_arm.SupervisedArm"
    assert robot["features"] == [
        f"{name}.pos" for name in ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex",
                                   "wrist_roll", "gripper")
    ]  # fmt: skip
    assert robot["early"] == "The arm is not connected. Call connect() first."
    assert robot["start"] == pytest.approx(
        dict.fromkeys(robot["features"][:5], 0.0) | {"gripper.pos": 50.0}, abs=0.1
    )


def test_an_action_within_the_limits_is_followed_without_a_jump(found):
    sent = found["robot"]["inside"]
    assert sent[-1] == pytest.approx(20.0, abs=0.1)
    assert sent[0] < 10.0
    assert found["robot"]["motor"] == pytest.approx(2047.5 + 4095 / 360 * 20, abs=15)


def test_an_action_out_of_the_limits_is_clipped_and_told(found):
    sent = found["robot"]["outside"]
    assert max(sent) == pytest.approx(LIMIT_DEG, abs=0.6)
    assert max(sent) <= LIMIT_DEG + 1e-6
    assert found["robot"]["there"] <= LIMIT_DEG + 0.2


def test_an_action_that_is_no_number_stops_the_arm(found):
    kind, said = found["robot"]["nan"]
    assert kind == "SafetyStop"
    assert said.startswith("'so101' was stopped (")
    assert found["robot"]["torque"] == [0] * 6


def test_what_cannot_be_is_said(found):
    robot = found["robot"]
    assert robot["incomplete"] == (
        "`action` must hold 'shoulder_lift.pos', got ['shoulder_pan.pos']."
    )
    box, limit, arm, options = robot["refused"]
    assert box == (
        "`stay_in` must be the lower and the upper corner of a box that all links stay in, six "
        "numbers [m], got [0.0]."
    )
    assert limit.startswith("No limit named 'speed'.")
    assert arm.startswith("No arm named 'fanka'. Did you mean 'franka'?")
    assert options.startswith("LeRobotArmConfig has no field 'port'.")


def test_a_reward_is_lerobots_reward_model(found):
    reward = found["reward"]
    assert reward["class"] == "lerobot_robot_robopref.modeling_preference.PreferenceRewardModel"
    assert reward["shape"] == [4]
    assert reward["spread"] > 1e-3
    assert reward["steps"] < 1e-5
    assert reward["windows"] < 1e-5
    assert not reward["trainable"]

"""LeRobot with robopref's plugin: its commands find it, its loop is supervised, its rewards load.

It runs where LeRobot is: `test_lerobot_plugin.py` starts it with a folder to work in and a reward
that robopref saved, and looks at what it prints.
"""

import importlib
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

STEP_S = 1 / 30


def try_robot(folder):
    """Return what LeRobot's own functions make of the plugin and of actions out of the limits."""
    import draccus
    from lerobot.robots import RobotConfig, make_robot_from_config
    from lerobot.utils.import_utils import register_third_party_plugins

    from robopref.errors import RoboprefError
    from robopref.hardware import arm_process

    # Its process imports LeRobot, which takes minutes where tests run side by side.
    arm_process.CONNECT_S = 300.0
    # A package that LeRobot brings is called `tests` as well.
    sys.path.append(str(Path(__file__).with_name("hardware")))
    line: Any = importlib.import_module("lerobot_on_a_line")
    line.write_calibration(folder)
    motors = line.Motors()
    register_third_party_plugins()

    @dataclass
    class Asked:
        robot: RobotConfig

    model = {"name": "so101", "file": str(line.arm_file(folder)), "tool": "gripper_link",
             "velocity_max_rad_s": [2.0] * 5}  # fmt: skip
    settings = json.dumps({"port": motors.port, "id": "left"})
    safety = {"off": ["tool-speed"], "state_age_s": 3, "watchdog_s": 3, "clamps_s": 60,
              "tracking_error_rad": 1.0}  # fmt: skip
    arguments = {
        "type": "robopref",
        "options": json.dumps({"model": model, "settings": settings}),
        "stay_in": "[-1, -1, -1, 1, 1, 1]",
        "speed_factor": "1.0",
        "safety": json.dumps(safety),
    }
    args = [f"--robot.{name}={value}" for name, value in arguments.items()]
    config = draccus.parse(Asked, args=args).robot
    robot = make_robot_from_config(config)
    found = {
        "kind": f"{type(robot).__module__}.{type(robot).__name__}",
        "features": list(robot.action_features),
    }
    try:
        robot.send_action({})
    except RoboprefError as error:
        found["early"] = str(error)
    robot.connect()
    found["start"] = robot.get_observation()
    try:
        robot.send_action({"shoulder_pan.pos": 0.0})
    except KeyError as error:
        found["incomplete"] = str(error.args[0])
    goal = dict.fromkeys(robot.action_features, 0.0) | {"shoulder_pan.pos": 20.0, "gripper.pos": 80}
    found["inside"] = drive(robot, goal, 20.0)
    found["motor"] = motors.goal(1)
    found["outside"] = drive(robot, goal | {"shoulder_pan.pos": 170.0}, 146.5)
    found["there"] = robot.get_observation()["shoulder_pan.pos"]
    try:
        for _ in range(5):
            robot.send_action(goal | {"shoulder_pan.pos": math.nan})
            time.sleep(STEP_S)
    except RoboprefError as error:
        found["nan"] = [type(error).__name__, str(error)]
    robot.disconnect()
    found["torque"] = [table[40] for table in motors.tables.values()]
    found["refused"] = [refusal(change) for change in (
        {"stay_in": [0.0]}, {"safety": {"speed": 1}}, {"arm": "fanka"}, {"options": {"port": 1}},
    )]  # fmt: skip
    return found


def drive(robot, goal, until, limit_s=40.0):
    """Return what was sent for the first joint, action by action, until it is there."""
    sent, end_s = [], time.monotonic() + limit_s
    while time.monotonic() < end_s:
        sent.append(robot.send_action(goal)["shoulder_pan.pos"])
        if sent[-1] >= until - 1e-3:
            break
        time.sleep(STEP_S)
    return sent


def refusal(change):
    """Return what is said about a setting."""
    from lerobot_robot_robopref import SupervisedArmConfig

    try:
        SupervisedArmConfig(**{"stay_in": [-1, -1, -1, 1, 1, 1], **change})
    except (ValueError, LookupError) as error:
        return str(error)
    return ""


def try_reward(folder, directory):
    """Return how far the reward is from robopref's, as it is and after LeRobot saved it."""
    import torch
    from lerobot.rewards.factory import (
        get_reward_model_class,
        make_reward_model,
        make_reward_model_config,
        make_reward_pre_post_processors,
    )
    from safetensors.torch import load_file

    model_class = get_reward_model_class("robopref")
    given = load_file(directory / "expected.safetensors")
    expected, alone = given.pop("rewards"), given.pop("alone")
    model = model_class.from_robopref(directory)
    model.save_pretrained(folder / "saved")
    config = make_reward_model_config(
        "robopref", pretrained_path=str(folder / "saved"), device="cpu",
        model=model.config.model,
    )  # fmt: skip
    loaded = make_reward_model(config)
    before, after = make_reward_pre_post_processors(config)
    whole = loaded.compute_reward(before(dict(given)))
    newest = {key: value[:, -1] for key, value in given.items()}
    return {
        "class": f"{model_class.__module__}.{model_class.__name__}",
        "trainable": loaded.is_trainable,
        "windows": float((whole - expected[:, -1]).abs().max()),
        "steps": float((after(model.compute_reward(newest)) - alone).abs().max()),
        "shape": list(whole.shape),
        "spread": float(np.ptp(expected.numpy())),
        "dtype": str(whole.dtype == torch.float32),
    }


def main():
    folder, reward = Path(sys.argv[1]), Path(sys.argv[2])
    os.environ["HF_LEROBOT_CALIBRATION"] = str(folder)
    os.environ["HF_HUB_OFFLINE"] = "1"
    found = {"robot": try_robot(folder), "reward": try_reward(folder, reward)}
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()

"""What every driver promises, and what it takes of its maker's SDK."""

import ast
import dataclasses
import importlib.util
import inspect
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from robopref.hardware import ARMS
from robopref.hardware.arm_model import ArmModel
from robopref.hardware.driver import ArmDriver
from robopref.hardware.types import StopLevel
from tests.hardware import sdk_calls
from tests.hardware.sdk_calls import SDKS, class_of, problems, takes, uses

ROOT = Path(__file__).parents[2]
SIDE = {"flexiv": ".venv-flexiv", "lerobot": ".venv-lerobot"}
"""Drivers whose SDK has no place beside robosuite; `make peers` builds their environments."""


def build(name):
    """Return a driver with as little said as it needs."""
    config: Any = ARMS.config_class(name)
    if name in ("flexiv", "lerobot"):
        return config(ArmModel("ur5e")).build()
    return config().build()


@pytest.mark.parametrize("driver", SDKS)
def test_each_object_of_the_sdk_is_called_by_its_name(driver):
    found = uses(driver)
    assert {name for name, *_ in found} == set(SDKS[driver])
    assert len({member for _, member, *_ in found}) >= 5


@pytest.mark.parametrize("driver", SDKS)
def test_what_a_driver_calls_is_in_the_installed_sdk(driver):
    if driver in SIDE:
        python = ROOT / SIDE[driver] / "bin/python"
        if not python.exists():
            pytest.skip(f"there is no {SIDE[driver]}; 'make peers' builds it")
        done = subprocess.run(
            [python, sdk_calls.__file__, driver], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1]) == []
        return
    for target in SDKS[driver].values():
        if importlib.util.find_spec(target.partition(":")[0].partition(".")[0]) is None:
            pytest.skip(f"the extra '{driver}' is not installed")
    assert problems(driver) == []


def test_a_call_that_the_sdk_does_not_take_is_found():
    pytest.importorskip("rtde_control", reason="the extra 'ur' is not installed")
    control = class_of(SDKS["ur"]["control"])

    def fits(text):
        call = ast.parse(text, mode="eval").body
        assert isinstance(call, ast.Call)
        return takes(getattr(control, text.partition("(")[0]), call)

    assert fits("servoJ(q, 0.0, 0.0, 0.008, 0.1, 300)")
    assert not fits("servoJ(q, 0.0, 0.0, 0.008, 0.1)")
    assert not fits("servoJ(q, 0.0, 0.0, 0.008, 0.1, gain=300)")
    assert fits("setWatchdog(min_frequency=5.0)")
    assert not fits("setWatchdog(hertz=5.0)")
    assert fits("moveJ(path)")
    assert fits("moveJ(q, 1.0, 1.0)")


@pytest.mark.parametrize("name", SDKS)
def test_a_driver_is_built_from_its_defaults_without_its_sdk(name):
    arm = build(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        arm.config.rate_hz = 1.0
    assert all(map(inspect.getdoc, (type(arm.config), type(arm))))


@pytest.mark.parametrize("name", SDKS)
def test_a_driver_without_a_connection_lets_go_and_stops_without_a_word(name):
    arm = build(name)
    assert isinstance(arm, ArmDriver)
    for level in StopLevel:
        arm.stop(level)
    arm.disconnect()
    arm.disconnect()

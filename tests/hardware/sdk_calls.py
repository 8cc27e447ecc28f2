"""What a driver calls of its maker's SDK, read from its source, against the SDK that is installed.

It needs nothing but Python, so that it also runs where an SDK has an environment of its own:
`python tests/hardware/sdk_calls.py DRIVER` prints what does not fit as a JSON list.
"""

import ast
import importlib
import inspect
import json
import operator
import re
import sys
from pathlib import Path

DRIVERS = Path(__file__).parents[2] / "hardware"
# A driver calls an object of the SDK by one name, `control` or `self._control`, and its class
# `make_control`; the test below finds nothing where it does not, and fails.
SDKS = {
    "flexiv": {
        "robot": "flexivrdk:Robot",
        "states": "flexivrdk:RobotStates",
        "joint_command": "flexivrdk:NrtJointPositionCmd",
        "sdk": "flexivrdk:",
    },
    "lerobot": {
        "robot": "lerobot.robots:Robot",
        "device": "lerobot.robots:Robot",
        "devices": "lerobot.robots:",
        "device_config": "lerobot.robots:RobotConfig",
    },
    "ros2": {
        "ros": "roslibpy:Ros",
        "topic": "roslibpy:Topic",
        "state_topic": "roslibpy:Topic",
        "command_topic": "roslibpy:Topic",
        "service": "roslibpy:Service",
        "request": "roslibpy:ServiceRequest",
    },
    "ur": {
        "control": "rtde_control:RTDEControlInterface",
        "receive": "rtde_receive:RTDEReceiveInterface",
        "dashboard": "dashboard_client:DashboardClient",
    },
    "xarm": {"api": "xarm.wrapper:XArmAPI", "hand": "xarm.wrapper:XArmAPI"},
}


SHARED = {"lerobot": ["lerobot_devices.py"], "xarm": ["xarm_gripper.py"]}
"""What else of ours speaks to an SDK for a driver."""


def uses(driver):
    """Return (object, member, call or None, place) of everything that a driver takes of its SDK."""
    files = [f"{driver}.py", *SHARED.get(driver, [])]
    return [use for file in files for use in _uses(SDKS[driver], file)]


def _uses(names, file):
    tree = ast.parse((DRIVERS / file).read_text())
    calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    found = []
    for node in ast.walk(tree):
        call = calls.get(id(node))
        if isinstance(node, ast.Attribute) and (name := _name_of(node.value)) in names:
            found.append((name, node.attr, call, f"{file}:{node.lineno}"))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute):
            # A constant of a module, such as sdk.Mode.IDLE.
            name = _name_of(node.value.value)
            if name is not None and names.get(name, "").endswith(":"):
                found.append(
                    (name, f"{node.value.attr}.{node.attr}", None, f"{file}:{node.lineno}")
                )
        if isinstance(node, ast.Name) and node.id.removeprefix("make_") in names and call:
            made = node.id.removeprefix("make_")
            found.append((made, "__init__", call, f"{file}:{node.lineno}"))
    return found


def problems(driver):
    """Return what does not fit, in words."""
    found = []
    for name, member, call, place in uses(driver):
        cls = class_of(SDKS[driver][name])
        where = f"{place}: {cls.__name__}.{member}"
        try:
            operator.attrgetter(member)(cls)
        except AttributeError:
            found.append(f"{where} is not there")
            continue
        if call is not None and not takes(getattr(cls, member), call):
            found.append(f"{where} does not take this: {ast.unparse(call)}")
    return found


def class_of(target):
    module, _, path = target.partition(":")
    found = importlib.import_module(module)
    return getattr(found, path) if path else found


def takes(member, call):
    """Return whether one of a method's signatures takes the arguments of a call."""
    if any(isinstance(a, ast.Starred) for a in call.args) or any(
        k.arg is None for k in call.keywords
    ):
        raise ValueError(
            f"Write the arguments out, so that they can be checked: {ast.unparse(call)}"
        )
    own = () if inspect.ismethod(member) else ("self",)
    for signature in signatures(member):
        try:
            signature.bind(*own, *call.args, **{str(k.arg): k.value for k in call.keywords})
        except TypeError:
            continue
        return True
    return False


def signatures(member):
    """Return a method's signatures; those of compiled ones stand in their documentation."""
    try:
        return [inspect.signature(member)]
    except (TypeError, ValueError):
        lines = re.findall(r"^(?:\d+\. )?\w+\((self\b.*)\) -> ", member.__doc__ or "", re.MULTILINE)
        return [_parse(line) for line in lines]


def _parse(text):
    parameters = []
    for part in re.split(r", (?=\w+:)", text):
        name = part.partition(":")[0]
        # pybind11 calls arguments without a name arg0, arg1; these cannot be given by name.
        unnamed = name == "self" or re.fullmatch(r"arg\d+", name)
        kind = (
            inspect.Parameter.POSITIONAL_ONLY
            if unnamed
            else inspect.Parameter.POSITIONAL_OR_KEYWORD
        )
        default = None if " = " in part else inspect.Parameter.empty
        parameters.append(inspect.Parameter(name, kind, default=default))
    return inspect.Signature(parameters)


def _name_of(node):
    if isinstance(node, ast.Name):
        return node.id
    is_own = isinstance(node, ast.Attribute) and _name_of(node.value) == "self"
    return node.attr.removeprefix("_") if is_own else None


if __name__ == "__main__":
    sys.stdout.write(json.dumps(problems(sys.argv[1])) + "\n")

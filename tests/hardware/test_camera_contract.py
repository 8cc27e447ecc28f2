"""Every name of a camera's SDK that a driver uses exists in the wheel that is installed.

The names are taken from the driver's source: what is asked of the module itself, and each method
that is called on something that came from it.
"""

import ast
import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

from robopref.hardware import CAMERAS

# Where the driver keeps the module, and the classes whose methods it calls.
SDKS = {
    "opencv": ("cv2", {"cv2"}, ("VideoCapture",)),
    "realsense": (
        "pyrealsense2", {"rs"},
        ("align", "camera_info", "composite_frame", "config", "context", "depth_frame",
         "depth_sensor", "device", "intrinsics", "pipeline", "pipeline_profile", "video_frame",
         "video_stream_profile"),
    ),
    "orbbec": (
        "pyorbbecsdk", {"ob"},
        ("AlignFilter", "ColorFrame", "Config", "Context", "DepthFrame", "Device", "DeviceInfo",
         "DeviceList", "FormatConvertFilter", "FrameSet", "OBCameraDistortion",
         "OBCameraIntrinsic", "Pipeline", "PlaybackDevice", "StreamProfileList",
         "VideoStreamProfile"),
    ),
}  # fmt: skip
# Methods of Python's and numpy's, and of robopref's own classes.
OURS = frozenset(dir(str) + dir(dict) + dir(list)) | frozenset(
    ("astype", "copy", "reshape", "is_file", "read_text", "monotonic", "sleep")
)  # fmt: skip


def tree_of(name: str) -> ast.Module:
    module = importlib.import_module(CAMERAS.config_class(name).__module__)
    return ast.parse(Path(inspect.getfile(module)).read_text())


def root_of(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        if isinstance(node.value, ast.Name) and node.value.id == "self":
            return node.attr.strip("_")
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def path_of(node: ast.expr) -> list[str]:
    """Return the names of an attribute after its root, such as ["stream", "color"]."""
    names: list[str] = []
    while isinstance(node, ast.Attribute) and not (
        isinstance(node.value, ast.Name) and node.value.id == "self"
    ):
        names.insert(0, node.attr)
        node = node.value
    return names


def names_of_module(tree: ast.Module, roots: set[str]) -> list[list[str]]:
    return [
        path_of(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and root_of(node) in roots
    ]


def methods_called(tree: ast.Module, roots: set[str]) -> set[str]:
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    imported = {
        alias.asname or alias.name
        for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    return {
        node.func.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        and root_of(node.func) not in roots | imported
        and node.func.attr not in own | OURS
    }  # fmt: skip


@pytest.mark.parametrize("name", SDKS)
def test_every_name_of_the_sdk_exists(name):
    module, roots, classes = SDKS[name]
    sdk = pytest.importorskip(module, reason=f"the SDK of the camera '{name}' is not installed")
    tree = tree_of(name)
    asked = names_of_module(tree, roots)
    assert len(asked) > 5
    for path in asked:
        found: Any = sdk
        for attribute in path:
            assert hasattr(found, attribute), f"{module}.{'.'.join(path)}"
            found = getattr(found, attribute)
    known = {attribute for each in classes for attribute in dir(getattr(sdk, each))}
    called = methods_called(tree, roots)
    assert called
    assert called <= known, sorted(called - known)

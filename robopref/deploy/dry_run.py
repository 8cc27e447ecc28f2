"""What an operator should know before an arm moves: its limits, and where it would go first."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float

from robopref.hardware.calibration import load_calibration, load_mount
from robopref.hardware.driver import CameraInfo
from robopref.hardware.forecast import Way
from robopref.hardware.safety_config import SafetyConfig
from robopref.hardware.types import ArmSpec


@dataclass(frozen=True)
class Preview:
    """Where the first chunk of actions leads.

    Args:
        tool_m: Where its tool is [m].
        targets_m: Where the first chunk leads it [m].
        way: How the joints would go.
    """

    tool_m: Float[np.ndarray, " 3"]
    targets_m: Float[np.ndarray, "K 3"]
    way: Way


def describe_limits(spec: ArmSpec, safety: SafetyConfig) -> str:
    """Return what an arm is kept to in words, a line each."""
    return "\n".join(_limits(spec, safety))


def describe_first(preview: Preview) -> str:
    """Return where the first chunk leads in words, a line each."""
    return "\n".join(_first(preview))


def describe_cameras(cameras: Mapping[str, CameraInfo], folder: Path) -> str:
    """Return what is known of the cameras, in words, a line each; before the arm is armed.

    Args:
        cameras: What each says of itself.
        folder: Where mounts and calibrations are kept.

    Raises:
        HardwareError: The calibration of a camera with a known mount does not hold.
    """
    return "\n".join(
        f"Camera     {name}: {info.width} x {info.height} pixels, {info.fps:g} a second, "
        f"{_calibration(folder, name, info)}"
        for name, info in cameras.items()
    )


def _calibration(folder: Path, name: str, info: CameraInfo) -> str:
    if load_mount(folder, name) is None:
        return "not calibrated"
    found = load_calibration(folder, name, info)
    return f"on the {found.mount.on}, calibrated {found.date} to {found.reprojection_px:.2f} pixels"


def _limits(spec: ArmSpec, safety: SafetyConfig) -> Iterator[str]:
    yield f"Arm        {spec.name}: {spec.num_joints} joints, {spec.rate_hz:g} commands a second"
    share = safety.speed_factor
    tool, joints = share * safety.tool_speed_m_s, share * max(spec.velocity_max_rad_s)
    yield f"Speed      {100 * share:.0f} %: tool at most {tool:.3f} m/s, joints {joints:.2f} rad/s"
    yield f"Workspace  {_workspace(safety)}"
    yield f"Joints     {1e3 * safety.joint_margin_rad:.0f} mrad away from their limits"
    yield f"Filters    {_filters(safety)}"


def _first(preview: Preview) -> Iterator[str]:
    way = preview.way
    last = preview.targets_m[-1] if len(preview.targets_m) else preview.tool_m
    length = 100 * float(np.linalg.norm(last - preview.tool_m))
    yield f"First      tool by {length:.1f} cm from {_point(preview.tool_m)} to {_point(last)}"
    if way.refusal:
        yield f"           REFUSED: {way.refusal}"
        return
    room = "" if np.isinf(way.margin_m) else f", {100 * way.margin_m:.1f} cm inside the workspace"
    yield f"           joints at {100 * way.joint_speed:.0f} % of what they may{room}"


def _workspace(safety: SafetyConfig) -> str:
    space = safety.workspace
    if space is None or not safety.has("workspace"):
        return "none: it is turned off"
    parts = [f"x, y, z from {_point(space.stay_in.low_m)} to {_point(space.stay_in.high_m)} m"]
    if space.half_spaces:
        parts.append(f"{len(space.half_spaces)} planes")
    if space.keep_out:
        parts.append(f"{len(space.keep_out)} places to keep out of")
    return ", ".join(parts)


def _filters(safety: SafetyConfig) -> str:
    return f"all but {', '.join(safety.off)}, as the data will say" if safety.off else "all on"


def _point(values: object) -> str:
    return "(" + ", ".join(f"{float(v):.2f}" for v in np.asarray(values)) + ")"

"""`robopref doctor`: what this machine has, and what to install for what is missing.

The plain check reads package metadata and looks for files, and imports nothing heavy; `--full`
starts torch, the renderers and the video encoders, each in a process of its own.
"""

import ctypes
import importlib.metadata
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libOpenGL.so.0": "libopengl0",
    "libEGL_mesa.so.0": "libgl1-mesa-dri libegl-mesa0",
    "libgomp.so.1": "libgomp1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libgthread-2.0.so.0": "libglib2.0-0",
}
"""System libraries that rendering and open3d load, and the Debian package of each."""

QUIET = "import sys; sys.excepthook = lambda kind, error, _: print(f'{kind.__name__}: {error}')\n"
RENDER_PROBE = """
import mujoco
model = mujoco.MjModel.from_xml_string(
    "<mujoco><worldbody><light pos='0 0 3'/><geom type='sphere' size='.3'/></worldbody></mujoco>")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
renderer = mujoco.Renderer(model, 48, 48)
renderer.update_scene(data)
print(int(renderer.render().max()))
"""
TORCH_PROBE = """
import json, torch
names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
print(json.dumps({"devices": names, "threads": torch.get_num_threads(),
                  "mps": torch.backends.mps.is_available()}))
"""
ENCODER_PROBE = """
import av, json
print(json.dumps([c for c in ("libx264", "libsvtav1", "libvpx-vp9") if c in av.codecs_available]))
"""


@dataclass(frozen=True)
class Finding:
    """One thing looked for: its state, what was found, and how to get it."""

    name: str
    state: Literal["ok", "missing", "optional"]
    detail: str
    remedy: str = ""


@dataclass(frozen=True)
class DoctorCommand:
    """Say what this machine has, and what to install for what is missing.

    Example:
        robopref doctor
        robopref doctor --full
    """

    full: bool = False
    """Also start torch, each renderer and the video encoders (about 10 s)."""

    def run(self) -> None:
        """Print the findings."""
        sections = {
            "Software": check_software(),
            "Hardware": check_hardware(full=self.full),
            "Rendering": check_rendering(full=self.full),
            "Video": check_video(full=self.full),
            "Extras": check_extras(),
            "Tools": check_tools(),
        }
        for title, findings in sections.items():
            print(f"{title}")
            for finding in findings:
                print(f"  {finding.state:<9} {finding.name:<14} {finding.detail}")
        print(_advice([finding for findings in sections.values() for finding in findings]))


def check_software() -> list[Finding]:
    """Return the versions of Python, of robopref, and of the packages it needs."""
    from packaging.requirements import Requirement

    findings = [
        Finding("python", "ok", f"{platform.python_version()} at {sys.executable}"),
        Finding("robopref", "ok", f"{_version('robopref')} in {Path(__file__).parents[1]}"),
    ]
    wrong = []
    for line in _requirements():
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
            problem = _problem(line)
            wrong += [problem] if problem else []
    if wrong:
        findings.append(
            Finding("packages", "missing", ", ".join(wrong), "pip install --upgrade robopref")
        )
    shown = ("torch", "diffusers", "gymnasium", "metaworld", "mujoco", "open3d", "numpy")
    versions = ", ".join(f"{name} {_version(name)}" for name in shown)
    return [*findings, Finding("versions", "ok", versions)]


def check_hardware(*, full: bool) -> list[Finding]:
    """Return processor, memory, disk and graphics card."""
    disk = shutil.disk_usage(".")
    threads = os.environ.get("OMP_NUM_THREADS")
    detail = f"{_num_cores()} cores{f', OMP_NUM_THREADS={threads}' if threads else ''}"
    findings = [
        Finding("cpu", "ok", f"{detail}, {platform.machine()}"),
        Finding("memory", "ok", _memory()),
        Finding("disk", "ok", f"{disk.free / 1e9:.0f} GB free of {disk.total / 1e9:.0f} GB here"),
    ]
    if full:
        return [*findings, _probe_torch()]
    driver = shutil.which("nvidia-smi") or Path("/proc/driver/nvidia/version").exists()
    if driver:
        return [*findings, Finding("gpu", "ok", "NVIDIA driver found; 'doctor --full' tries it")]
    return [*findings, Finding("gpu", "optional", "none found; everything runs on the CPU")]


def check_rendering(*, full: bool) -> list[Finding]:
    """Return the libraries and back ends that can draw without a screen."""
    if sys.platform != "linux":
        backends = [("default", None)]
        findings = []
    else:
        backends = [("unset", None), ("egl", "egl"), ("osmesa", "osmesa")]
        findings = [_libraries()]
    findings.append(_mujoco_gl())
    if full:
        findings += [_probe_renderer(name, backend) for name, backend in backends]
    return findings


def check_video(*, full: bool) -> list[Finding]:
    """Return what can write and read video."""
    version = _version("av")
    findings = [
        Finding("av", "ok", version)
        if version != "missing"
        else Finding("av", "missing", "not installed", "pip install av")
    ]
    if full:
        answer = _probe(ENCODER_PROBE, {})
        found = json.loads(answer) if answer.startswith("[") else []
        findings.append(
            Finding("encoders", "ok", ", ".join(found))
            if found
            else Finding("encoders", "missing", answer, "pip install --force-reinstall av")
        )
    ffmpeg = shutil.which("ffmpeg")
    findings.append(Finding("ffmpeg", "ok" if ffmpeg else "optional", ffmpeg or "not needed: av"))
    return findings


def check_extras() -> list[Finding]:
    """Return which extras of robopref are installed."""
    from packaging.requirements import Requirement

    groups: dict[str, list[str]] = {}
    for line in _requirements():
        requirement = Requirement(line)
        named = re.search(r"extra == ['\"]([\w-]+)['\"]", str(requirement.marker))
        if named and requirement.name != "robopref":  # "all" names the others.
            groups.setdefault(named[1], []).append(line)
    findings = []
    for extra, lines in sorted(groups.items()):
        wrong = [problem for problem in map(_problem, lines) if problem]
        install = f"pip install 'robopref[{extra}]'"
        detail = f"{', '.join(wrong)}: {install}" if wrong else "installed"
        findings.append(Finding(extra, "optional" if wrong else "ok", detail))
    return findings


def check_tools() -> list[Finding]:
    """Return the programs that some extras need."""
    compiler = next((c for c in ("c++", "g++", "clang++") if shutil.which(c)), None)
    rows = [
        ("cmake", "the robomimic extra compiles egl_probe: pip install cmake"),
        (compiler or "c++", "the robomimic extra compiles egl_probe: sudo apt-get install -y g++"),
        ("psql", "to look into a PostgreSQL store: sudo apt-get install -y postgresql-client"),
    ]
    findings = []
    for name, purpose in rows:
        path = shutil.which(name)
        detail = path or f"not found; {purpose}"
        findings.append(Finding(name, "ok" if path else "optional", detail))
    return findings


def missing_packages() -> list[str]:
    """Return the Debian packages of the system libraries that cannot be loaded."""
    if sys.platform != "linux":
        return []
    nvidia = _loads("libEGL_nvidia.so.0")
    missing: list[str] = []
    for library, packages in LIBRARIES.items():
        if not _loads(library) and not (nvidia and library == "libEGL_mesa.so.0"):
            missing += packages.split()
    return missing


def _advice(findings: list[Finding]) -> str:
    remedies = [f"  {finding.remedy}" for finding in findings if finding.remedy]
    if remedies:
        return "\n".join(["\nInstall what is missing with:", *remedies])
    return "\nNothing that is needed is missing. Next: robopref demo"


def _libraries() -> Finding:
    packages = missing_packages()
    if not packages:
        return Finding("libraries", "ok", "EGL, OpenGL and what open3d loads")
    install = f"sudo apt-get install -y {' '.join(packages)}"
    return Finding("libraries", "missing", ", ".join(packages), install)


def _mujoco_gl() -> Finding:
    from robopref.gl import check_mujoco_gl

    try:
        check_mujoco_gl()
    except ValueError as error:
        return Finding("MUJOCO_GL", "missing", str(error), "unset MUJOCO_GL")
    return Finding("MUJOCO_GL", "ok", os.environ.get("MUJOCO_GL") or "not set: robopref chooses")


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True


def _probe_renderer(name: str, backend: str | None) -> Finding:
    answer = _probe(RENDER_PROBE, {"MUJOCO_GL": backend})
    works = answer.isdigit() and int(answer) > 0
    state: Literal["ok", "missing", "optional"] = "ok" if works else "optional"
    if backend == "egl" and not works:
        state = "missing"
    return Finding(f"render {name}", state, "draws" if works else f"does not draw: {answer}")


def _probe_torch() -> Finding:
    answer = _probe(TORCH_PROBE, {})
    if not answer.startswith("{"):
        return Finding("torch", "missing", answer, "pip install --upgrade torch")
    found = json.loads(answer)
    devices = found["devices"] + (["Apple MPS"] if found["mps"] else [])
    where = ", ".join(devices) if devices else "no graphics card; everything runs on the CPU"
    return Finding("torch", "ok", f"{found['threads']} threads, {where}")


def _probe(script: str, environment: dict[str, str | None]) -> str:
    """Run `script` in a fresh Python; return the last line it printed, or its error."""
    variables = {k: v for k, v in os.environ.items() if k not in environment}
    variables |= {k: v for k, v in environment.items() if v is not None}
    try:
        done = subprocess.run(
            [sys.executable, "-c", QUIET + script],
            env=variables, capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return "no answer within 120 s"
    lines = done.stdout.splitlines() or done.stderr.splitlines()
    return lines[-1] if lines else f"exit code {done.returncode}"


def _requirements() -> list[str]:
    try:
        return importlib.metadata.requires("robopref") or []
    except importlib.metadata.PackageNotFoundError:  # A checkout that is not installed.
        return []


def _problem(line: str) -> str | None:
    """Return what is wrong with a required package, or None."""
    from packaging.requirements import Requirement

    requirement = Requirement(line)
    version = _version(requirement.name)
    if version == "missing":
        return f"{requirement.name} is missing"
    if not requirement.specifier.contains(version, prereleases=True):
        return f"{requirement.name} {version} is not {requirement.specifier}"
    return None


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "missing"


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _memory() -> str:
    try:
        pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return "unknown"
    return f"{pages * size / 1e9:.0f} GB"

"""Build the wheel, install it beside the packages of .venv, and use it from another folder.

The second environment has robopref's wheel and, through a path file, the packages of .venv, so
that nothing of 5 GB is installed twice. In a second pass the packages of the extras are hidden, so
that it is as if only the core had been installed; every module must still be importable.
"""

import importlib.metadata
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = sysconfig.get_path("purelib")

HIDE = """
from importlib.machinery import PathFinder
HIDDEN = {hidden!r}
find_spec = PathFinder.find_spec
def find_unless_hidden(name, path=None, target=None):
    return None if name.partition(".")[0] in HIDDEN else find_spec(name, path, target)
PathFinder.find_spec = staticmethod(find_unless_hidden)
"""
IMPORT_ALL = """
import importlib, pkgutil, robopref
assert "site-packages" in robopref.__file__, robopref.__file__
names = [m.name for m in pkgutil.walk_packages(robopref.__path__, "robopref.")]
names = [name for name in names if ".examples" not in name]
for name in names:
    importlib.import_module(name)
print(f"{len(names)} modules imported")
"""


def main() -> None:
    """Run all checks; the first that fails ends the program."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        wheel = build_wheel(folder)
        python = make_environment(folder / "venv", wheel)
        robopref = python.with_name("robopref")
        run(robopref, "--help")
        run(robopref, "doctor")
        run(robopref, "demo", "--help")
        run(python, "-c", IMPORT_ALL)
        for example in first_example(python):
            run(python, "-m", example, home=folder)
        hide_extras(python)
        run(robopref, "--help")
        run(robopref, "doctor")
        run(python, "-c", IMPORT_ALL)
    print("The wheel works from another folder, with the extras and without.")


def build_wheel(folder: Path) -> Path:
    """Build from a copy of the tracked files, so that no old build folder gets into the wheel."""
    source = folder / "source"
    source.mkdir()
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, check=True, capture_output=True,
    )  # fmt: skip
    pack = ["tar", "--null", "--ignore-failed-read", "-cf", "-", "-T", "-"]
    archive = subprocess.run(pack, cwd=ROOT, check=True, input=listed.stdout, capture_output=True)
    subprocess.run(["tar", "-xf", "-"], cwd=source, check=True, input=archive.stdout)
    pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", str(folder), "."]
    subprocess.run(pip, cwd=source, check=True)
    return next(folder.glob("robopref-*.whl"))


def make_environment(folder: Path, wheel: Path) -> Path:
    """Return the Python of an environment with the wheel and the packages of this one."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    python = folder / "bin" / "python"
    install = [
        sys.executable, "-m", "pip", "--python", str(python), "install", "-q", "--no-deps",
        "--no-index", str(wheel),
    ]  # fmt: skip
    subprocess.run(install, check=True)
    (site_packages(python) / "packages.pth").write_text(f"{PACKAGES}\n")
    return python


def hide_extras(python: Path) -> None:
    """Make the packages that only extras bring look as if they were not installed."""
    extra_only = set()
    for line in importlib.metadata.requires("robopref") or []:
        name = normal(re.split(r"[^\w.-]", line)[0])
        if "extra ==" in line and name != "robopref":
            extra_only.add(name)
    hidden = {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if {normal(owner) for owner in owners} <= extra_only
    }
    print(f"Hiding {len(hidden)} modules of the extras: {', '.join(sorted(hidden))}")
    (site_packages(python) / "sitecustomize.py").write_text(HIDE.format(hidden=hidden))


def first_example(python: Path) -> list[str]:
    """Return the module of the first example script, if there is one yet."""
    scripts = sorted((ROOT / "robopref" / "examples").glob("01_*.py"))
    return [f"robopref.examples.{script.stem}" for script in scripts]


def site_packages(python: Path) -> Path:
    """Return where `python` keeps its packages."""
    return next((python.parents[1] / "lib").glob("python3*")) / "site-packages"


def normal(name: str) -> str:
    """Return a distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def run(*command: str | Path, home: Path | None = None) -> None:
    """Run `command` from the root folder, as a user with nothing of this checkout around."""
    words = [str(word) for word in command]
    print("$", shlex.join(words)[:120].replace("\n", " "), flush=True)
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    subprocess.run(words, cwd=home or "/", check=True, env=environment, timeout=600)


if __name__ == "__main__":
    main()

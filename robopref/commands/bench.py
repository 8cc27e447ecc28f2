"""`robopref bench`: run a benchmark of this checkout and write its figures.

A benchmark is a script `benchmarks/<name>.py` with `run(quick: bool) -> dict`, or with
`run(quick: bool, workers: Workers) -> dict` if it is a sweep that workers share. What it returns
holds `figures`, each a number or a mapping with `value`, `low`, `high`, `n`, `floor` and `ok`, and
whatever else belongs to its result.
"""

import ast
import contextlib
import importlib
import inspect
import json
import math
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from robopref.errors import RoboprefError, check_name
from robopref.ray_workers import RayConfig

FIGURE = ("value", "low", "high", "n", "floor", "ok")
"""What is known of a figure: its value, interval, number of samples, the aim, and whether it is
reached. What does not apply is null."""


@dataclass(frozen=True)
class BenchCommand:
    """Run a benchmark of this checkout; without a name, list them.

    Example:
        robopref bench
        robopref bench demo --quick --json -
    """

    name: Positional[str] = ""
    """Which benchmark."""
    quick: bool = False
    """A short version, for a first look."""
    json: Path | None = None
    """Write one JSON object to this file, or to standard output if it is '-'."""
    num_workers: int = 2
    """Processes that share a benchmark which is a sweep."""
    cluster: RayConfig = field(default_factory=RayConfig)
    """Where they work; all of them need the checkout and its runs under the same path."""

    def run(self) -> None:
        """Run the benchmark; a missed aim is reported and is no error."""
        root = find_checkout()
        benches = list_benches(root)
        if not self.name:
            width = max((len(name) for name in benches), default=0)
            print("\n".join(f"{name:<{width}}  {about}" for name, about in benches.items()))
            if benches:
                first = "demo" if "demo" in benches else min(benches)
                print(f"\nNext: robopref bench {first} --quick")
            return
        check_name("benchmark", self.name, benches, heading="Benchmarks")
        start = time.monotonic()
        with contextlib.redirect_stdout(sys.stderr):
            found = self._measure(_load(root, self.name))
        report = make_report(self.name, found, self.command_line, root, time.monotonic() - start)
        self._write(report)

    def _measure(self, run: Callable[..., Mapping[str, Any]]) -> Mapping[str, Any]:
        if "workers" in inspect.signature(run).parameters:
            return run(self.quick, self.cluster.build(self.num_workers))
        if self.cluster != RayConfig():
            raise RoboprefError(
                f"The benchmark '{self.name}' is no sweep that workers could share. Run it without "
                "--ray and the options that begin so."
            )
        return run(self.quick)

    @property
    def command_line(self) -> str:
        """The command that makes the same figures."""
        words = ["robopref", "bench", self.name]
        words += ["--quick"] if self.quick else []
        words += ["--json", str(self.json)] if self.json is not None else []
        return shlex.join(words)

    def _write(self, report: Mapping[str, Any]) -> None:
        text = json.dumps(report, indent=2, allow_nan=False)
        if self.json is None:
            print(format_table(report))
            print(f"\nNext: {self.command_line} --json benchmarks/results/{self.name}.json")
        elif str(self.json) == "-":
            print(text)
        else:
            from robopref.config import write_text_atomically

            write_text_atomically(self.json, text + "\n")
            print(f"Wrote {self.json}. Next: open it, or run 'robopref bench' for the others.")


def find_checkout() -> Path:
    """Return the root of the checkout: the working directory, or where robopref was imported from.

    Raises:
        RoboprefError: Neither is a checkout; an installed package brings no benchmarks.
    """
    for root in (Path.cwd(), Path(__file__).resolve().parents[2]):
        if (root / "benchmarks").is_dir() and (root / "robopref").is_dir():
            return root
    raise RoboprefError(
        f"No benchmarks in '{Path.cwd()}'. They are part of the source, not of the installed "
        "package: clone the repository and run this in it."
    )


def list_benches(root: Path) -> dict[str, str]:
    """Return each benchmark of the checkout at `root` with its first line; imports none."""
    benches = {}
    for path in sorted((root / "benchmarks").glob("*.py")):
        tree = ast.parse(path.read_text(), str(path))
        if any(isinstance(node, ast.FunctionDef) and node.name == "run" for node in tree.body):
            benches[path.stem] = (ast.get_docstring(tree) or "").partition("\n")[0]
    return benches


def make_report(
    name: str, found: Mapping[str, Any], command: str, root: Path, seconds: float
) -> dict[str, Any]:
    """Return the JSON object of a benchmark that returned `found`."""
    figures = {key: _figure(value) for key, value in found.get("figures", {}).items()}
    extra = {key: _plain(value) for key, value in found.items() if key != "figures"}
    return {
        "bench": name,
        "commit": describe_commit(root),
        "seconds": round(seconds, 2),
        "command": command,
        "figures": figures,
        **extra,
    }


def format_table(report: Mapping[str, Any]) -> str:
    """Return the figures as a table."""
    head = ("figure", "value", "interval", "n", "aim", "")
    rows: list[tuple[str, ...]] = [head]
    for name, figure in report["figures"].items():
        interval = "" if figure["low"] is None else f"{figure['low']:.4g} to {figure['high']:.4g}"
        aim = "" if figure["floor"] is None else f"{figure['floor']:.4g}"
        verdict = {True: "reached", False: "missed", None: ""}[figure["ok"]]
        value = "none" if figure["value"] is None else f"{figure['value']:.4g}"
        count = "" if figure["n"] is None else str(figure["n"])
        rows.append((name, value, interval, count, aim, verdict))
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    lines = ["  ".join(f"{cell:<{w}}" for cell, w in zip(row, widths, strict=True)) for row in rows]
    title = f"{report['bench']} at {report['commit']} in {report['seconds']:.0f} s"
    return "\n".join([title, *(line.rstrip() for line in lines)])


_CHANGED = ("status", "--porcelain", "--untracked-files=no", "--", ".",
            ":(exclude)benchmarks/results", ":(exclude)docs/images")  # fmt: skip
"""What changed since, without results and pictures, which a benchmark itself makes."""


def describe_commit(root: Path) -> str | None:
    """Return the commit of the checkout, marked `-dirty` if files were changed since."""
    try:
        commit, changed = (
            subprocess.run(
                ["git", "-C", str(root), *words], capture_output=True, text=True, check=False
            ).stdout.strip()
            for words in (("rev-parse", "HEAD"), _CHANGED)
        )
    except FileNotFoundError:
        return None
    return f"{commit}-dirty" if commit and changed else commit or None


def _load(root: Path, name: str) -> Callable[..., Mapping[str, Any]]:
    # Through the package path, so that worker processes find functions of the script by name.
    if str(root) not in sys.path:
        sys.path.append(str(root))
    run: Callable[..., Mapping[str, Any]] = importlib.import_module(f"benchmarks.{name}").run
    return run


def _figure(value: Any) -> dict[str, Any]:
    given = dict(value) if isinstance(value, Mapping) else {"value": value}
    return {**dict.fromkeys(FIGURE), **{key: _plain(item) for key, item in given.items()}}


def _plain(value: Any) -> Any:
    """Return `value` with numpy's numbers and arrays as Python's; None for what is not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

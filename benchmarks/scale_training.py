"""That a training by two processes is that by one, and how long either takes.

The command `robopref train policy` runs alone and behind `torchrun`, on the same data with the same
rows in a step. Then a run that two processes began is stopped in the middle, as a scheduler stops
it, and one goes on with it; and the other way round.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.scale_data import make_data
from benchmarks.timing import figure
from robopref.tracker import read_metrics

NUM_EPISODES, BATCH = 200, 64
MOST_APART = 1e-4
"""Of losses, as a share: rounding of float32 sums in another order, magnified by training."""
ALONE = (sys.executable, "-m")
TWO = (sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m")

GOING_ON = (("two, then one", TWO, ALONE), ("one, then two", ALONE, TWO))


def two_processes(quick: bool, notes: list[str]) -> dict[str, Any]:
    """Return how far apart losses are; a quick run stops and goes on with none."""
    num_steps = 40 if quick else 300
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        make_data(folder / "data", NUM_EPISODES)
        command = (
            "robopref.cli", "train", "policy", "--data", str(folder / "data"),
            "--no-only-successes", "--training.batch-size", str(BATCH), "--training.num-steps",
            str(num_steps), "--training.checkpoint-interval", "20", "--training.log-interval", "1",
            "--out",
        )  # fmt: skip
        seconds = {}
        for name, launcher in (("one", ALONE), ("two", TWO)):
            start = time.perf_counter()
            _finish(_start(launcher, command, folder / name))
            seconds[name] = time.perf_counter() - start
        for name, first, then in () if quick else GOING_ON:
            _stop_once_saved(_start(first, command, folder / name), folder / name)
            _finish(_start(then, command, folder / name))
        losses = {run.name: _losses(run, num_steps) for run in sorted(folder.iterdir())
                  if run.name != "data"}  # fmt: skip
    notes.append(
        f"training: {num_steps} steps of {BATCH} rows, losses {losses['one'][0]:.3f} to "
        f"{losses['one'][-10:].mean():.3f}; alone {seconds['one']:.0f} s, by two processes that "
        f"share the cores {seconds['two']:.0f} s, with starting"
    )
    return {
        f"losses apart from those of one process, {name}": figure(
            [float(np.abs(of / losses["one"] - 1).max())], floor=MOST_APART, at_most=True
        )
        for name, of in losses.items()
        if name != "one"
    }


def _start(launcher: Sequence[str], command: Sequence[str], run: Path) -> subprocess.Popen[str]:
    """Start a training; none of its processes uses more than a thread."""
    return subprocess.Popen(
        [*launcher, *command, str(run)], text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def _finish(process: subprocess.Popen[str], *, fails: bool = False) -> None:
    """Wait for a training.

    Raises:
        RuntimeError: It failed, or did not.
    """
    said, _ = process.communicate()
    if (process.returncode != 0) != fails:
        raise RuntimeError(f"A training ended with {process.returncode}: {said[-2000:]}")


def _stop_once_saved(process: subprocess.Popen[str], run: Path) -> None:
    """Let a training stop as a scheduler would, after its first checkpoint."""
    while not (run / "trainer.safetensors").is_file():
        if process.poll() is not None:
            _finish(process)
        time.sleep(0.02)
    for each in (psutil.Process(process.pid), *psutil.Process(process.pid).children()):
        if each.environ().get("RANK", "0") == "0" and "robopref.cli" in each.cmdline():
            each.send_signal(signal.SIGTERM)
    _finish(process, fails=True)


def _losses(run: Path, num_steps: int) -> np.ndarray:
    """Return the loss of each step.

    Raises:
        RuntimeError: A step is missing or there twice.
    """
    rows = [row for row in read_metrics(run / "metrics.jsonl") if "loss" in row]
    if [row["step"] for row in rows] != list(range(1, num_steps + 1)):
        raise RuntimeError(f"{run.name}: the steps are {[row['step'] for row in rows]}.")
    return np.array([row["loss"] for row in rows])

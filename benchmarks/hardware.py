"""The hardware layer: how fast the supervisor decides, how soon it notices, how punctual it is.

`supervisor_us` is one decision for seven joints, the median over the periods of a stream of
commands in which the arm moves; to hold takes a tenth of that. `watchdog_periods` is how many
periods pass without a command until the arm is told to hold.
`late_share` is the share of periods of a simulated arm that begin more than half a period late,
beside one busy process: the median of five runs of a minute, with 100 commands a second.
`excess` is the greatest that anything sent was beyond any limit, over streams of commands that try
to lead out of them, as a share of the limit or in its unit [rad, m]; at most 0 is within.
`stop_terminal_s` and `stop_browser_s` are the longest that an arm at full speed was sent on after
the key that stops it, in a terminal or in a real browser; `stop_*_heard_s` until it began to brake.
`policy_killed_s` and the others are the longest that an arm moved on after a fault, of 20 times
each: its policy's or its loop's process was killed, its camera froze, the network dropped, the
policy raised an error, or the disk was full when an episode was to be stored (from when that was
known). `ok` says that it rested within the watchdog each time (for the camera, within the age of
its newest picture that counts as blind and that), stayed so, and that all earlier episodes load.
`success_arm` is the success of the demo's aligned policy on the simulated arm, `success_simulated`
the same in its own simulation, from the same starts.
"""

import json
import multiprocessing
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from robopref.commands.bench import find_checkout

RUNS = Path("runs/bench-hardware")
ROUNDING = 1e-6
"""Differences of positions that the supervisor counts as none."""


def run(quick: bool) -> dict[str, Any]:
    """Return the figures: with short runs (quick), or as they are promised."""
    figures = {
        "supervisor_us": _supervisor_us(2_000 if quick else 20_000),
        "watchdog_periods": _watchdog_periods(3 if quick else 20),
        "late_share": _late_share(1, 10.0) if quick else _late_share(5, 60.0),
        **_streams(100_000 if quick else 1_000_000),
        **_stops(5 if quick else 20),
    }
    if not quick:
        figures |= _faults(20)
        figures |= _success(50)
    return {"figures": figures}


def _supervisor_us(num_steps: int) -> dict[str, Any]:
    from robopref.hardware.arms import xarm7
    from robopref.hardware.supervisor import Supervisor
    from tests.hardware.streams import HOME, Commands, make_config, make_state

    supervisor = Supervisor(xarm7(), make_config())
    period, now = supervisor.spec.period_s, 100.0
    commands = Commands(7, HOME["xarm7"], np.random.default_rng(0))
    memory = supervisor.arm(make_state(HOME["xarm7"], now), now)
    took = []
    for _ in range(num_steps):
        now += period
        command = commands.next(now)
        assert memory.motion is not None
        state = make_state(memory.motion.position, now)
        begun = time.perf_counter()
        memory, out = supervisor.step(memory, command, state, now)
        seconds = time.perf_counter() - begun
        if memory.stopped is None and out.sent is not None and any(out.sent.velocity):
            took.append(1e6 * seconds)
        if memory.stopped is not None and memory.motion is not None and memory.motion.is_at_rest:
            memory = supervisor.arm(make_state(HOME["xarm7"], now), now)
    p50, p99 = np.quantile(took, (0.5, 0.99))
    return _figure(p50, high=p99, n=len(took), floor=150.0, ok=bool(p50 <= 150))


def _watchdog_periods(num_times: int) -> dict[str, Any]:
    """Let commands cease in the middle of a motion, and count periods until a hold."""
    from robopref.hardware.arms import xarm7
    from robopref.hardware.supervisor import Supervisor
    from robopref.hardware.verdicts import Decision
    from tests.hardware.streams import HOME, command_to, make_config, make_state

    supervisor = Supervisor(xarm7(), make_config())
    period, counts = supervisor.spec.period_s, []
    for number in range(num_times):
        now, home = 100.0, np.array(HOME["xarm7"])
        memory = supervisor.arm(make_state(home, now), now)
        silent = 0
        for step in range(200):
            now += period
            assert memory.motion is not None
            is_silent = step > 20 + number
            command = None if is_silent else command_to(home + 0.3, now)
            state = make_state(memory.motion.position, now)
            memory, out = supervisor.step(memory, command, state, now)
            silent += is_silent
            if is_silent and any(v.decision is not Decision.CLAMP for v in out.verdicts):
                break
        counts.append(silent)
    worst = max(counts)
    return _figure(worst, low=min(counts), n=num_times, floor=2.0, ok=worst <= 2)


def _late_share(num_runs: int, seconds: float) -> dict[str, Any]:
    shares = [_late_run(seconds) for _ in range(num_runs)]
    middle = statistics.median(shares)
    return _figure(
        middle, low=min(shares), high=max(shares), n=num_runs, floor=0.01, ok=middle < 0.01
    )


def _late_run(seconds: float) -> float:
    """Return the share of late periods of a loop on `sim`, beside a busy process."""
    from robopref.hardware.arm_process import ArmProcess
    from robopref.hardware.chunks import Chunk
    from robopref.hardware.loop import LoopConfig
    from robopref.hardware.sim import SimArmConfig
    from tests.hardware.streams import HOME, make_config

    config, home = SimArmConfig("xarm7"), np.array(HOME["xarm7"])
    busy = multiprocessing.get_context("spawn").Process(target=_be_busy, daemon=True)
    busy.start()
    safety = make_config(state_age_s=0.5, watchdog_s=0.5)
    with ArmProcess(config, config.build().spec, safety, LoopConfig()) as arm:
        end, number = time.monotonic() + seconds, 0
        while (now := time.monotonic()) < end:
            times = now + 0.1 * np.arange(8)
            arm.send(Chunk(number, now, 0.1, home + 0.1 * np.sin(times)[:, None]))
            number += 1
            time.sleep(0.4)
        arm.close()
    busy.terminate()
    busy.join()
    return arm.timing["late_share"]


def _be_busy() -> None:
    while True:
        sum(range(100_000))


def _streams(num_steps: int) -> dict[str, Any]:
    """Drive all arms by streams that try to lead out of their limits."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.hardware.streams", str(num_steps)],
        capture_output=True, text=True, cwd=find_checkout(), check=True,
    )  # fmt: skip
    rows = json.loads(done.stdout)
    steps = sum(row["steps"] for row in rows)
    excess = max(value for row in rows for value in row["excess"].values())
    return {
        "property_steps": _figure(steps, floor=float(num_steps), ok=steps >= num_steps),
        "excess": _figure(excess, n=steps, floor=0.0, ok=excess <= ROUNDING),
    }


def _stops(num_times: int) -> dict[str, Any]:
    """Say stop so often in every way, and look how soon the arm holds."""
    from benchmarks.stop_keys import measure

    found = {}
    for by, reactions in measure(num_times).items():
        for name, times in (
            (f"stop_{by}_s", [each.hold_s for each in reactions]),
            (f"stop_{by}_heard_s", [each.heard_s for each in reactions]),
        ):
            found[name] = _figure(max(times), low=min(times), high=max(times), n=num_times)
    return found


def _faults(num_times: int) -> dict[str, Any]:
    """Let everything go wrong so often, and look how the arm and its data end."""
    from tests.deploy.faults import FAULTS, run_fault, small_disk, within_s

    found = {}
    for name in FAULTS:
        ends = []
        for _ in range(num_times):
            with tempfile.TemporaryDirectory() as folder, small_disk(Path(folder)):
                ends.append(run_fault(name, Path(folder)))
        times = [ended.rest_s for ended in ends]
        found[f"{name}_s"] = _figure(
            max(times), low=min(times), high=max(times), n=num_times,
            floor=within_s(name),
            ok=max(times) < within_s(name) and all(ended.is_safe for ended in ends),
        )  # fmt: skip
    return found


def _success(num_episodes: int) -> dict[str, Any]:
    """Evaluate the demo's policy in its simulation and on the arm, from the same starts."""
    demo = Path("runs/demo")
    if not (demo / "aligned").is_dir():
        _robopref("demo")
    found = {}
    for name, env in (("simulated", "metaworld"), ("arm", "arm")):
        out = RUNS / name
        _robopref(
            "evaluate", "--policy", str(demo / "aligned"), "--env",
            f"{env}/button-press-topdown-v3", "--num-episodes", str(num_episodes),
            "--num-workers", "0", "--out", str(out),
        )  # fmt: skip
        found[name] = json.loads((out / "evaluation.json").read_text())["success"]
    arm, simulated = found["arm"], found["simulated"]
    return {
        f"success_{name}": _figure(
            rate["value"], low=rate["low"], high=rate["high"], n=num_episodes,
            ok=arm["high"] >= simulated["low"] if name == "arm" else None,
        )
        for name, rate in found.items()
    }  # fmt: skip


def _robopref(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "robopref.cli", *arguments], check=True)


def _figure(value: float, **known: Any) -> dict[str, Any]:
    return {"low": None, "high": None, "n": None, "floor": None, "ok": None, "value": value} | known

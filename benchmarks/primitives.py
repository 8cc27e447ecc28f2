"""Primitives by a simulated arm: whether as much comes of them as where tools go by themselves.

A task's rule acts, once through the arm, its supervisor and its controller, as in
`arm-deformable/<task>`, and once as in every evaluation, `deformable/<task>`, from the same starts
until the task is solved or its time is up. `gain_difference` compares each primitive that the arm
performed with the same one from the same state without an arm: mean difference of what the quality
gained. `success_arm` and `success_simulated` are the shares of starts that end solved, `quality_*`
the mean qualities at the end. An episode in which the supervisor stopped the arm, as it does where
the machine is too busy to keep the arm's time, is not solved; `stops` says why for each.
`success_policy_arm` is the success of the policy that `robopref demo --task rope` learns, through
`robopref deploy` on the arm, and `success_policy_simulated` the same as in every evaluation, from
the same starts.
"""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from robopref.arm_deformable import ArmDeformableConfig
from robopref.envs.deformable.env import DeformableConfig
from robopref.progress import Progress
from robopref.seeding import make_rng
from robopref.statistics import mean_interval, wilson

TASK = "rope-circle-v0"
SPEED_M_S = 0.5
"""Greatest speed of the tool: what these paths are made for [m/s]."""
FIRST_SEED = 500
NUM_STARTS = 4
QUICK_STARTS, QUICK_PRIMITIVES = 1, 3
NUM_DEPLOYED = 10
RUNS = Path("runs/bench-primitives")


@dataclass(frozen=True)
class End:
    """How an episode ended: its quality then, and why the arm was stopped, if it was."""

    is_solved: bool
    quality: float
    stopped: str


def run(quick: bool) -> dict[str, Any]:
    """Return the figures: of a few primitives (quick), or of whole episodes."""
    plain = DeformableConfig(TASK).build()
    arm = ArmDeformableConfig(TASK, tool_speed_m_s=SPEED_M_S).build()
    seeds = range(FIRST_SEED, FIRST_SEED + (QUICK_STARTS if quick else NUM_STARTS))
    limit = QUICK_PRIMITIVES if quick else plain.max_episode_steps
    differences: list[float] = []
    by_arm, simulated = [], []
    try:
        with Progress("episodes", 2 * len(seeds)) as bar:
            for seed in seeds:
                by_arm.append(_act_out(arm, seed, limit, plain, differences))
                bar.advance()
                simulated.append(_act_out(plain, seed, limit))
                bar.advance()
    finally:
        arm.close()
        plain.close()
    mean, low, high = _mean(differences)
    figures = {
        # As much comes of it, or the difference could be none.
        "gain_difference": {
            "value": mean, "low": low, "high": high, "n": len(differences), "floor": 0.0,
            "ok": high >= 0.0,
        },
    }  # fmt: skip
    if not quick:
        figures |= _ends("arm", by_arm) | _ends("simulated", simulated)
        figures["success_arm"]["ok"] = (
            figures["success_arm"]["high"] >= figures["success_simulated"]["low"]
        )
        _robopref("demo", "--task", "rope", "--out", str(RUNS / "rope"))
        figures |= policy_figures(RUNS / "rope", NUM_DEPLOYED)
    stops = [end.stopped for end in by_arm if end.stopped]
    return {"figures": figures, "stops": stops, "task": TASK, "tool_speed_m_s": SPEED_M_S}


def _act_out(
    env: Any, seed: int, limit: int, without: Any = None, differences: list[float] | None = None
) -> End:
    """Return how an episode of the rule ends.

    Args:
        env: Acts.
        seed: Of the start.
        limit: Primitives, at most.
        without: Tries each primitive without an arm; None tries none.
        differences: Gets how much more was gained with the arm than without.
    """
    env.reset(seed=seed)
    info: dict[str, Any] = {"success": False, "quality": env.quality()}
    for number in range(limit):
        action = env.propose(make_rng(seed, "primitives", number), 1)[0]
        expected = None
        if without is not None:
            without.put(env.get_state())
            expected = without.perform(action)
        *_, info = env.step(action)
        if expected is not None and differences is not None and "stopped" not in info:
            differences.append(info["quality"] - expected["quality"])
        if info["success"] or "stopped" in info:
            break
    return End(bool(info["success"]), float(info["quality"]), str(info.get("stopped", "")))


def policy_figures(policy: Path, num: int, *options: str) -> dict[str, dict[str, Any]]:
    """Return how often a saved policy solves the task on the arm, and without one.

    Args:
        policy: Its run.
        num: Starts.
        options: Of `robopref deploy`.
    """
    from robopref.align.collect import Plan
    from robopref.align.recording import record_group
    from robopref.data.store import EpisodeStore
    from robopref.deform.saved import saved_spec

    out = RUNS / f"{policy.name}-deployed"
    _robopref(
        "deploy", "--env", f"arm-deformable/{TASK}", "--policy", str(policy), "--num-episodes",
        str(num), "--speed", "1", "--yes", "--cameras", "--out", str(out), *options,
    )  # fmt: skip
    deployed = list(EpisodeStore.open(out))
    # Without an arm, from the same starts.
    plan = Plan(
        f"deformable/{TASK}", saved_spec(policy, "policy"), seed=0, start_set="test",
        num_episodes=num, group_size=1,
    )  # fmt: skip
    simulated = [episode for group in plan.groups() for episode in record_group(group)]
    found = {}
    for name, episodes in (("arm", deployed), ("simulated", simulated)):
        rate = wilson(sum(episode.succeeded for episode in episodes), len(episodes))
        found[f"success_policy_{name}"] = {
            "value": rate.value, "low": rate.low, "high": rate.high, "n": len(episodes),
        }  # fmt: skip
    arm, without = found["success_policy_arm"], found["success_policy_simulated"]
    arm["ok"] = arm["high"] >= without["low"]
    return found


def _robopref(*arguments: str) -> None:
    command = [sys.executable, "-m", "robopref.cli", *arguments]
    # Without a terminal nobody is asked.
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=sys.stderr)


def _ends(name: str, found: Sequence[End]) -> dict[str, dict[str, Any]]:
    solved = wilson(sum(end.is_solved for end in found), len(found))
    mean, low, high = _mean([end.quality for end in found])
    return {
        f"success_{name}": {
            "value": solved.value, "low": solved.low, "high": solved.high, "n": len(found)
        },
        f"quality_{name}": {"value": mean, "low": low, "high": high, "n": len(found)},
    }  # fmt: skip


def _mean(values: Sequence[float]) -> tuple[float, float, float]:
    return float(np.mean(values)), *mean_interval(np.array(values))

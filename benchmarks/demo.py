"""The demo over several seeds: does the preferred rate rise and success stay?

Each seed is a whole run of `robopref demo` in `runs/bench-demo/<commit>/seed-K`; a benchmark that
was killed goes on where it was, unless the code is another one. `value` is the median over the
seeds, `low` and `high` the smallest and the largest.
"""

import statistics
import time
from pathlib import Path
from typing import Any

from robopref.align.collect import Workers
from robopref.align.config import AlignConfig
from robopref.align.evaluate import Evaluation
from robopref.align.loop import AlignmentLoop
from robopref.commands.bench import describe_commit, find_checkout

SEEDS = (0, 1, 2, 3, 4)
RUNS = Path("runs/bench-demo")


def run(quick: bool) -> dict[str, Any]:
    """Return the figures of one seed (quick) or five."""
    rows = []
    seeds = SEEDS[:1] if quick else SEEDS
    # A quick look starts afresh, since its time is one of its figures.
    runs = RUNS / (f"quick-{int(time.time())}" if quick else _code())
    with Workers(2) as workers:
        for seed in seeds:
            config = AlignConfig(seed=seed)
            loop = AlignmentLoop(config, runs / f"seed-{seed}", workers)
            evaluations = loop.execute()
            rows.append(_row(evaluations, loop))
            print(f"seed {seed}: {rows[-1]}")
    medians = {key: statistics.median(row[key] for row in rows) for key in rows[0]}
    return {
        "figures": {key: _figure(key, [row[key] for row in rows]) for key in rows[0]},
        "seeds": list(seeds),
        "per_seed": rows,
        **{key: value for key, value in medians.items() if key != "seconds_of_work"},
    }


def _code() -> str:
    """Return the short commit of this checkout, so that no figure is given to other code."""
    commit, *dirty = (describe_commit(find_checkout()) or "unknown").split("-")
    return "-".join([commit[:12], *dirty])


def _row(evaluations: dict[str, Evaluation], loop: AlignmentLoop) -> dict[str, float]:
    base, selected, aligned = (evaluations[k] for k in ("base", "selected", "aligned"))
    return {
        "success_before": base.success.value,
        "success_selected": selected.success.value,
        "success_after": aligned.success.value,
        # Not below what it was: the 95 % intervals meet.
        "success_kept": float(aligned.success.high >= base.success.low),
        "preferred_before": base.preferred.value,
        "preferred_selected": selected.preferred.value,
        "preferred_after": aligned.preferred.value,
        "joint_before": base.joint.value,
        "joint_after": aligned.joint.value,
        "labels": loop.run.figures("labels")["labels"],
        "seconds_of_work": loop.run.seconds,
    }


FLOORS = {"preferred_selected": 0.95, "preferred_after": 0.90, "success_kept": 1.0}
CEILINGS = {"seconds_of_work": 300.0}


def _figure(name: str, values: list[float]) -> dict[str, Any]:
    middle = statistics.median(values)
    ok = None
    if name in FLOORS:
        ok = middle >= FLOORS[name]
    elif name in CEILINGS:
        ok = middle <= CEILINGS[name]
    return {
        "value": middle, "low": min(values), "high": max(values), "n": len(values),
        "floor": FLOORS.get(name, CEILINGS.get(name)), "ok": ok,
    }  # fmt: skip

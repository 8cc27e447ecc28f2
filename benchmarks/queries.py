"""What to ask: rewards learned from 20 answers by different queries, with right and wrong answers.

Pools of the alignment benchmark (seed 0 of two cases each of the even, rare and long-horizon group;
recorded first where they are missing). The figure is the area under the curve by which the learned
return tells episodes that show what is preferred from those that do not, over seeds of teacher and
queries; 0.5 is chance.
"""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.align import prepare
from benchmarks.align_cases import CASES, DEFAULT, Item
from benchmarks.align_figures import bootstrap
from robopref.align.evaluate import measure_episode
from robopref.align.labels import Labels
from robopref.config import resolve
from robopref.workers import Workers

PLACES = (0, 1, 4, 7, 9, 10)
WAYS: dict[str, dict[str, Any]] = {
    "contrast, doubted": {"strategy": "contrast", "find_mistakes": True},
    **{
        name: {"strategy": name, "find_mistakes": False}
        for name in ("contrast", "coverage", "uniform", "batch-diverse", "disagreement")
    },
}
FLIPS = (0.0, 0.2)


def run(quick: bool, workers: Workers) -> dict[str, Any]:
    """Learn rewards in every way, with six seeds each, or one for two cases."""
    places, seeds = (PLACES[:2], 1) if quick else (PLACES, 6)
    with workers:
        found = list(workers.map(partial(areas, num_seeds=seeds), places))
    figures = {}
    for way, flips in product(WAYS, FLIPS):
        values = np.concatenate([case[way, flips] for case in found])
        figures[f"{way}, {flips:g} wrong"] = bootstrap(values)
        figures[f"{way}, {flips:g} wrong, share below 0.8"] = bootstrap(1.0 * (values < 0.8))
    return {"figures": figures, "cases": [CASES[place].name for place in places]}


def areas(place: int, num_seeds: int) -> dict[tuple[str, float], np.ndarray]:
    """Return the areas of a case, by way of asking and share of wrong answers."""
    item = Item("queries", CASES[place], 0, 20, 0.0, DEFAULT)
    with Workers(0) as workers:
        loop = prepare(item, workers)
    found = {}
    for (way, changes), flips in product(WAYS.items(), FLIPS):
        asked = replace(item, flips=flips)
        config = replace(loop.config, teacher=asked.teacher, num_labels=20, **changes)
        configs = [replace(config, seed=seed) for seed in range(num_seeds)]
        found[way, flips] = np.array([area(one, loop.store("pool")) for one in configs])
    return found


def area(config: Any, pool: Any) -> float:
    """Return the area under the curve of the reward that one teacher's answers give."""
    behaviour = resolve(config, "behaviour")
    episodes = list(pool)
    with tempfile.TemporaryDirectory() as folder:
        labels = Labels(config, Path(folder), pool, behaviour)
        labels.ask()
        reward, _ = labels.fit_reward()
        returns = labels.returns(reward, episodes)
    shown = np.array([behaviour.shows(measure_episode(behaviour, e)) for e in episodes])
    return _auc(returns[shown], returns[~shown])


def _auc(wanted: Sequence[float], others: Sequence[float]) -> float:
    above = np.subtract.outer(np.asarray(wanted), np.asarray(others))
    return float((above > 0).mean() + 0.5 * (above == 0).mean())

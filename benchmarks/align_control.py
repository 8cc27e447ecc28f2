"""Controls of the alignment benchmark: what is reached without labels, or with what nobody has."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.align_cases import Item
from robopref.align.collect import Workers
from robopref.align.evaluate import measure_episode
from robopref.align.loop import AlignmentLoop
from robopref.data.episode import Episode
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.distil import DistilConfig
from robopref.policies.serialization import load_policy
from robopref.seeding import make_generator


def run_control(
    item: Item, prepared: AlignmentLoop, directory: Path, workers: Workers
) -> dict[str, Any]:
    """Return the rates of a control and the seconds that it took.

    success-filter imitates the pool's successful episodes; true-reward imitates those of them that
    the measure itself likes best, as many as show the behaviour, at least one in ten; oracle is
    cloned from as many demonstrations, all of which show the behaviour.
    """
    start = time.monotonic()
    if item.method.control == "oracle":
        config = replace(prepared.config, preferred_share=1.0)
        loop = AlignmentLoop(config, directory, workers)
        loop.prepare_base()
        seconds = time.monotonic() - start
        return {"aligned": loop.evaluate_policy("base").to_dict(), "seconds": seconds}
    loop = AlignmentLoop(prepared.config, directory, workers)
    pool = [episode for episode in prepared.store("pool") if episode.succeeded]
    chosen = pool if item.method.control == "success-filter" else _best(pool, prepared.behaviour)
    DistilConfig().run(
        load_policy(prepared.directory / "base" / "policy"), FinetuneData(chosen),
        generator=make_generator(item.seed, "control"), directory=directory / "aligned",
    )  # fmt: skip
    seconds = time.monotonic() - start
    return {"aligned": loop.evaluate_policy("aligned").to_dict(), "seconds": seconds}


def _best(pool: list[Episode], behaviour: Any) -> list[Episode]:
    measures = np.array([measure_episode(behaviour, episode) for episode in pool])
    shown = sum(behaviour.shows(float(measure)) for measure in measures)
    num = max(shown, len(pool) // 10, 1)
    return [pool[i] for i in np.argsort(-measures, kind="stable")[:num]]

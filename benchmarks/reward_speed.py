"""How fast a reward ensemble trains, beside the imitation library and a plain loop over members.

All have 3 members of 3 x 256 and see pairs of 50-step segments with 39 observations and 4 actions,
32 pairs a step, and are timed in turns in the same run. A pair counts once, when all three members
have learned from it. Without the side environment `.venv-imitation` (`make peers`) the library's
speed is the committed one, scaled by a matrix product.
"""

import statistics
import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.imitation_process import Imitation
from benchmarks.timing import figure, matmul_seconds
from robopref.preferences.preference import PairwiseView
from robopref.rewards.fit import FitConfig
from robopref.rewards.mlp import MLPRewardConfig
from robopref.seeding import make_generator, make_rng
from robopref.trainer import TrainerConfig
from robopref.types import STATE, SegmentBatch

SHAPE: dict[str, Any] = {
    "num_members": 3, "hidden_sizes": [256, 256, 256], "length": 50, "obs_dim": 39,
    "action_dim": 4, "batch_size": 32,
}  # fmt: skip
COMMITTED: dict[str, Any] = {
    "imitation": "1.0.1", "threads": 1, "pairs_per_s": 230.5, "matmul_ms": 18.9,
}  # fmt: skip
"""The library's speed and the time of a 1024^3 product, medians of one run on an AMD EPYC; only
their product is used."""
FLOORS = {"float32": 4.0, "bf16": 8.0}
"""Times the library's speed."""


def run(quick: bool) -> dict[str, Any]:
    """Train in turns and return pairs a second of each, and the ratios."""
    num_pairs, rounds = (128, 3) if quick else (640, 7)
    notes: list[str] = []
    works: dict[str, Callable[[int], float]] = {
        "float32": lambda n: train_ours(n, "no"),
        "rankings_of_4": lambda n: train_ours(n, "no", items=4),
        "plain_loop": train_plain,
    }
    if has_bf16():
        works["bf16"] = lambda n: train_ours(n, "bf16")
    else:
        notes.append("bf16: this processor has neither avx512_bf16 nor amx_bf16; not measured.")
    before = matmul_seconds()
    if Imitation.is_there():
        with Imitation(SHAPE) as imitation:
            rates = time_in_turns({**works, "imitation": imitation.train}, num_pairs, rounds)
            reference = {"measured": True, **imitation.about}
    else:
        rates = time_in_turns(works, num_pairs, rounds)
        scale = COMMITTED["matmul_ms"] / (500 * (before + matmul_seconds()))
        rates["imitation"] = [scale * COMMITTED["pairs_per_s"]] * rounds
        reference = {"measured": False, "scaled_by": scale, **COMMITTED}
        notes.append("imitation: no .venv-imitation; its committed speed was scaled.")
    return {
        "figures": make_figures(rates),
        "reference": reference,
        "notes": notes,
        "matmul_ms_before_after": [1e3 * before, 1e3 * matmul_seconds()],
    }


def make_figures(rates: dict[str, list[float]]) -> dict[str, Any]:
    """Return speeds, and ours over those of the others round by round."""
    figures = {f"reward_{name}_pairs_per_s": figure(found) for name, found in rates.items()}
    for ours in FLOORS.keys() & rates.keys():
        for theirs in ("imitation", "plain_loop"):
            ratios = [a / b for a, b in zip(rates[ours], rates[theirs], strict=True)]
            floor = FLOORS[ours] if theirs == "imitation" else None
            figures[f"reward_{ours}_over_{theirs}"] = figure(ratios, floor=floor)
    return figures


def time_in_turns(
    works: dict[str, Callable[[int], float]], num_pairs: int, rounds: int
) -> dict[str, list[float]]:
    """Return pairs a second of each work in each round; what else runs then slows all alike."""
    for work in works.values():
        work(SHAPE["batch_size"])
    rates: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            rates[name].append(num_pairs / work(num_pairs))
    print({name: round(statistics.median(found)) for name, found in rates.items()}, flush=True)
    return rates


def train_ours(num_pairs: int, precision: Any, *, items: int = 2) -> float:
    """Return the seconds in which our reward trains on `num_pairs` pairs, its trainer included.

    Args:
        num_pairs: How many pairs it takes, over all its steps.
        precision: Of the forward pass, "no" or "bf16".
        items: Segments of a ranking; more than 2 give several pairs of the same segments.
    """
    num_steps = max(num_pairs // SHAPE["batch_size"], 1)
    trainer = TrainerConfig(
        num_steps=num_steps, batch_size=SHAPE["batch_size"], mixed_precision=precision
    )
    config = MLPRewardConfig(
        num_members=SHAPE["num_members"],
        hidden_sizes=tuple(SHAPE["hidden_sizes"]),
        n_action_steps=1,
        fit=FitConfig(trainer=trainer, validation_fraction=0.0),
    )
    reward = config.build(SHAPE["obs_dim"], SHAPE["action_dim"])
    preferences = make_preferences(SHAPE["batch_size"] if items > 2 else num_pairs, items)
    return reward.fit(preferences, generator=make_generator(0))["seconds"]


def make_preferences(num_pairs: int, items: int) -> PairwiseView:
    """Return the pairs of random rankings, in each of which every item is compared with each."""
    rng = make_rng(0, "pairs")
    inside = np.array([(a, b) for a in range(items) for b in range(a + 1, items)])
    num_rankings = -(-num_pairs // len(inside))
    pairs = (inside + items * np.arange(num_rankings)[:, None, None]).reshape(-1, 2)[:num_pairs]
    num_segments, length = items * num_rankings, SHAPE["length"]
    segments = SegmentBatch(
        {STATE: rng.standard_normal((num_segments, length, SHAPE["obs_dim"]), np.float32)},
        rng.uniform(-1, 1, (num_segments, length, SHAPE["action_dim"])).astype(np.float32),
        np.ones((num_segments, length), bool),
    )
    return PairwiseView(
        segments,
        tuple(str(i) for i in range(num_segments)),
        pairs[:, 0].astype(np.int64),
        pairs[:, 1].astype(np.int64),
        rng.integers(0, 2, len(pairs)).astype(np.float32),
        np.ones(len(pairs), np.float32),
    )


def train_plain(num_pairs: int) -> float:
    """Return the seconds of a plain torch loop: one network after the other, batches at hand."""
    generator = make_generator(0)
    size, batch = SHAPE["obs_dim"] + SHAPE["action_dim"], SHAPE["batch_size"]
    members = []
    for _ in range(SHAPE["num_members"]):
        sizes = [size, *SHAPE["hidden_sizes"]]
        layers: list[nn.Module] = []
        for i, o in pairwise(sizes):
            layers += [nn.Linear(i, o), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Linear(sizes[-1], 1))
        members.append((network, torch.optim.AdamW(network.parameters())))
    first, second = torch.randn(2, num_pairs, SHAPE["length"], size, generator=generator)
    prefers_b = torch.randint(2, (num_pairs,), generator=generator).float()
    start = time.perf_counter()
    for at in range(0, num_pairs, batch):
        for network, optimizer in members:
            a, b = (x[at : at + batch] for x in (first, second))
            logits = network(b).sum((1, 2)) - network(a).sum((1, 2))
            loss = binary_cross_entropy_with_logits(logits, prefers_b[at : at + batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return time.perf_counter() - start


def has_bf16() -> bool:
    """Return whether the processor multiplies bf16 numbers by itself."""
    checks = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, lambda: False)() for name in checks)

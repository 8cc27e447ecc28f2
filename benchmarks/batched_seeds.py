"""Whether the networks of several seeds train faster as one batched model, on this machine.

The alignment benchmark trains each seed by itself, a process a core. Here five perceptrons of the
default denoiser's size take gradient steps one after another, and all at once by batched matrix
products, in turns and on one thread.
"""

import time
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.timing import figure
from robopref.nn import EnsembleLinear
from robopref.seeding import make_generator

SEEDS, BATCH = 5, 256
SIZES = (110, *[256] * 7, 32)


def run(quick: bool) -> dict[str, Any]:
    """Time both in turns; return gradients a second, those of all seeds counted."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    generator = make_generator(0, "batched-seeds")
    x = torch.randn(SEEDS, BATCH, SIZES[0], generator=generator)
    pairs = list(pairwise(SIZES))
    alone = [_stack([nn.Linear(*sizes) for sizes in pairs]) for _ in range(SEEDS)]
    together = _stack([EnsembleLinear(SEEDS, *sizes, generator=generator) for sizes in pairs])
    ways: dict[str, Callable[[], None]] = {
        "one_after_another": lambda: _steps(alone, x),
        "as_one_model": lambda: _step(together, x),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(12 if quick else 100):
        for name, way in ways.items():
            start = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - start)
    torch.set_num_threads(threads)
    rates = {f"{name}_per_s": figure([SEEDS / t for t in of[2:]]) for name, of in times.items()}
    speed_up = [first / second for first, second in zip(*times.values(), strict=True)]
    return {"figures": {**rates, "speed_up_of_batching": figure(speed_up[2:])}}


def _stack(layers: list[nn.Module]) -> nn.Sequential:
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


def _step(network: nn.Module, x: Tensor) -> None:
    network.zero_grad()
    network(x).square().mean().backward()


def _steps(networks: list[nn.Sequential], x: Tensor) -> None:
    for network, own in zip(networks, x, strict=True):
        _step(network, own)

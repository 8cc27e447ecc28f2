"""Which episodes to hold out, so that validation shares none with training.

Code that validates on pairs drawn at random, or on training pairs, measures how well a reward
remembers episodes.

Shapes: N pairs, E episodes.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Bool, Int

NUM_TRIES = 8
"""Random starts of the greedy search; the best result is taken."""


def hold_out_episodes(
    pairs: Int[np.ndarray, "N 2"], fraction: float, rng: np.random.Generator
) -> Bool[np.ndarray, " E"]:
    """Choose episodes so that about `fraction` of the pairs, at least one, lie among them.

    Pairs between a held-out and another episode are lost. At least half of the pairs keep both
    episodes outside; within that, coming near to `fraction` counts first (to a tenth of it), and
    losing few pairs second.

    Args:
        pairs: The two episodes of each pair, numbered from 0.
        fraction: Share of the pairs wanted for validation; 0 holds out nothing.
        rng: Starts the search.

    Returns:
        Which episodes are held out; none where nothing can be.
    """
    best = np.zeros(int(pairs.max(initial=-1)) + 1, bool)
    if fraction == 0 or not len(pairs):
        return best
    target = max(1.0, fraction * len(pairs))
    best_cost = _cost(best, pairs, target)
    # A try takes time quadratic in the number of pairs, and of many pairs one try is good enough.
    for _ in range(min(NUM_TRIES, 1 + 4000 // len(pairs))):
        held = _grow(pairs, len(best), target, rng)
        cost = _cost(held, pairs, target)
        if cost < best_cost:
            best, best_cost = held, cost
    return best


def _cost(held: np.ndarray, pairs: np.ndarray, target: float) -> tuple[float, int]:
    inside, lost = _count(held, pairs)
    return abs(inside - target) // max(1.0, target / 10), lost


def _count(held: np.ndarray, pairs: np.ndarray) -> tuple[int, int]:
    """Return how many pairs lie inside the held-out episodes, and how many across the border."""
    sides = held[pairs].sum(axis=1)
    return int((sides == 2).sum()), int((sides == 1).sum())


def _grow(
    pairs: np.ndarray, num_episodes: int, target: float, rng: np.random.Generator
) -> np.ndarray:
    """Hold out more and more episodes, each time where it costs least, until `target` is inside."""
    held = np.zeros(num_episodes, bool)
    refused = np.zeros(num_episodes, bool)
    starts = iter(pairs[rng.permutation(len(pairs))])
    while _count(held, pairs)[0] < target:
        options = [*_next_start(starts, held), *_cheapest_neighbour(held, refused, pairs)]
        if not options:
            break
        addition = max(options, key=lambda option: _value(held, option, pairs))
        widened = _widen(held, addition)
        inside, lost = _count(widened, pairs)
        if 2 * (len(pairs) - inside - lost) >= len(pairs):
            held = widened
        elif len(addition) == 1:
            refused[addition] = True
    return held


def _next_start(starts: Iterator[np.ndarray], held: np.ndarray) -> list[np.ndarray]:
    """Return the two episodes of the next pair that lies wholly outside, if there is one."""
    return next(([pair] for pair in starts if not held[pair].any()), [])


def _cheapest_neighbour(
    held: np.ndarray, refused: np.ndarray, pairs: np.ndarray
) -> list[np.ndarray]:
    """Return the outside episode most of whose pairs lead inside, if any has one that does."""
    crossing = pairs[held[pairs].sum(axis=1) == 1]
    outer = crossing[~held[crossing]]
    links = np.bincount(outer, minlength=len(held))
    pairs_of = np.bincount(pairs.ravel(), minlength=len(held))
    usable = (links > 0) & ~held & ~refused
    if not usable.any():
        return []
    return [np.array([np.where(usable, 3 * links - pairs_of, -len(pairs) * 4).argmax()])]


def _value(held: np.ndarray, addition: np.ndarray, pairs: np.ndarray) -> int:
    """Return the pairs gained for validation, less those newly lost."""
    inside, lost = _count(held, pairs)
    inside_then, lost_then = _count(_widen(held, addition), pairs)
    return (inside_then - inside) - (lost_then - lost)


def _widen(held: np.ndarray, addition: np.ndarray) -> np.ndarray:
    widened = held.copy()
    widened[addition] = True
    return widened

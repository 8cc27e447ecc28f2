"""Seeds: one number names a run, and every random stream is derived from it by words.

`derive_seed(7, "collect", 3)` is the seed of the fourth stream of the stage `collect` of run 7.
Streams named by different words are independent, and adding one never shifts another.
"""

import hashlib
import random
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def derive_seed(seed: int, *path: str | int) -> int:
    """Return a 63-bit seed for the stream called `path` under `seed`.

    Example:
        >>> derive_seed(0, "collect", 1) == derive_seed(0, "collect", 1)
        True
        >>> derive_seed(0, "collect", 1) == derive_seed(0, "collect", 2)
        False
    """
    text = "/".join([str(seed), *(f"{type(part).__name__}:{part}" for part in path)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def make_rng(seed: int, *path: str | int) -> np.random.Generator:
    """Return numpy's generator for the stream called `path` under `seed`."""
    return np.random.default_rng(derive_seed(seed, *path))


def make_generator(seed: int, *path: str | int, device: str = "cpu") -> "torch.Generator":
    """Return torch's generator for the stream called `path` under `seed`."""
    import torch

    return torch.Generator(device=device).manual_seed(derive_seed(seed, *path))


def derive_uuid(seed: int, *path: str | int) -> str:
    """Return a UUID that is the same each time for `seed` and `path`.

    An interrupted run that records an episode again gives it the same identity.
    """
    rng = random.Random(derive_seed(seed, "uuid", *path))
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def draw_uuid(rng: np.random.Generator) -> str:
    """Return a UUID that is drawn from `rng`.

    Example:
        >>> draw_uuid(np.random.default_rng(0)) == draw_uuid(np.random.default_rng(0))
        True
    """
    return str(uuid.UUID(bytes=rng.bytes(16), version=4))


@contextmanager
def seeded_weights(generator: "torch.Generator | None") -> Iterator[None]:
    """Draw the first weights of modules built inside from `generator`.

    torch's own generator, which `nn.Linear` and the like use, is left as it was.

    Args:
        generator: On the CPU; None for weights that a checkpoint replaces anyway.
    """
    import torch

    with torch.random.fork_rng(devices=[]):
        if generator is not None:
            torch.manual_seed(int(torch.randint(2**62, (), generator=generator)))
        yield

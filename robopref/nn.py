"""Network pieces that more than one part uses.

Shapes: M ensemble members, B batch, D features.
"""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn


class Normalizer(nn.Module):
    """Shifts and scales features; its numbers are buffers and are saved with the model.

    Args:
        size: Number of features.
        mode: "range" maps the seen range to [-1, 1], "gaussian" to zero mean and unit deviation.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, size: int, mode: Literal["range", "gaussian"] = "range") -> None:
        super().__init__()
        self.mode = mode
        self.register_buffer("loc", torch.zeros(size))
        self.register_buffer("scale", torch.ones(size))

    def fit(self, statistics: Mapping[str, np.ndarray]) -> None:
        """Take the numbers from LeRobot-style statistics: min, max, mean, std, each (D,).

        A feature that does not vary is shifted and not scaled: a scale of almost nothing would
        turn noise that training never saw into huge values.
        """
        stats = {k: torch.as_tensor(np.asarray(v), dtype=torch.float64) for k, v in
                 statistics.items() if k in ("min", "max", "mean", "std")}  # fmt: skip
        if self.mode == "range":
            loc, scale = (stats["max"] + stats["min"]) / 2, (stats["max"] - stats["min"]) / 2
        else:
            loc, scale = stats["mean"], stats["std"]
        self.loc.copy_(loc)
        self.scale.copy_(torch.where(scale < 1e-6, torch.ones_like(scale), scale))

    def forward(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Return normalised features."""
        return (x - self.loc) / self.scale

    def inverse(self, x: Float[Tensor, "*B D"]) -> Float[Tensor, "*B D"]:
        """Return features in their own units."""
        return x * self.scale + self.loc

"""Network pieces that more than one part uses.

Shapes: M ensemble members, B batch, D features, I inputs of a layer, O its outputs.
"""

import contextlib
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear

MANY_ROWS = 512
"""Rows from which on members one by one are faster than a batched product, on a CPU in float32."""

MIN_PARAMETERS_FOR_THREADS = 2_000_000
"""Trained numbers from which on a training on a CPU uses torch's threads.

A product of smaller layers is over before threads that share their cores with other programs have
met: on two busy cores, a step of six linear layers at batch 256 took 5 ms by one thread and 37 ms
by two at 0.1 million numbers, 61 and 204 ms at 1.6 million. Beyond, a machine that is free gains
more by its threads than a busy one loses.
"""


@contextlib.contextmanager
def threads_for(optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Let torch use one thread on the CPU within, where what is trained is small.

    `OMP_NUM_THREADS` in the environment overrides this: then torch keeps the threads that it says.
    """
    trained = [p for group in optimizer.param_groups for p in group["params"]]
    on_cpu = all(parameter.device.type == "cpu" for parameter in trained)
    is_small = sum(parameter.numel() for parameter in trained) < MIN_PARAMETERS_FOR_THREADS
    if "OMP_NUM_THREADS" in os.environ or not (on_cpu and is_small):
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


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


class EnsembleLinear(nn.Module):
    """M linear layers as one batched product: one call instead of M small ones.

    Args:
        num_members: M.
        in_features: I.
        out_features: O.
        generator: Draws the weights, so that no global random state is touched.
    """

    def __init__(
        self, num_members: int, in_features: int, out_features: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(num_members, in_features, out_features))
        self.bias = nn.Parameter(torch.empty(num_members, 1, out_features))
        self.reset_parameters(generator)

    @torch.no_grad()
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights, uniform within 1/sqrt(I) as `nn.Linear` does."""
        bound = 1 / math.sqrt(self.weight.shape[1])
        for parameter in (self.weight, self.bias):
            parameter.copy_(
                torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
            )

    def forward(self, x: Float[Tensor, "M B I"]) -> Float[Tensor, "M B O"]:
        """Return every member's outputs; `x` may be one input expanded to all members."""
        return torch.baddbmm(self.bias, x, self.weight)


class EnsembleMLP(nn.Module):
    """M multilayer perceptrons with ReLU, trained and evaluated as one.

    Args:
        num_members: M.
        in_features: I.
        hidden_sizes: Width of each hidden layer.
        out_features: O.
        generator: Draws the weights.
    """

    def __init__(
        self,
        num_members: int,
        in_features: int,
        hidden_sizes: Sequence[int],
        out_features: int,
        *,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        sizes = [in_features, *hidden_sizes, out_features]
        self.num_members = num_members
        self.layers = nn.ModuleList(
            EnsembleLinear(num_members, size, next_size, generator=generator)
            for size, next_size in pairwise(sizes)
        )

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights for every layer."""
        for layer in self.layers:
            assert isinstance(layer, EnsembleLinear)
            layer.reset_parameters(generator)

    def forward(self, x: Float[Tensor, "B I"] | Float[Tensor, "M B I"]) -> Float[Tensor, "M B O"]:
        """Return every member's outputs for inputs of its own, or for one input shared by all."""
        many = x.shape[-2] >= MANY_ROWS and not torch.is_autocast_enabled("cpu")
        if many and x.device.type == "cpu":
            return self._forward_by_member(x)
        hidden = x if x.ndim == 3 else x.expand(self.num_members, -1, -1)
        for layer in self.layers[:-1]:
            # In place: the product's own backward pass does not need what it returned.
            hidden = torch.relu_(layer(hidden))
        outputs: Tensor = self.layers[-1](hidden)
        return outputs

    def _forward_by_member(
        self, x: Float[Tensor, "B I"] | Float[Tensor, "M B I"]
    ) -> Float[Tensor, "M B O"]:
        """Return the same, one member after the other: what each works on stays near the cache.

        By oneDNN where it is there: on some processors (AMD's) it multiplies float32 at twice the
        speed of MKL, as precisely, but torch gives it only tensors in its own layout. That layout
        has no second derivatives.
        """
        layers = [layer for layer in self.layers if isinstance(layer, EnsembleLinear)]
        weights = [layer.weight.mT.unbind() for layer in layers]
        biases = [layer.bias.squeeze(1).unbind() for layer in layers]
        onednn = x.dtype == torch.float32 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
        outputs = []
        for member in range(self.num_members):
            hidden = x if x.ndim == 2 else x[member]
            hidden = hidden.to_mkldnn() if onednn else hidden
            for weight, bias in zip(weights[:-1], biases[:-1], strict=True):
                hidden = torch.relu_(linear(hidden, weight[member], bias[member]))
            hidden = linear(hidden, weights[-1][member], biases[-1][member])
            outputs.append(hidden.to_dense() if onednn else hidden)
        return torch.stack(outputs)

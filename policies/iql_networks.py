"""Perceptrons of many members whose weights are one vector and whose gradient is written out.

At the size of IQL's networks autograd's bookkeeping, new memory for every result, and an optimiser
that goes through tensors one by one cost nearly as much as the products. Here the gradient of an
`EnsembleMLP` is worked out by hand into one vector, beside the weights, which are one vector too:
Adam and the target network then take one call each.

Shapes: M members, B batch, I inputs of a layer, O its outputs.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.nn import EnsembleLinear, EnsembleMLP

CACHE_LINE = 16
"""Numbers of 4 bytes in 64 bytes; products are faster where a matrix begins with a line."""
NARROW = 16
"""Layers with fewer outputs multiply transposed: as they stand, the matrix library takes five times
as long for a single output."""
WIDE = 64
"""With bf16, products are rounded in which every size is at least this: what the networks are given
and what they return are not, and hold what rounding to three digits would lose."""


def stack_members(
    members: Sequence[torch.Generator], build: Callable[[torch.Generator], EnsembleMLP]
) -> EnsembleMLP:
    """Return one ensemble of single networks, each drawn by its own generator.

    So a member's weights do not depend on who else is in the ensemble.
    """
    single = [build(generator) for generator in members]
    layers = [layer for layer in single[0].layers if isinstance(layer, EnsembleLinear)]
    hidden_sizes = [layer.weight.shape[2] for layer in layers[:-1]]
    stacked = EnsembleMLP(
        len(single), layers[0].weight.shape[1], hidden_sizes, layers[-1].weight.shape[2],
        generator=torch.Generator(),
    )  # fmt: skip
    states = [network.state_dict() for network in single]
    stacked.load_state_dict({key: torch.cat([one[key] for one in states]) for key in states[0]})
    return stacked


def flatten_parameters(parameters: Sequence[nn.Parameter]) -> nn.Parameter:
    """Return the vector of which `parameters` and their gradients are parts from now on.

    Each part begins at a cache line; what lies between stays 0.
    """
    sizes = [-(-p.numel() // CACHE_LINE) * CACHE_LINE for p in parameters]
    first = parameters[0]
    flat = nn.Parameter(torch.zeros(sum(sizes), dtype=first.dtype, device=first.device))
    flat.grad = torch.zeros_like(flat)
    starts = torch.tensor([0, *sizes]).cumsum(0).tolist()
    for parameter, (start, _) in zip(parameters, pairwise(starts), strict=True):
        part = slice(start, start + parameter.numel())
        flat.data[part] = parameter.detach().flatten()
        parameter.data = flat.data[part].view_as(parameter)
        parameter.grad = flat.grad[part].view_as(parameter)
    return flat


class WrittenOutMLP:
    """Runs an `EnsembleMLP` forward and backward without autograd.

    What it returns is overwritten by the next call.

    Args:
        network: The perceptrons; gradients go to `grad` of its parameters, which must be there if
            `backward` is called.
        bf16: Multiply hidden layers by hidden layers in bfloat16.
    """

    def __init__(self, network: EnsembleMLP, *, bf16: bool = False) -> None:
        self._bf16 = bf16
        layers: list[Any] = list(network.layers)
        self._weights = [layer.weight.detach() for layer in layers]
        self._biases = [layer.bias.detach() for layer in layers]
        self._gradients = [(layer.weight.grad, layer.bias.grad) for layer in layers]
        self._rooms: dict[tuple[str, int], Tensor] = {}

    def forward(self, x: Float[Tensor, "M B I"]) -> tuple[Float[Tensor, "M B O"], list[Tensor]]:
        """Return the outputs, and what each layer was given, for `backward`."""
        inputs = [x]
        last = len(self._weights) - 1
        for i, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            if weight.shape[-1] < NARROW:
                x = torch.bmm(weight.mT, x.mT).mT + bias
            else:
                room = self._room("output", i, (*x.shape[:2], weight.shape[-1]))
                x = self._multiply(x, weight, room).add_(bias)
            if i < last:
                inputs.append(x.relu_())
        return x, inputs

    def backward(self, inputs: Sequence[Tensor], gradient: Float[Tensor, "M B O"]) -> None:
        """Replace the gradients of all weights.

        Args:
            inputs: What `forward` returned.
            gradient: Of the loss, with respect to the outputs.
        """
        for i in range(len(inputs) - 1, -1, -1):
            to_weight, to_bias = self._gradients[i]
            torch.sum(gradient, 1, keepdim=True, out=to_bias)
            if gradient.shape[-1] < NARROW:
                to_weight.copy_(torch.bmm(gradient.mT, inputs[i]).mT)
            else:
                self._multiply(inputs[i].mT, gradient, to_weight)
            if i > 0:
                gradient = self._before(i, gradient, inputs[i])

    def _before(self, i: int, gradient: Tensor, relu: Tensor) -> Tensor:
        """Return the gradient with respect to what the relu before layer `i` was given."""
        weight = self._weights[i].mT
        room = self._room("gradient", i, tuple(relu.shape))
        if gradient.shape[-1] == 1:  # The product is the outer one.
            torch.mul(gradient, weight, out=room)
        else:
            self._multiply(gradient, weight, room)
        # Its input was positive where its output is.
        torch.ops.aten.threshold_backward.grad_input(room, relu, 0, grad_input=room)
        return room

    def _multiply(self, a: Tensor, b: Tensor, out: Tensor) -> Tensor:
        if self._bf16 and min(*a.shape[1:], b.shape[-1]) >= WIDE:
            return out.copy_(torch.bmm(a.bfloat16(), b.bfloat16()))
        return torch.bmm(a, b, out=out)

    def _room(self, name: str, layer: int, shape: tuple[int, ...]) -> Tensor:
        """Return memory that is used again in every update."""
        room = self._rooms.get((name, layer))
        if room is None or room.shape != shape:
            weight = self._weights[layer]
            room = torch.empty(shape, dtype=weight.dtype, device=weight.device)
            self._rooms[name, layer] = room
        return room

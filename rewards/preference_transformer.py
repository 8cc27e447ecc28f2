"""Preference Transformer [1]: a reward that sees what came before, and weighs the steps itself.

A causal transformer reads states and actions; each step gets a value from what happened up to it.
A preference attention layer, which sees the whole segment, gives each step a weight, and the
return is the weighted sum of the values ([1], eq. 7). All members are one batched module.

Differences from the authors' code: the weighted sum is always used (there it is off by default);
the weights are 1 on average instead of summing to 1, the same for segments of one length, so that
segments of several lengths compare by sums as with every other reward; the position of a step is a
fixed sinusoid and not a learned vector, so that segments may be of any length; no dropout.

Shapes: M members, B batch, L segment length, X tokens (2 L), E embedding size, Do observation size,
Da action size, O outputs of a network.
Notation: code name -> symbol in [1]: value -> r-hat, weight -> w, return -> z.

References:
    [1] Kim et al., Preference Transformer: modeling human preferences using transformers for RL,
        2023, arXiv:2303.00957.
"""

import math
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import layer_norm, scaled_dot_product_attention

from robopref.errors import check_at_least
from robopref.nn import EnsembleLinear, EnsembleMLP
from robopref.rewards.ensemble import EnsembleReward
from robopref.rewards.fit import FitConfig, Inputs
from robopref.seeding import make_generator
from robopref.trainer import TrainerConfig
from robopref.types import SegmentBatch


@dataclass(frozen=True)
class PreferenceTransformerConfig:
    """An ensemble of Preference Transformers."""

    num_members: int = 3
    """Networks in the ensemble."""
    embedding_size: int = 64
    """Size of a token."""
    num_layers: int = 1
    """Transformer blocks."""
    num_heads: int = 4
    """Attention heads of a block."""
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(
            trainer=TrainerConfig(
                num_steps=200,
                batch_size=64,
                learning_rate=1e-3,
                weight_decay=1e-2,
                warmup_steps=20,
                validation_interval=25,
                patience=4,
            )
        )
    )
    """How it learns from preferences."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_members", "embedding_size", "num_layers", "num_heads"):
            check_at_least(name, getattr(self, name), 1)
        if self.embedding_size % (2 * self.num_heads):
            raise ValueError(
                f"`embedding_size` (={self.embedding_size}) must be a multiple of twice "
                f"`num_heads` (={self.num_heads})."
            )

    def build(
        self, obs_dim: int, action_dim: int, *, generator: torch.Generator | None = None
    ) -> "PreferenceTransformer":
        """Return an untrained reward; without a generator its weights are always the same."""
        return PreferenceTransformer(
            self, obs_dim, action_dim, generator or make_generator(0, "reward")
        )


class PreferenceTransformer(EnsembleReward):
    """Weighted sum of values that a causal transformer gives to the steps.

    The reward of a step is its share in the return, weight times value; it depends on the whole
    segment through the weight. `step_values` are the values, which depend on the past alone; the
    authors use these for reinforcement learning. A candidate chunk alone is no segment, so there is
    no way to an action scorer in this class.

    Args:
        config: How it is built and fitted.
        obs_dim: Do.
        action_dim: Da.
        generator: Draws the first weights.
    """

    num_outputs: ClassVar[int] = 1
    """Numbers that a network gives each step; its value is the first."""
    config: PreferenceTransformerConfig

    def __init__(
        self,
        config: PreferenceTransformerConfig,
        obs_dim: int,
        action_dim: int,
        generator: torch.Generator,
    ) -> None:
        super().__init__(config, obs_dim, action_dim, config.num_members)
        num_members, size = config.num_members, config.embedding_size
        self.embed_state = EnsembleLinear(num_members, obs_dim, size, generator=generator)
        self.embed_action = EnsembleLinear(num_members, action_dim, size, generator=generator)
        self.blocks = nn.ModuleList(
            _Block(num_members, size, config.num_heads, generator) for _ in range(config.num_layers)
        )
        self.norm = _EnsembleNorm(num_members, size)
        self.query = EnsembleLinear(num_members, size, size, generator=generator)
        self.key = EnsembleLinear(num_members, size, size, generator=generator)
        self.value = EnsembleLinear(num_members, size, self.num_outputs, generator=generator)

    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights."""
        for module in self.modules():
            if isinstance(module, EnsembleLinear):
                module.reset_parameters(generator)
            elif isinstance(module, _EnsembleNorm):
                module.reset_parameters()

    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Bool[Tensor, "B L"],
    ) -> dict[str, Tensor]:
        """Return the normalised `state` and `action`, and `mask`."""
        return {
            "state": self.normalize_state(state),
            "action": self.normalize_action(action),
            "mask": mask,
        }

    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return weight times value of each step."""
        embedded = self._read(inputs)
        return self._weights(embedded, inputs["mask"]) * self._values(embedded, inputs["mask"])

    def step_values(self, segments: SegmentBatch) -> Float[np.ndarray, "B L"]:
        """Return the members' mean value of each step, which no later step changes."""
        values: np.ndarray = self._evaluate(segments, "compute_values").mean(axis=0)
        return values

    def compute_values(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return every member's value of each step; padded steps are 0."""
        return self._values(self._read(inputs), inputs["mask"])

    def _read(self, inputs: Inputs) -> Float[Tensor, "M B L E"]:
        """Return what the transformer makes of each step once its action is known."""
        num_segments, length = inputs["mask"].shape
        tokens = [
            embed(inputs[name].flatten(0, 1).expand(self.num_members, -1, -1))
            for name, embed in (("state", self.embed_state), ("action", self.embed_action))
        ]
        place = _sinusoids(length, self.config.embedding_size, tokens[0].device)
        shape = (self.num_members, num_segments, length, self.config.embedding_size)
        stacked = torch.stack([token.view(shape) + place for token in tokens], dim=3)
        hidden = stacked.flatten(2, 3)
        for block in self.blocks:
            hidden = block(hidden)
        read: Tensor = self.norm(hidden)[:, :, 1::2]
        return read

    def _values(
        self, embedded: Float[Tensor, "M B L E"], mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "M B L"]:
        return self._outputs(embedded)[..., 0] * mask

    def _outputs(self, embedded: Float[Tensor, "M B L E"]) -> Float[Tensor, "M B L O"]:
        """Return the numbers that every member gives each step."""
        return _each(self.value, embedded)

    def _weights(
        self, embedded: Float[Tensor, "M B L E"], mask: Bool[Tensor, "B L"]
    ) -> Float[Tensor, "M B L"]:
        """Return how much each step counts, 1 on average ([1], eq. 6, times the real steps)."""
        query, key = _each(self.query, embedded), _each(self.key, embedded)
        affinity = query @ key.transpose(-1, -2) / math.sqrt(self.config.embedding_size)
        # The most negative number and not -inf: a segment without steps must not give NaN.
        affinity = affinity.masked_fill(~mask[:, None], torch.finfo(affinity.dtype).min)
        # Mean over the real queries, times the number of real steps: that is the plain sum.
        return (affinity.softmax(-1) * mask[..., None]).sum(-2) * mask


class _Block(nn.Module):
    """Causal self-attention and a perceptron, each after a normalisation, each added to its input.

    Real steps come first, so the causal mask alone keeps padded steps from every real one.
    """

    def __init__(
        self, num_members: int, size: int, num_heads: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = _EnsembleNorm(num_members, size)
        self.query_key_value = EnsembleLinear(num_members, size, 3 * size, generator=generator)
        self.project = EnsembleLinear(num_members, size, size, generator=generator)
        self.perceptron_norm = _EnsembleNorm(num_members, size)
        self.perceptron = EnsembleMLP(num_members, size, [4 * size], size, generator=generator)

    def forward(self, hidden: Float[Tensor, "M B X E"]) -> Float[Tensor, "M B X E"]:
        """Return the tokens after this block."""
        num_members, num_segments, num_tokens, size = hidden.shape
        projected = _each(self.query_key_value, self.attention_norm(hidden))
        split = projected.view(
            num_members * num_segments, num_tokens, 3, self.num_heads, size // self.num_heads
        )
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(query, key, value, is_causal=True)
        joined = attended.transpose(1, 2).reshape(hidden.shape)
        hidden = hidden + _each(self.project, joined)
        return hidden + _each(self.perceptron, self.perceptron_norm(hidden))


class _EnsembleNorm(nn.Module):
    """Layer normalisation with scales of each member's own."""

    def __init__(self, num_members: int, size: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(num_members, 1, 1, size))
        self.shift = nn.Parameter(torch.zeros(num_members, 1, 1, size))

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Go back to no scaling and no shift."""
        self.scale.fill_(1.0)
        self.shift.zero_()

    def forward(self, hidden: Float[Tensor, "M B X E"]) -> Float[Tensor, "M B X E"]:
        """Return normalised tokens."""
        return layer_norm(hidden, hidden.shape[-1:]) * self.scale + self.shift


def _each(layer: nn.Module, x: Float[Tensor, "M B X I"]) -> Float[Tensor, "M B X O"]:
    """Apply an ensemble layer to each token of each segment."""
    outputs: Tensor = layer(x.flatten(1, 2))
    return outputs.view(*x.shape[:3], outputs.shape[-1])


def _sinusoids(length: int, size: int, device: torch.device) -> Float[Tensor, "L E"]:
    """Return the position of each step as sines and cosines of falling frequency."""
    frequency = torch.exp(-math.log(10_000.0) * torch.arange(0, size, 2, device=device) / size)
    angle = torch.arange(length, device=device)[:, None] * frequency
    return torch.cat([angle.sin(), angle.cos()], dim=-1)

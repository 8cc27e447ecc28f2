"""How a reward ensemble learns from pairs: its options, split, batches and objective.

Shapes: S distinct segments, N pairs, B pairs of a batch, M members.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robopref.config import write_text_atomically
from robopref.errors import CheckpointError, check_above, check_at_least, check_between
from robopref.preferences.preference import PairwiseView
from robopref.rewards.losses import PairBatch, smooth_labels
from robopref.trainer import Batch, TrainerConfig
from robopref.types import STATE

Inputs = Mapping[str, Tensor]
"""What a reward makes of segments before its networks see them; first axis the segment."""


@dataclass(frozen=True)
class FitConfig:
    """How an ensemble is fitted to preferences."""

    temperature: float = 1.0
    """Difference of segment returns that makes the odds e : 1."""
    bootstrap: bool = False
    """Give each member its own resample of the pairs; with few labels that costs accuracy."""
    label_smoothing: float = 0.0
    """Draw every label this share of the way towards a tie."""
    mistake_rate: float = 0.0
    """Share of the answers that are taken to be turned around, which the loss corrects for."""
    validation_fraction: float = 0.2
    """Share of the pairs held out, by whole episodes, when no validation pairs are given."""
    min_validation_pairs: int = 10
    """With fewer held-out pairs than this, train for all steps instead of stopping early."""
    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            num_steps=200,
            batch_size=128,
            learning_rate=3e-4,
            weight_decay=1e-2,
            warmup_steps=20,
            validation_interval=25,
            patience=4,
        )
    )
    """Steps, batch size in pairs, learning rate and the like."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_above("temperature", self.temperature, 0)
        for name, bound in (("label_smoothing", 1), ("mistake_rate", 0.5)):
            check_at_least(name, getattr(self, name), 0)
            if not getattr(self, name) < bound:
                raise ValueError(f"`{name}` must be below {bound}, got {getattr(self, name)}.")
        check_between("validation_fraction", self.validation_fraction, 0, 0.5)
        check_at_least("min_validation_pairs", self.min_validation_pairs, 1)


def split_validation(
    preferences: PairwiseView,
    validation: PairwiseView | None,
    config: FitConfig,
    generator: torch.Generator,
) -> tuple[PairwiseView, PairwiseView | None]:
    """Return training pairs, and validation pairs if there are enough to stop early by.

    Pairs that were given are used as they are; otherwise whole episodes are held out, and given
    back to training when too few pairs lie among them.
    """
    if validation is not None:
        return preferences, validation if len(validation) >= config.min_validation_pairs else None
    if len(preferences) * config.validation_fraction < config.min_validation_pairs:
        return preferences, None
    seed = int(torch.randint(2**62, (), generator=generator))
    training, held_out = preferences.split(config.validation_fraction, np.random.default_rng(seed))
    if len(held_out) < config.min_validation_pairs or (training.prefers_b == 0.5).all():
        return preferences, None
    return training, held_out


def claim_folder(directory: Path, preferences: PairwiseView) -> None:
    """Note in `directory` which pairs are fitted there.

    Raises:
        CheckpointError: A fit to other pairs was begun there. To go on with it would silently
            pass over the answers that came in since.
    """
    digest = digest_pairs(preferences)
    note = directory / "preferences.sha256"
    if not note.is_file():
        write_text_atomically(note, digest)
    elif note.read_text() != digest:
        raise CheckpointError(
            f"'{directory}' holds a fit to other preferences. Delete it, or give another folder."
        )


def digest_pairs(preferences: PairwiseView) -> str:
    """Return a hash of pairs, their weights and their segments."""
    digest = hashlib.sha256()
    segments = preferences.segments
    for values in (
        preferences.a,
        preferences.b,
        preferences.prefers_b,
        preferences.weight,
        segments.mask,
        segments.action[segments.mask],
        segments.obs[STATE][segments.mask],
    ):
        digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()


class PairSource:
    """Gives the trainer indices of pairs; a batch that would hold all pairs holds each once."""

    def __init__(self, num_pairs: int, batch_size: int) -> None:
        self._num_pairs = num_pairs
        self.hands_out_all = num_pairs <= batch_size

    def __len__(self) -> int:
        """Return the number of pairs."""
        return self._num_pairs

    def gather(self, indices: Tensor) -> Batch:
        """Return the pairs at `indices`."""
        return {"pair": indices}


class PairObjective(nn.Module):
    """Bradley-Terry loss of an ensemble on pairs; the segments are kept on the device, each once.

    Args:
        reward: The module that is trained.
        pair_losses: Its method that gives every member's loss on a batch of pairs.
        inputs: What its networks see of the S segments.
        preferences: The pairs, compact.
        num_members: M.
        config: Temperature, how labels are doubted, and whether members resample the pairs.
        generator: Draws the resamples; None for none, as validation needs.
    """

    a: Tensor
    b: Tensor
    prefers_b: Tensor
    weight: Tensor

    def __init__(
        self,
        reward: nn.Module,
        pair_losses: Callable[[Inputs, PairBatch, torch.Generator | None], Tensor],
        inputs: Inputs,
        preferences: PairwiseView,
        *,
        num_members: int,
        config: FitConfig,
        generator: torch.Generator | None,
    ) -> None:
        super().__init__()
        self.reward = reward
        self._pair_losses = pair_losses
        self.config = config
        self.couples_rows = getattr(reward, "couples_rows", False)
        self._names = list(inputs)
        buffers = {f"input_{name}": value for name, value in inputs.items()} | {
            "a": torch.from_numpy(preferences.a),
            "b": torch.from_numpy(preferences.b),
            "prefers_b": smooth_labels(
                torch.from_numpy(preferences.prefers_b), config.label_smoothing
            ),
            "weight": draw_weights(
                preferences.weight, np.arange(len(preferences)), num_members, config, generator
            ),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value, persistent=False)

    def forward(self, batch: Batch, generator: torch.Generator) -> tuple[Tensor, dict[str, float]]:
        """Return the mean loss of the members on the pairs in `batch`."""
        return self._losses(batch["pair"], generator).mean(), {}

    def validate(self) -> dict[str, float]:
        """Return the mean loss of the members on all pairs; nothing is drawn for it."""
        pair = torch.arange(len(self.a), device=self.a.device)
        return {"loss": self._losses(pair, None).mean().item()}

    def _losses(self, pair: Tensor, generator: torch.Generator | None) -> Float[Tensor, " M"]:
        inputs = {name: getattr(self, f"input_{name}") for name in self._names}
        batch = PairBatch(
            self.a[pair],
            self.b[pair],
            self.prefers_b[pair],
            self.weight[:, pair],
            self.config.temperature,
            self.config.mistake_rate,
        )
        return self._pair_losses(inputs, batch, generator)


def draw_weights(
    weight: Float[np.ndarray, " N"],
    answer: Int[np.ndarray, " N"],
    num_members: int,
    config: FitConfig,
    generator: torch.Generator | None,
) -> Float[Tensor, "#M N"]:
    """Return weights of mean 1, times how often each member's resample drew the answer.

    Args:
        weight: Of each comparison.
        answer: Number of the answer that each comes from, from 0 on.
        num_members: M.
        config: Whether members resample the answers.
        generator: Draws the resamples; None for none.
    """
    weights = torch.from_numpy(weight).float()[None]
    if config.bootstrap and generator is not None:
        num = int(answer.max()) + 1
        drawn = torch.randint(num, (num_members, num), generator=generator)
        counts = torch.zeros(num_members, num).scatter_add_(1, drawn, torch.ones(drawn.shape))
        weights = weights * counts[:, torch.from_numpy(answer)]
    return weights / weights.mean(-1, keepdim=True).clamp_min(1e-12)

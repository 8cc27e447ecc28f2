"""Fine-tuning on ranked action candidates: as DeformPAM does it, and what we found to be better.

Shapes: B rankings, K candidates.

References:
    [1] Chen et al., DeformPAM: Data-efficient learning for long-horizon deformable object
        manipulation via preference-based action alignment, 2024, arXiv:2410.11584.
"""

from dataclasses import dataclass, field
from typing import ClassVar

from torch import Tensor

from robopref.policies.finetune.dpo import DPOConfig, derivative
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.lists import PlackettLuceConfig
from robopref.policies.finetune.tuning import tuning
from robopref.trainer import TrainerConfig


@dataclass(frozen=True)
class DeformPAMConfig(DPOConfig):
    """Fine-tune on rankings of candidates with the settings of DeformPAM [1].

    Every pair that a ranking puts in an order counts alike; candidates that tie, and those left out
    as hard to distinguish, are not compared with one another. The reference is the policy that the
    tuned one started from, frozen whole. In the code that was published the reference shares the
    head that is being trained, and its link is `ramp`.
    """

    group_size: ClassVar[int | None] = None

    trainer: TrainerConfig = field(default_factory=lambda: tuning(1400, 1e-5))
    """Training; a batch is of so many chunks, whatever the size of the groups."""
    groups: GroupsConfig = field(default_factory=lambda: GroupsConfig("rankings"))
    """Where the chunks come from."""
    dpo_beta: float = 100.0
    """How strongly the policy is held to the base: the scale of the implicit reward."""
    safeguard: float = 0.0
    """How much of the best chunk's progress must survive the gradient of each other one, 0 to 1;
    0 leaves those gradients as they are."""
    anchor: float = 0.0
    """Weight of the denoising loss on the best chunk of each group."""
    shared_noise: bool = False
    """Give the chunks of a group the same noise; else only the denoising step is the same, which
    makes their errors differ for another reason than what they do."""

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return the mean loss of the pairs of each ranking that were put in an order."""
        held = derivative(self.divergence, implicit, self.alpha)
        margin, gap = (value[:, :, None] - value[:, None, :] for value in (held, gains))
        above = gap.nan_to_num(0.0) > 0
        losses = self.pair_losses(margin, gap.masked_fill(~above, 1.0)).masked_fill(~above, 0.0)
        return losses.sum((1, 2)) / above.sum((1, 2)).clamp_min(1)


@dataclass(frozen=True)
class DeformPAMPlusConfig(PlackettLuceConfig):
    """Fine-tune on rankings of candidates by their likelihood, safeguarded and anchored."""

    trainer: TrainerConfig = field(default_factory=lambda: tuning(400, 1e-4, 50))
    """Training; a batch is of so many chunks, whatever the size of the groups."""
    groups: GroupsConfig = field(default_factory=lambda: GroupsConfig("rankings"))
    """Where the chunks come from."""
    dpo_beta: float = 100.0
    """How strongly the policy is held to the base: the scale of the implicit reward."""
    draws_per_group: int = 4
    """Steps and noises that each group of a batch meets."""

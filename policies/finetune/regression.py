"""Regression of differences: implicit rewards are to differ by as much as the rewards do.

Where DPO only asks for the right order, these ask for the right distance, so that a pair of nearly
equal chunks is not driven apart.

Shapes: B groups, K chunks.

References:
    [1] Deng et al., PRDP: proximal reward difference prediction, 2024, arXiv:2402.08714, eq. 9.
    [2] Liu et al., iREPO: implicit reward pairwise difference based empirical preference
        optimization, 2024, arXiv:2405.15230, eq. 11.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from robopref.errors import check_above
from robopref.policies.finetune.objective import PreferenceConfig


@dataclass(frozen=True)
class PRDPConfig(PreferenceConfig):
    """Fine-tune by regressing differences of the reward, with a bound on the step."""

    group_size: ClassVar[int | None] = 2

    reward_scale: float = 10.0
    """Implicit reward for a difference of one in the reward."""
    proximal: float = 5.0
    """Margins count only as far as this from none: the policy moves no farther from the base."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        for name in ("reward_scale", "proximal"):
            check_above(name, getattr(self, name), 0)

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return the squared error of each difference, clipped as in PPO [1]."""
        wanted = self.reward_scale * (gains[:, 0] - gains[:, 1])
        margin = implicit[:, 0] - implicit[:, 1]
        clipped = margin.clamp(-self.proximal, self.proximal)
        # The worse of the two, so that clipping only ever takes a gradient away.
        return torch.maximum((wanted - margin).square(), (wanted - clipped).square()) / (
            2 * self.proximal**2
        )


@dataclass(frozen=True)
class IREPOConfig(PreferenceConfig):
    """Fine-tune by regressing the log-odds of each order."""

    group_size: ClassVar[int | None] = 2

    largest: float = 2.0
    """Log-odds are bounded by this: of an order that nobody doubts they are infinite."""

    def __post_init__(self) -> None:
        """Check ranges."""
        super().__post_init__()
        check_above("largest", self.largest, 0)

    def losses(self, implicit: Tensor, gains: Tensor) -> Tensor:
        """Return the squared error of each margin against the log-odds [2]."""
        wanted = (gains[:, 0] - gains[:, 1]).clamp(-self.largest, self.largest)
        return 0.5 * (wanted - (implicit[:, 0] - implicit[:, 1])).square()

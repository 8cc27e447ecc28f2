"""Settings of the reward that is fitted while people label."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robopref.config import component
from robopref.errors import check_at_least
from robopref.labeling.config import LabelConfig


@dataclass(frozen=True)
class TrainerConfig:
    """How the reward is refitted and new queries are found."""

    data: Path
    """Data set that is compared."""
    db: str
    """Preference store."""
    out: Path
    """Folder for the rewards."""
    project: LabelConfig = field(default_factory=LabelConfig)
    """The project."""
    learner: Any = "mlp"
    """Reward that is fitted: its name, or its config; a name brings in torch only where it is
    fitted."""
    strategy: Any = component("robopref.preferences:STRATEGIES", default="disagreement")
    """What is asked next."""
    refit_every: int = 10
    """Answers after which the reward is fitted anew."""
    min_open: int = 20
    """Open queries below which more are made."""
    num_new: int = 20
    """How many are made at a time."""
    segment_length: int | None = 50
    """Steps of a segment of the queries that are made; None compares whole episodes."""
    num_segments: int = 200
    """Segments drawn from the data set, from which the pairs are made."""
    reward: Path | None = None
    """Run of a reward that chooses until one has been fitted."""
    seed: int = 0
    """Decides everything random."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("refit_every", "min_open", "num_new"):
            check_at_least(name, getattr(self, name), 1)
        check_at_least("num_segments", self.num_segments, 2)


@dataclass(frozen=True)
class FitSettings:
    """What `RewardFitting` asks for."""

    reward: Any = component("robopref.rewards:REWARDS", default="mlp")
    """Which reward."""
    seed: int = 0
    """Decides everything random."""

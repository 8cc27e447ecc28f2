"""Alignment without new weights: the policy is steered by a score each time it acts.

It costs a little time at every decision, and can be taken back at any moment. `SelectConfig` keeps
the best-scored of some proposals, `GuideConfig` bends the proposals towards a higher score.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal, get_args

from robopref.config import component, resolve
from robopref.errors import check_choice
from robopref.policies.finetune.given import Given
from robopref.policies.guidance import GuidanceConfig
from robopref.policies.selection import BestOfNConfig

Score = Literal["reward", "implicit", "combined"]


def is_at_run_time(method: Any) -> bool:
    """Return whether a fine-tuning method leaves the weights alone and steers the policy."""
    return getattr(method, "at_run_time", False)


@dataclass(frozen=True)
class SelectConfig(BestOfNConfig):
    """Keep the best-scored of N proposals at each decision."""

    at_run_time: ClassVar[bool] = True

    score: Score = "reward"
    """reward: the learned one; implicit: how much likelier a tuned policy makes a chunk than the
    base does; combined: both, each brought to one spread over the proposals."""
    tuning: Any = component("robopref.policies.finetune:FINETUNE", default="dpo")
    """How the policy is tuned whose likelihood is the implicit score; the base still proposes."""

    def __post_init__(self) -> None:
        """Check ranges.

        Raises:
            ValueError: A value is out of range, or `tuning` tunes nothing.
        """
        super().__post_init__()
        check_choice("score", self.score, get_args(Score))
        if self.score != "reward" and is_at_run_time(resolve(self, "tuning")):
            raise ValueError(
                "`tuning` must be a method that changes the policy, such as 'dpo', since its "
                "likelihood is the score."
            )

    @property
    def uses_reward(self) -> bool:
        """Whether the learned reward is a part of the score."""
        return self.score != "implicit"

    @property
    def tuned_by(self) -> Any:
        """The method that makes the policy of the implicit score; None where it is not used."""
        return None if self.score == "reward" else resolve(self, "tuning")

    def check(self, given: Given) -> None:
        """Refuse what this cannot choose by, before anything is recorded.

        Raises:
            ValueError: `tuning` cannot learn from what will be there.
        """
        if self.tuned_by is not None:
            given.check(self.tuned_by)


@dataclass(frozen=True)
class GuideConfig(GuidanceConfig):
    """Denoise along the gradient of the learned reward."""

    at_run_time: ClassVar[bool] = True
    uses_reward: ClassVar[bool] = True
    tuned_by: ClassVar[Any] = None

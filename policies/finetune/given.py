"""What a run is going to give a fine-tuning method, known before anything is recorded or asked.

A method that cannot learn from it should say so then, and not when the labels are spent. A method
says what it needs in `check(given)`; one without it needs nothing in particular.
"""

from dataclasses import dataclass
from typing import Any

NO_SCORER = (
    "This needs a learned reward that scores action chunks, and there is none. Train one, "
    "or take `groups.source` answers with `groups.credit` uniform."
)
NO_CHUNK_SCORES = "Weighing chunks needs a learned reward that scores them."
NO_RANKINGS = (
    "There are no rankings of action candidates to learn from. Answer queries about candidates, as "
    "in robopref deform, or take `groups.source` candidates: the policy's own proposals in the "
    "order of the learned score."
)
ONLY_RANKINGS = (
    "All there will be to learn from are rankings of action candidates, and this learns from "
    "episodes or answers about them. Take a method with `groups.source` rankings, such as "
    "'deformpam', or 'dpo' with `groups.source` rankings."
)


@dataclass(frozen=True)
class Given:
    """What a method is going to have.

    Args:
        policy: Config of the policy that is tuned.
        has_scorer: Whether there will be a learned reward that scores action chunks.
        has_rankings: Whether action candidates will have been ranked.
        has_episodes: Whether there will be episodes, and answers about them.
        doubts_answers: Whether some answers will be believed more than others.
    """

    policy: Any
    has_scorer: bool = True
    has_rankings: bool = False
    has_episodes: bool = True
    doubts_answers: bool = False

    def check(self, method: Any) -> None:
        """Refuse a method that cannot learn from this.

        Args:
            method: Config of a fine-tuning method.

        Raises:
            ValueError: The policy does not denoise, or the method needs something else.
        """
        # Drift and implicit rewards are made of denoising errors.
        if not hasattr(self.policy, "num_denoise_steps"):
            raise ValueError(
                f"What is tuned is a policy that denoises, and one of {type(self.policy).__name__} "
                "does not. Take a diffusion policy, such as 'diffusion'."
            )
        groups = getattr(method, "groups", None)
        if not self.has_episodes and getattr(groups, "source", None) != "rankings":
            raise ValueError(ONLY_RANKINGS)
        check = getattr(method, "check", None)
        if check is not None:
            check(self)

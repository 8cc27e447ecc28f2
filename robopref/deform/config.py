"""Settings of DeformPAM's loop; a module of its own so that help need not import the loop."""

from dataclasses import dataclass, field, replace
from typing import Any

from robopref.config import component
from robopref.deform.progress import StopConfig
from robopref.errors import check_at_least, check_between
from robopref.height_map import HeightMapConfig
from robopref.policies.finetune.deformpam import DeformPAMPlusConfig
from robopref.policies.finetune.tuning import tuning
from robopref.policies.primitive_diffusion import PrimitiveDiffusionConfig
from robopref.policies.selection import BestOfNConfig
from robopref.rewards.deformpam import CandidateRewardConfig, DeformPAMRewardConfig
from robopref.trainer import TrainerConfig


def best_of(num_candidates: int) -> BestOfNConfig:
    """Return the choice of the best of so many candidates, however little better it is."""
    return BestOfNConfig(num_candidates, pessimism=0.0, indifference=0.0, certainty=0.0)


@dataclass(frozen=True)
class DeformConfig:
    """Settings of DeformPAM's loop."""

    env: str = "deformable/rope-circle-v0"
    """Environment, as "deformable/<task>"."""
    teacher: Any = component("robopref.preferences:TEACHERS", default="equal")
    """Who ranks the candidates; a scripted teacher tries them and compares what comes of them."""
    lookahead: int = 0
    """Proposals of the geometric rule that a scripted teacher tries after each candidate."""
    policy: Any = component("robopref.policies:POLICIES", default="primitive-diffusion")
    """Policy that is cloned from the demonstrations."""
    method: Any = component("robopref.policies.finetune:FINETUNE", default="deformpam-plus")
    """How the policy is fine-tuned on the rankings."""
    explicit: CandidateRewardConfig = field(default_factory=CandidateRewardConfig)
    """Ensemble that is fitted to the rankings beside it."""
    reward: DeformPAMRewardConfig = field(default_factory=DeformPAMRewardConfig)
    """How candidates are scored."""
    selection: BestOfNConfig = field(default_factory=lambda: best_of(16))
    """How the best-scored candidate is chosen."""
    use_outcomes: bool = False
    """Tune further, by KTO, on what came of the primitives that were performed: each is good or bad
    by itself, as it raised the quality or did not."""
    proposes_tuned: bool = True
    """Let the tuned policy propose half of the candidates; else all are the cloned one's."""
    stop: StopConfig = field(default_factory=StopConfig)
    """When an episode ends because nothing gets better any more."""
    base_training: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            num_steps=1500, batch_size=32, learning_rate=2e-3, ema_decay=0.995
        )
    )
    """Training of the cloned policy."""
    num_demonstrations: int = 30
    """Demonstrations."""
    num_shown: int = 10
    """Good primitives that are shown for each state of a demonstration, at most."""
    num_states: int = 100
    """States whose candidates are ranked, in all rounds together."""
    num_candidates: int = 8
    """Candidates that are ranked for each."""
    num_rounds: int = 2
    """Rounds of acting, ranking and tuning; from the second on the tuned policy acts."""
    num_pool_episodes: int = 10
    """Episodes of a round, whose states candidates are proposed for."""
    held_out: float = 0.2
    """Share of the rankings that tuning is stopped early by."""
    num_test_episodes: int = 20
    """Episodes of the evaluation, from starts that nothing else used."""
    max_episode_steps: int = 0
    """Primitives after which an episode is cut off; 0 for the task's own limit."""
    num_workers: int = 2
    """Processes that record episodes and try candidates."""
    seed: int = 0
    """Decides everything random."""

    def __post_init__(self) -> None:
        """Check ranges."""
        if not self.env.startswith("deformable/"):
            raise ValueError(f"`env` must read 'deformable/<task>', got '{self.env}'.")
        for name in ("num_demonstrations", "num_shown", "num_rounds", "num_pool_episodes",
                     "num_test_episodes"):  # fmt: skip
            check_at_least(name, getattr(self, name), 1)
        check_at_least("num_states", self.num_states, self.num_rounds)
        check_at_least("num_candidates", self.num_candidates, 2)
        for name in ("lookahead", "max_episode_steps", "num_workers"):
            check_at_least(name, getattr(self, name), 0)
        check_between("held_out", self.held_out, 0, 1)


def small(*, seed: int = 0, num_workers: int = 2) -> DeformConfig:
    """Return the settings of `robopref demo --task rope`: minutes on two cores."""
    learns = TrainerConfig(
        num_steps=300, batch_size=16, learning_rate=5e-4, weight_decay=1e-2, warmup_steps=20,
        validation_interval=25, patience=4,
    )  # fmt: skip
    return DeformConfig(
        policy=PrimitiveDiffusionConfig(encoder=HeightMapConfig()),
        method=DeformPAMPlusConfig(trainer=replace(tuning(200, 4e-4, 25), batch_size=64)),
        explicit=CandidateRewardConfig(encoder=HeightMapConfig(), trainer=learns),
        num_demonstrations=20, num_shown=8, num_states=32, num_pool_episodes=6,
        num_test_episodes=10, seed=seed, num_workers=num_workers,
    )  # fmt: skip

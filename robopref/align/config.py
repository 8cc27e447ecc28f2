"""Settings of an alignment run; a module of its own so that help need not import the loop."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from robopref.align.guard import GuardConfig
from robopref.config import component
from robopref.errors import check_at_least, check_between
from robopref.policies.selection import BestOfNConfig
from robopref.trainer import TrainerConfig
from robopref.visual_encoders import FrameEncoderConfig


@dataclass(frozen=True)
class AlignConfig:
    """Settings of an alignment run."""

    env: str = "metaworld/button-press-topdown-v3"
    """Environment, as "<adapter>/<task>"."""
    behaviour: Any = component("robopref.envs:BEHAVIOURS", default="detour-right")
    """Behaviour that the teacher prefers."""
    teacher: Any = component("robopref.preferences:TEACHERS", default="equal")
    """Who answers the queries."""
    strategy: Any = component("robopref.preferences:STRATEGIES", default="contrast")
    """How queries are chosen."""
    reward: Any = component("robopref.rewards:REWARDS", default="mlp")
    """Reward model."""
    policy: Any = component("robopref.policies:POLICIES", default="diffusion")
    """Policy that is cloned from the demonstrations."""
    method: Any = component("robopref.policies.finetune:FINETUNE", default="distil")
    """How the policy is fine-tuned."""
    selection: BestOfNConfig = field(default_factory=BestOfNConfig)
    """How candidates are chosen by the reward."""
    guard: GuardConfig = field(default_factory=GuardConfig)
    """How the policy is watched while it is tuned."""
    base_training: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(num_steps=2500, learning_rate=2e-3, ema_decay=0.995)
    )
    """Training of the cloned policy."""
    cameras: tuple[str, ...] = ()
    """Cameras by whose pictures the reward judges, in place of states, as rapl-plus does; they are
    also what a policy may see. Candidates are scored by a critic of such a reward then."""
    image_px: int = 112
    """Width and height of their pictures."""
    picture_every: int = 1
    """Steps from one picture that the reward sees to the next; the steps between are shown the last
    one. Drawing and encoding take most of the time where a camera judges."""
    frames: FrameEncoderConfig = field(default_factory=FrameEncoderConfig)
    """What turns a picture into features for the reward."""
    segment_length: int | None = None
    """Steps of what is compared; None for whole episodes."""
    action_noise: float = 0.1
    """Standard deviation of the noise on scripted motions, in units of the action."""
    demonstrations: Path | None = None
    """Data set of demonstrations; without it, scripted experts show both styles."""
    num_demonstrations: int = 80
    """Scripted demonstrations."""
    preferred_share: float = 0.5
    """Share of demonstrations that show the preferred style."""
    num_labels: int = 10
    """Answers to ask for; ties count, skips do not."""
    labels_per_round: int = 5
    """Queries asked before the reward is fitted again."""
    find_mistakes: bool = True
    """Believe each answer only as far as rewards fitted to the other answers agree with it, with an
    error rate for each annotator; it takes five more fits of the reward."""
    num_pool_episodes: int = 100
    """Unlabelled episodes of the base policy, from which queries are made."""
    ask_about_demonstrations: bool = True
    """Make queries of demonstrations as well, at most as many as of the policy's episodes, and
    imitate them where they are among the best: what one in twenty of them shows, the policy may
    never do by itself."""
    num_selected_episodes: int = 100
    """Episodes recorded to fine-tune from, in all rounds; with best-of-N for methods that imitate
    what was chosen."""
    num_rounds: int = 3
    """Rounds of recording and fine-tuning; each begins with the best policy so far."""
    selected_share: float = 0.4
    """Share of those recorded so far, the best by the learned reward, that is kept."""
    knows_success: bool = True
    """The environment says when its task is solved; without that, success is not counted, and
    nothing is left out for want of it."""
    use_success: bool = True
    """Keep only successful ones of them, and ask about no others: success is a signal of its own
    beside the labels."""
    num_test_episodes: int = 50
    """Episodes of the evaluation, from starts that nothing else used."""
    max_episode_steps: int | None = 200
    """Time limit; None for the environment's own."""
    num_workers: int = 2
    """Processes that record episodes."""
    seed: int = 0
    """Decides everything random."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_demonstrations", "num_labels", "labels_per_round", "num_pool_episodes",
                     "num_selected_episodes", "num_rounds", "num_test_episodes"):  # fmt: skip
            check_at_least(name, getattr(self, name), 1)
        for name in ("segment_length", "max_episode_steps"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1)
        check_at_least("num_workers", self.num_workers, 0)
        check_at_least("image_px", self.image_px, 1)
        check_at_least("picture_every", self.picture_every, 1)
        check_between("action_noise", self.action_noise, 0, 1)
        check_between("preferred_share", self.preferred_share, 0, 1)
        check_between("selected_share", self.selected_share, 0, 1)

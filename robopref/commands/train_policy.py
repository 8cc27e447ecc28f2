"""`robopref train policy`: clone the behaviour of recorded episodes."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from robopref.commands import following
from robopref.config import component, resolve, to_dict
from robopref.errors import check_between
from robopref.trainer import TrainerConfig


@dataclass(frozen=True)
class TrainPolicyCommand:
    """Train a policy to do what was done in recorded episodes.

    Interrupted or killed, the same command goes on at the last checkpoint.

    Example:
        robopref train policy --data runs/reach --out runs/reach-policy --training.num-steps 200
    """

    several_processes: ClassVar[bool] = True

    data: Path
    """Folder of the data set."""
    out: Path
    """Folder of the run: checkpoint, metrics, and the policy in policy/."""
    policy: Any = component("robopref.policies:POLICIES", default="diffusion")
    """Which policy."""
    training: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(num_steps=3000, ema_decay=0.995)
    )
    """How it is trained."""
    validation_share: float = 0.1
    """Share of the episodes held out to measure the loss on."""
    only_successes: bool = True
    """Leave out episodes that did not succeed."""
    seed: int = 0
    """Decides everything random."""
    tracker: Any = component("robopref.tracker:TRACKERS", default="tensorboard")
    """What shows the figures of training, beside metrics.jsonl."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("validation_share", self.validation_share, 0, 0.9)

    def run(self) -> None:
        """Train, from the last checkpoint if there is one, and save the policy."""
        from robopref.align.run import Run
        from robopref.data.store import EpisodeStore
        from robopref.episode_pictures import EpisodePictures
        from robopref.tracker import tracked_by
        from robopref.train_policy import train_policy

        store = EpisodeStore.open(self.data)
        episodes = [e for e in store if e.succeeded or not self.only_successes]
        print(f"{len(episodes)} of {len(store)} episodes in {self.data} are used.")
        Run(self.out, self)
        with tracked_by(resolve(self, "tracker"), self.out, to_dict(self)):
            _, result = train_policy(
                resolve(self, "policy"), episodes, self.training, directory=self.out,
                seed=self.seed, validation_share=self.validation_share,
                pictures=EpisodePictures(store, self.out / "features"),
            )  # fmt: skip
        figures = ", ".join(
            f"{key} {value:.4g}" for key, value in result.figures.items() if "loss" in key
        )
        print(f"Trained {result.steps} steps in {result.seconds:.0f} s: {figures}.")
        print(f"The policy is in {self.out / 'policy'}.")
        judging = following.judging(episodes[0].env, episodes[0].metadata)
        print(f"Next:   {following.command('evaluate', '--policy', self.out, *judging)}")

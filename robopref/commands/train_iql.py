"""`robopref train iql`: learn a better policy from recorded episodes and a reward."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from robopref.commands import following
from robopref.config import component, resolve, to_dict
from robopref.errors import did_you_mean
from robopref.train_iql import CONTROLS, TrainIQLConfig


@dataclass(frozen=True, kw_only=True)
class TrainIQLCommand(TrainIQLConfig):
    """Train a policy to earn a reward by implicit Q-learning, from recorded episodes alone.

    Interrupted or killed, the same command goes on at the last checkpoint.

    Example:
        robopref train iql --data runs/reach --reward true --out runs/reach-iql --iql.num-steps 200
    """

    several_processes: ClassVar[bool] = True

    data: Path
    """Folder of the data set; failures teach too."""
    reward: str
    """Run of a reward; or true (as recorded), negated, zero, random, or cloning, which imitates
    all actions alike."""
    out: Path = Path("runs/iql")
    """Folder of the run: checkpoint, metrics, and the policy in policy/."""
    seed: int = 0
    """Decides everything random."""
    tracker: Any = component("robopref.tracker:TRACKERS", default="tensorboard")
    """What shows the figures of training, beside metrics.jsonl."""

    def run(self) -> None:
        """Train, from the last checkpoint if there is one, and save the policy."""
        from robopref.align.run import Run
        from robopref.data.store import EpisodeStore
        from robopref.tracker import tracked_by
        from robopref.train_iql import train_iql

        reward = self._reward()
        episodes = list(EpisodeStore.open(self.data))
        steps, successes = sum(map(len, episodes)), sum(e.succeeded for e in episodes)
        print(f"{len(episodes)} episodes of {steps} steps, {successes} successful, in {self.data}.")
        Run(self.out, self)
        with tracked_by(resolve(self, "tracker"), self.out, to_dict(self)):
            _, result = train_iql(self, episodes, reward, directory=self.out, seed=self.seed)
        figures = ", ".join(f"{key} {value:.4g}" for key, value in result.figures.items())
        print(f"Trained {result.steps} updates in {result.seconds:.0f} s: {figures}.")
        print(f"The policy is in {self.out / 'policy'}.")
        judging = following.judging(episodes[0].env, episodes[0].metadata)
        print(f"Next:   {following.command('evaluate', '--policy', self.out, *judging)}")

    def _reward(self) -> Any:
        """Return the name of a control, or the reward that was saved in a run."""
        from robopref.align.actors import find_saved
        from robopref.rewards.serialization import load_reward

        if self.reward in CONTROLS:
            return self.reward
        if not Path(self.reward).is_dir():
            raise FileNotFoundError(
                f"No reward at '{self.reward}': it is no folder, and none of {list(CONTROLS)}."
                f"{did_you_mean(self.reward, CONTROLS)}"
            )
        return load_reward(find_saved(Path(self.reward), "reward"))

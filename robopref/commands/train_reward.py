"""`robopref train reward`: learn what is preferred from answers."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from robopref.commands import following
from robopref.config import component, resolve, to_dict
from robopref.errors import check_between

if TYPE_CHECKING:
    from robopref.data.store import EpisodeStore


@dataclass(frozen=True)
class TrainRewardCommand:
    """Fit a reward to the answers about a data set, and say how well it predicts held-out ones.

    Interrupted or killed, the same command goes on at the last checkpoint. After more answers it
    fits anew, and the old reward stays until the new one takes its place.

    Example:
        robopref train reward --data runs/reach --db runs/reach/preferences.sqlite
    """

    several_processes: ClassVar[bool] = True

    data: Path
    """Folder of the data set that the queries are about."""
    db: str
    """Preference store: a SQLite file, or a URL like postgresql://user@host/name."""
    out: Path = Path("runs/reward")
    """Folder of the run: checkpoints, metrics, and the reward in reward/."""
    reward: Any = component("robopref.rewards:REWARDS", default="mlp")
    """Which reward."""
    criterion: str = "overall"
    """By what the items were compared."""
    held_out_share: float = 0.2
    """Share of the pairs held out to measure on."""
    seed: int = 0
    """Decides everything random."""
    tracker: Any = component("robopref.tracker:TRACKERS", default="tensorboard")
    """What shows the figures of training, beside metrics.jsonl."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_between("held_out_share", self.held_out_share, 0, 0.5)

    def run(self) -> None:
        """Fit, from the last checkpoint if there is one, and save the reward."""
        from robopref.align.run import Run
        from robopref.data.store import EpisodeStore
        from robopref.tracker import tracked_by
        from robopref.train_reward import load_preferences, train_reward

        episodes = EpisodeStore.open(self.data)
        preferences = load_preferences(self.db, episodes, criterion=self.criterion)
        Run(self.out, self)
        with tracked_by(resolve(self, "tracker"), self.out, to_dict(self)):
            reward, figures = train_reward(
                resolve(self, "reward"), preferences, episodes, directory=self.out,
                seed=self.seed, held_out_share=self.held_out_share, announce=print,
            )  # fmt: skip
        if "seconds" in figures:
            print(f"Fitted to {len(preferences)} answers in {figures['seconds']:.0f} s.")
        else:
            print(f"This reward learns nothing: {len(preferences)} answers only measured it.")
        if "held_out/accuracy" in figures:
            print(
                f"Held-out accuracy {figures['held_out/accuracy']:.2f}, calibration error "
                f"{figures['held_out/ece']:.2f}, of {figures['held_out/pairs']:.0f} pairs."
            )
            if figures["held_out/transferred"]:
                print(
                    f"A transfer labelled {figures['held_out/transferred']:.0f} of them: that is "
                    "agreement with its labels, not with a person."
                )
        else:
            print("Too few answers to hold some out: how good the reward is was not measured.")
        print(f"The reward is in {self.out / 'reward'}.")
        out = following.free_folder(Path(f"{self.out}-iql"))
        offline = following.command(
            "train iql", "--data", self.data, "--reward", self.out, "--out", out
        )
        first = self._next(reward, episodes)
        print(f"Next:   {first or offline}")
        if first is not None:
            print("Or learn a policy from these episodes and the reward alone, by offline RL:")
            print(f"        {offline}")

    def _next(self, reward: Any, episodes: "EpisodeStore") -> str | None:
        """Return what else the reward is good for than offline RL, which any data set allows."""
        from robopref.data.schema import can_be_shown

        policy = self.data.with_name(f"{self.data.name}-policy")
        if "chunk" in reward.action_scorer_ways():
            if (policy / "policy").is_dir():
                judging = following.judging(episodes.rows[0].env, episodes.rows[0].metadata)
                return following.command(
                    "evaluate", "--policy", policy, "--reward", self.out, *judging
                )
            if any(row.succeeded for row in episodes.rows) and not policy.exists():
                return following.command("train policy", "--data", self.data, "--out", policy)
        # It cannot choose for a policy, but says what to ask.
        if can_be_shown(episodes.features):
            return following.command(
                "label", "--data", self.data, "--db", self.db, *following.by(self.criterion),
                "--reward", self.out,
            )  # fmt: skip
        return None

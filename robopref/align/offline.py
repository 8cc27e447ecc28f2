"""Alignment from recorded episodes alone, where there is no simulator to act in.

Queries are made of the episodes, a reward is learned from the answers, and a saved policy is
fine-tuned on what the reward likes of them. Nothing is rolled out, so neither success nor the
preferred rate of the tuned policy is known. The guard looks at what can be known: how well the
reward foretells answers that it was not given, whether the tuned policy orders judged pairs
rightly, and how far it has moved. A fifth of the answers is held out for that, and nothing learns
from it; where there are too few for that, the judged pairs are those that were learned from, and
the report says so.
"""

import functools
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.actors import find_saved
from robopref.align.checks import check_labels_suffice, doubts_answers
from robopref.align.evaluate import usable
from robopref.align.guard import GuardConfig, Windows
from robopref.align.labels import Labels
from robopref.align.material import best, finetune_data
from robopref.align.run import Run
from robopref.config import component, resolve
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, check_at_least, check_between
from robopref.policies.finetune.at_run_time import is_at_run_time
from robopref.policies.finetune.given import Given
from robopref.preferences.terminal import Person
from robopref.ranks import get_ranks
from robopref.seeding import make_generator

BETA = 10.0
"""Scale of the implicit reward in the loss by which a tuning is watched, as methods have it."""


@dataclass(frozen=True)
class OfflineConfig:
    """Settings of an alignment without a simulator; the names are those of `AlignConfig`."""

    data: Path
    policy: Path
    behaviour: Any = component("robopref.envs:BEHAVIOURS", default="detour-right")
    teacher: Any = component("robopref.preferences:TEACHERS", default="equal")
    strategy: Any = component("robopref.preferences:STRATEGIES", default="contrast")
    reward: Any = component("robopref.rewards:REWARDS", default="mlp")
    method: Any = component("robopref.policies.finetune:FINETUNE", default="distil")
    guard: GuardConfig = field(default_factory=GuardConfig)
    segment_length: int | None = None
    num_labels: int = 10
    labels_per_round: int = 5
    selected_share: float = 0.4
    find_mistakes: bool = True
    knows_success: bool = True
    use_success: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_labels", "labels_per_round"):
            check_at_least(name, getattr(self, name), 1)
        if self.segment_length is not None:
            check_at_least("segment_length", self.segment_length, 1)
        check_between("selected_share", self.selected_share, 0, 1)


class OfflineAlignment:
    """One alignment run without a simulator, in one folder.

    Args:
        config: What to run.
        directory: Where; a run that is there already goes on.
        person: For a teacher who is a person: returns how they are reached.
        announce: Told in a line when a stage begins and how long it took.

    Raises:
        DataError: The data set holds no episodes.
        ValueError: The method cannot learn from what there is, or the labels are fewer than a
            query gives.
        CheckpointError: The policy was trained on other observations or actions.
    """

    def __init__(
        self,
        config: OfflineConfig,
        directory: Path,
        *,
        person: Callable[[EpisodeStore], Person] | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        from robopref.policies.serialization import load_policy

        check_labels_suffice(config)
        method = resolve(config, "method")
        if getattr(method, "needs_environment", False):
            raise ValueError(
                f"{type(method).__name__} acts in an environment while it learns, and there is "
                "none here. Take another --method, such as distil."
            )
        if is_at_run_time(method):
            raise ValueError(
                f"{type(method).__name__} changes no weights: it steers a policy as it acts, and "
                "nothing acts here. Learn a reward with `robopref train reward`, and choose by it "
                "where the policy acts; or take another --method, such as distil."
            )
        self.config = config
        self.directory = directory
        self.data = EpisodeStore.open(config.data)
        if not len(self.data):
            raise DataError(f"'{config.data}' holds no episodes, so there is nothing to compare.")
        first = next(iter(self.data))
        behaviour = resolve(config, "behaviour")
        if hasattr(resolve(config, "teacher"), "measure_returns"):
            behaviour.check_env(first.env)
        self.base = load_policy(
            find_saved(config.policy, "policy"),
            obs_shapes={key: value.shape[1:] for key, value in first.obs.items()},
            action_dim=first.action.shape[1],
        )
        Given(
            self.base.config,
            has_scorer=_scores_chunks(config),
            doubts_answers=doubts_answers(config),
        ).check(method)
        self.person = person
        self.run = Run(directory, config, announce=announce)
        self.labels = Labels(config, directory, self.data, behaviour, holds_out=True)

    def execute(self) -> dict[str, Any]:
        """Do every stage; return what the guard found."""
        self.run.stage("labels", self._ask)
        self.run.stage("reward", self._train_reward)
        self.run.stage("tuned", self._fine_tune, together=True)
        return self.run.stage("aligned", self._keep_best)

    def _ask(self) -> dict[str, Any]:
        return self.labels.ask(None if self.person is None else self.person(self.data))

    def _train_reward(self) -> dict[str, Any]:
        reward, figures = self.labels.fit_reward()
        reward.save_pretrained(self.directory / "reward")
        return {"figures": figures, "held_out_accuracy": self.labels.fitting().held_out_accuracy()}

    def _fine_tune(self) -> dict[str, Any]:
        tuned, result = resolve(self.config, "method").run(
            self.base, get_ranks().main_first(self._finetune_data),
            generator=make_generator(self.config.seed, "fine-tune"),
            directory=self.directory / "tuned", validate=self._measure,
        )  # fmt: skip
        return {"figures": dict(result.figures), "steps": result.steps, **self._measure(tuned)}

    def _finetune_data(self) -> Any:
        from robopref.rewards.serialization import load_reward

        config = self.config
        pool = usable(config, self.data)
        if not pool:
            raise DataError(
                f"None of the {len(self.data)} episodes in '{config.data}' succeeded. If success "
                "was not recorded, add --no-knows-success."
            )
        reward = load_reward(self.directory / "reward")
        return finetune_data(
            self.labels, reward, chosen=best(self.labels, reward, pool), pool=pool,
            demonstrations=pool, policy=self.base,
        )  # fmt: skip

    @functools.cached_property
    def _windows(self) -> Windows:
        return Windows(self.base, list(self.data))

    def _measure(self, tuned: Any) -> dict[str, float]:
        """Return the drift, and how well the implicit reward orders judged pairs.

        Its cross-entropy is what training is stopped early by: nothing better is known here.
        """
        place = {row.episode_id: i for i, row in enumerate(self.data.rows)}
        change = self._windows.error_change(tuned)
        margin = np.array([
            (change[place[a]] - change[place[b]]) * (1 if prefers_b > 0.5 else -1)
            for a, b, prefers_b in self.labels.watched_pairs()
        ])  # fmt: skip
        return {
            "loss": float(np.logaddexp(0, -BETA * margin).mean()),
            "drift": float(change.mean()),
            "implicit_accuracy": float((margin > 0).mean()),
        }

    def _keep_best(self) -> dict[str, Any]:
        guard = self.config.guard
        found = {**self.run.figures("reward"), **self.run.figures("tuned")}
        reasons = complaints(found, guard)
        keep_base = bool(reasons) and not guard.keep_worse
        policy = self.directory / "aligned" / "policy"
        if keep_base:
            self.base.save_pretrained(policy)
        else:
            shutil.copytree(self.directory / "tuned" / "policy", policy, dirs_exist_ok=True)
        names = ("held_out_accuracy", "implicit_accuracy", "drift")
        figures = {name: found[name] for name in names}
        held_out = len(self.labels.held_out())
        return {**figures, "held_out": held_out, "reasons": reasons, "kept_base": keep_base}


def _scores_chunks(config: OfflineConfig) -> bool:
    # Its ways are those of any size.
    reward = resolve(config, "reward").build(obs_dim=1, action_dim=1)
    return "chunk" in reward.action_scorer_ways()


def complaints(found: Mapping[str, Any], guard: GuardConfig) -> list[str]:
    """Return why a tuned policy is not to be trusted, in sentences; none if it is."""
    least, largest = guard.least_accuracy, guard.largest_drift
    reasons = []
    # What is not known is not good enough either.
    if not found["held_out_accuracy"] > least:
        reasons.append(
            f"The reward foretells only {found['held_out_accuracy']:.2f} of the answers that it "
            f"was not given (more than {least:g} are asked for). Answer more queries."
        )
    if not found["implicit_accuracy"] > least:
        reasons.append(
            f"The tuned policy orders only {found['implicit_accuracy']:.2f} of the judged pairs "
            f"rightly (more than {least:g} are asked for). Tune for longer, or by another method."
        )
    if not found["drift"] <= largest:
        reasons.append(
            f"The policy drifted from the data: its denoising error rose by {found['drift']:.2f} "
            f"(at most {largest:g} is allowed). Tune for fewer steps, or with a larger anchor."
        )
    return reasons

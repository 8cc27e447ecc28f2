"""The loop: demonstrations, policy, episodes, queries, reward, selection, distillation, evaluation.

Every stage leaves its result in the run's folder and is skipped when it is there, so a run that
was killed goes on where it was and ends the same.

What a method may see: rewards and policies get observations and actions; success of the policy's
own episodes is used where the config says so; the behaviour's measure goes to the scripted
teacher and to the evaluation and nowhere else.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.actors import ActorSpec, PolicySpec, ScriptedSpec
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.config import AlignConfig
from robopref.align.evaluate import Evaluation, evaluate_episodes
from robopref.align.labels import Labels
from robopref.align.run import Run
from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.preferences.terminal import Person
from robopref.seeding import make_generator

POLICIES_EVALUATED = ("base", "selected", "aligned")


class AlignmentLoop:
    """One alignment run in one folder.

    Args:
        config: What to run.
        directory: Where; a run that is there already goes on.
        workers: Who records.
        person: For a teacher who is a person: returns how they are reached, given the episodes
            that the queries are about.
        announce: Told in a line when a stage begins and how long it took.
    """

    def __init__(
        self,
        config: AlignConfig,
        directory: Path,
        workers: Workers,
        *,
        person: Callable[[EpisodeStore], Person] | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        self.config = config
        self.person = person
        self.run = Run(directory, config, announce=announce)
        self.directory = directory
        self.workers = workers
        self.behaviour = resolve(config, "behaviour")
        _check_parts_fit(config)

    def execute(self) -> dict[str, Evaluation]:
        """Do every stage; return the evaluation of the base, selected and aligned policy."""
        self.run.stage("demonstrations", self._record_demonstrations)
        self.run.stage("base", self._train_base)
        self.run.stage("pool", self._record_pool)
        self.run.stage("labels", self._ask)
        self.run.stage("reward", self._train_reward)
        self.run.stage("selection", self._record_selected)
        self.run.stage("aligned", self._fine_tune)
        return self.evaluations()

    def evaluations(self) -> dict[str, Evaluation]:
        """Evaluate each policy on the same test starts, once."""
        specs = {
            "base": PolicySpec(self.directory / "base" / "policy"),
            "selected": self._selected_spec("base"),
            "aligned": PolicySpec(self.directory / "aligned" / "policy"),
        }
        return {
            name: Evaluation.from_dict(
                self.run.stage(f"evaluation-{name}", self._evaluation_of(name, spec))["rates"]
            )
            for name, spec in specs.items()
        }

    def store(self, name: str) -> EpisodeStore:
        """Return the episodes of a stage."""
        return EpisodeStore.open(self.directory / name)

    def _record(self, name: str, actor: ActorSpec, start_set: str, num: int) -> EpisodeStore:
        config = self.config
        plan = Plan(
            env=config.env, actor=actor, seed=config.seed, start_set=start_set,
            num_episodes=num, max_episode_steps=config.max_episode_steps,
            metadata={"name": name},
        )  # fmt: skip
        store = open_or_create(self.directory / name, config.env)
        collect(plan, store, self.workers, description=f"record {name}")
        return store

    def _record_demonstrations(self) -> dict[str, Any]:
        actor = ScriptedSpec(
            self.behaviour, self.config.preferred_share, self.config.action_noise, self.config.seed
        )
        store = self._record(
            "demonstrations", actor, "demonstrations", self.config.num_demonstrations
        )
        return {"rates": evaluate_episodes(store, self.behaviour).to_dict()}

    def _train_base(self) -> dict[str, Any]:
        from robopref.train_policy import train_policy

        # A demonstration that failed would teach to fail.
        episodes = [e for e in self.store("demonstrations") if e.succeeded]
        _, result = train_policy(
            resolve(self.config, "policy"), episodes, self.config.base_training,
            directory=self.directory / "base", seed=self.config.seed,
        )  # fmt: skip
        return {"figures": dict(result.figures), "steps": result.steps}

    def _record_pool(self) -> dict[str, Any]:
        spec = PolicySpec(self.directory / "base" / "policy")
        store = self._record("pool", spec, "pool", self.config.num_pool_episodes)
        return {"rates": evaluate_episodes(store, self.behaviour).to_dict()}

    def labels(self) -> Labels:
        """Return the queries, answers and reward of this run."""
        return Labels(self.config, self.directory, self.store("pool"), self.behaviour)

    def _ask(self) -> dict[str, Any]:
        person = None if self.person is None else self.person(self.store("pool"))
        return self.labels().ask(person)

    def _train_reward(self) -> dict[str, Any]:
        labels = self.labels()
        reward, figures = labels.fit_reward("final")
        reward.save_pretrained(self.directory / "reward")
        return {"figures": figures, "pool_accuracy": labels.true_accuracy(reward)}

    def _selected_spec(self, policy: str) -> PolicySpec:
        return PolicySpec(
            self.directory / policy / "policy", self.directory / "reward", self.config.selection
        )

    def _record_selected(self) -> dict[str, Any]:
        store = self._record(
            "selection", self._selected_spec("base"), "selection",
            self.config.num_selected_episodes,
        )  # fmt: skip
        return {"rates": evaluate_episodes(store, self.behaviour).to_dict()}

    def chosen(self) -> list[Episode]:
        """Return the best of the selected episodes by the learned reward."""
        from robopref.rewards.serialization import load_reward

        episodes = [
            e for e in self.store("selection") if e.succeeded or not self.config.use_success
        ]
        if not episodes:
            raise ValueError(
                "None of the episodes recorded with best-of-N succeeded, so there is nothing to "
                "distil. Lower `selection.pessimism`, ask more labels, or set use_success to false."
            )
        returns = self.labels().returns(load_reward(self.directory / "reward"), episodes)
        num = max(1, round(self.config.selected_share * len(episodes)))
        best = np.argsort(-returns, kind="stable")[:num]
        return [episodes[i] for i in sorted(best)]

    def _fine_tune(self) -> dict[str, Any]:
        from robopref.policies.serialization import load_policy

        chosen = self.chosen()
        method = resolve(self.config, "method")
        _, result = method.run(
            load_policy(self.directory / "base" / "policy"), chosen,
            generator=make_generator(self.config.seed, "fine-tune"),
            directory=self.directory / "aligned",
        )  # fmt: skip
        return {
            "figures": dict(result.figures), "steps": result.steps,
            "rates_of_chosen": evaluate_episodes(chosen, self.behaviour).to_dict(),
        }  # fmt: skip

    def _evaluation_of(self, name: str, spec: PolicySpec) -> Callable[[], dict[str, Any]]:
        def work() -> dict[str, Any]:
            store = self._record(f"evaluation/{name}", spec, "test", self.config.num_test_episodes)
            return {"rates": evaluate_episodes(store, self.behaviour).to_dict()}

        return work


def _check_parts_fit(config: AlignConfig) -> None:
    """Refuse a reward that would judge other actions than the policy executes.

    Raises:
        ValueError: They differ in `n_action_steps`.
    """
    policy, reward = resolve(config, "policy"), resolve(config, "reward")
    executed = getattr(policy, "n_action_steps", None)
    judged = getattr(reward, "n_action_steps", None)
    if judged is not None and executed is not None and judged != executed:
        raise ValueError(
            f"`reward.n_action_steps` (={judged}) must equal `policy.n_action_steps` "
            f"(={executed}): the reward has to judge what the policy executes."
        )

"""The loop: demonstrations, policy, episodes, queries, reward, selection, distillation, evaluation.

Every stage leaves its result in the run's folder and is skipped when it is there, so a run that
was killed goes on where it was and ends the same.

What a method may see: rewards and policies get observations and actions; success of the policy's
own episodes is used where the config says so; the behaviour's measure goes to the scripted
teacher and to the evaluation and nowhere else.
"""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from robopref.align.actors import ActorSpec, PolicySpec, ScriptedSpec
from robopref.align.checks import check_demonstrations, check_parts_fit
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
        check_parts_fit(config)
        self.config = config
        self.person = person
        self.run = Run(directory, config, announce=announce)
        self.directory = directory
        self.workers = workers
        self.behaviour = resolve(config, "behaviour")

    def execute(self) -> dict[str, Evaluation]:
        """Do every stage; return the evaluation of the base, selected and aligned policy."""
        self.run.stage("demonstrations", self._get_demonstrations)
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
        if name == "demonstrations" and self.config.demonstrations is not None:
            return EpisodeStore.open(self.config.demonstrations)
        return EpisodeStore.open(self.directory / name)

    def evaluate(self, episodes: Iterable[Episode]) -> Evaluation:
        """Return the rates of episodes of this run."""
        return evaluate_episodes(episodes, self.behaviour, knows_success=self.config.knows_success)

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

    def _get_demonstrations(self) -> dict[str, Any]:
        config = self.config
        if config.demonstrations is None:
            actor = ScriptedSpec(
                self.behaviour, config.preferred_share, config.action_noise, config.seed
            )
            self._record("demonstrations", actor, "demonstrations", config.num_demonstrations)
        store = self.store("demonstrations")
        check_demonstrations(store, config)
        return {"rates": self.evaluate(store).to_dict(), "episodes": len(store)}

    def _train_base(self) -> dict[str, Any]:
        from robopref.train_policy import train_policy

        # A demonstration that failed would teach to fail.
        known = self.config.knows_success
        episodes = [e for e in self.store("demonstrations") if e.succeeded or not known]
        _, result = train_policy(
            resolve(self.config, "policy"), episodes, self.config.base_training,
            directory=self.directory / "base", seed=self.config.seed,
        )  # fmt: skip
        return {"figures": dict(result.figures), "steps": result.steps}

    def _record_pool(self) -> dict[str, Any]:
        spec = PolicySpec(self.directory / "base" / "policy")
        store = self._record("pool", spec, "pool", self.config.num_pool_episodes)
        return {"rates": self.evaluate(store).to_dict()}

    def labels(self) -> Labels:
        """Return the queries, answers and reward of this run."""
        return Labels(self.config, self.directory, self.store("pool"), self.behaviour)

    def _ask(self) -> dict[str, Any]:
        person = None if self.person is None else self.person(self.store("pool"))
        return self.labels().ask(person)

    def _train_reward(self) -> dict[str, Any]:
        labels = self.labels()
        reward, figures = labels.fit_reward()
        reward.save_pretrained(self.directory / "reward")
        return {"figures": figures, "point": labels.curve_point(reward, figures)}

    def label_curve(self) -> list[dict[str, float]]:
        """Return how well the reward ordered the pool after each round of answers."""
        curve: list[dict[str, float]] = self.run.figures("labels")["curve"]
        return [*curve, self.run.figures("reward")["point"]]

    def _selected_spec(self, policy: str) -> PolicySpec:
        return PolicySpec(
            self.directory / policy / "policy", self.directory / "reward", self.config.selection
        )

    def _record_selected(self) -> dict[str, Any]:
        store = self._record(
            "selection", self._selected_spec("base"), "selection",
            self.config.num_selected_episodes,
        )  # fmt: skip
        return {"rates": self.evaluate(store).to_dict()}

    def chosen(self) -> list[Episode]:
        """Return the best of the selected episodes by the learned reward."""
        from robopref.rewards.serialization import load_reward

        need_success = self.config.use_success and self.config.knows_success
        episodes = [e for e in self.store("selection") if e.succeeded or not need_success]
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
        from robopref.policies.finetune.data import FinetuneData, judged_pairs
        from robopref.policies.serialization import load_policy

        chosen = self.chosen()
        method = resolve(self.config, "method")
        judged, pairs = judged_pairs(self.labels().preferences(), self.store("pool").episode)
        data = FinetuneData(
            chosen, judged=judged, pairs=pairs, demonstrations=list(self.store("demonstrations"))
        )
        _, result = method.run(
            load_policy(self.directory / "base" / "policy"), data,
            generator=make_generator(self.config.seed, "fine-tune"),
            directory=self.directory / "aligned",
        )  # fmt: skip
        return {
            "figures": dict(result.figures), "steps": result.steps,
            "rates_of_chosen": self.evaluate(chosen).to_dict(),
        }  # fmt: skip

    def _evaluation_of(self, name: str, spec: PolicySpec) -> Callable[[], dict[str, Any]]:
        def work() -> dict[str, Any]:
            store = self._record(f"evaluation/{name}", spec, "test", self.config.num_test_episodes)
            return {"rates": self.evaluate(store).to_dict()}

        return work

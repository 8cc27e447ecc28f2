"""The loop: demonstrations, policy, episodes, ranked candidates, tuning, and so on in rounds.

Every stage leaves its result in the run's folder and is skipped when it is there, so a run that
was killed goes on where it was and ends the same. Quality and success go to the scripted teacher
and to the evaluation and nowhere else.

Source: Chen et al., DeformPAM, 2024, arXiv:2410.11584, figure 2, here in rounds.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

from robopref.align.actors import ActorSpec
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.run import Run
from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.deform import tuning
from robopref.deform.actors import ChooserSpec, DemonstratorSpec
from robopref.deform.config import DeformConfig
from robopref.deform.evaluate import DeformEvaluation, evaluate
from robopref.deform.rankings import Rankings
from robopref.deform.saved import spec_after
from robopref.envs.make import make_env
from robopref.policies.finetune.given import Given
from robopref.policies.serialization import load_policy
from robopref.preferences.terminal import Person
from robopref.rewards.deformpam import CandidateReward

EVALUATED = ("supervised", "aligned")
TUNED = "tuned"
"""The stage of a round that trains most."""


class DeformLoop:
    """One run of DeformPAM's loop in one folder.

    Args:
        config: What to run.
        directory: Where; a run that is there already goes on.
        workers: Who records.
        person: For a teacher who is a person: returns how they are reached, given the episodes
            that the queries are about.
        announce: Told in a line when a stage begins and how long it took.

    Raises:
        UnknownNameError: There is no such part.
        ValueError: The method cannot learn from rankings of candidates.
    """

    def __init__(
        self,
        config: DeformConfig,
        directory: Path,
        workers: Workers,
        *,
        person: Callable[[EpisodeStore], Person] | None = None,
        announce: Callable[[str], None] | None = None,
    ) -> None:
        # What cannot be done is refused before anything is recorded.
        resolve(config, "teacher")
        given = Given(
            resolve(config, "policy"), has_scorer=False, has_rankings=True, has_episodes=False
        )
        given.check(resolve(config, "method"))
        self.env: Any = make_env(config.env, max_episode_steps=config.max_episode_steps)
        self.config = config
        self.person = person
        self.run = Run(directory, config, announce=announce)
        self.directory = directory
        self.workers = workers

    def execute(self) -> dict[str, DeformEvaluation]:
        """Do every stage; return the evaluation of the supervised and of the aligned policy."""
        self.prepare_base()
        for number in range(1, self.config.num_rounds + 1):
            self.do_round(number)
        return {name: self.evaluate_policy(name) for name in EVALUATED}

    def prepare_base(self) -> None:
        """Record demonstrations and clone the policy from them."""
        self.run.stage("demonstrations", self._demonstrate)
        self.run.stage("base", self._clone, together=True)

    def do_round(self, number: int) -> None:
        """Act, propose candidates, have them ranked, and tune on all rankings so far."""
        steps = {
            "pool": self._record_pool, "candidates": self._propose, "rankings": self._ask,
            TUNED: self._tune, "explicit": self._fit_explicit,
        }  # fmt: skip
        if self.config.use_outcomes:
            steps["outcomes"] = self._tune_on_outcomes
        steps["weights"] = self._weigh
        for name, work in steps.items():
            work_of_round = functools.partial(work, number)
            self.run.stage(f"{name}-{number}", work_of_round, together=name == TUNED)

    def evaluate_policy(self, name: str) -> DeformEvaluation:
        """Evaluate the supervised or the aligned policy on the test starts, once."""
        found = self.run.stage(f"evaluation-{name}", functools.partial(self._evaluate, name))
        return DeformEvaluation.from_dict(found["evaluation"])

    def spec(self, name: str) -> ChooserSpec:
        """Return who acts: "supervised", or "aligned" after the last round."""
        return self._spec_after(0 if name == "supervised" else self.config.num_rounds, name)

    def store(self, name: str) -> EpisodeStore:
        """Return the episodes of a stage."""
        return EpisodeStore.open(self.directory / name)

    def rankings(self) -> Rankings:
        """Return the queries and answers of this run."""
        return Rankings(self.config, self.directory, self.store("pool"), self.env, self.workers)

    def record(
        self,
        folder: str,
        name: str,
        actor: ActorSpec,
        start_set: str,
        num: int,
        *,
        first: int = 0,
        physics: str = "standard",
    ) -> list[Episode]:
        """Record what is missing of `num` episodes into a data set of the run, and return them.

        Args:
            folder: Of the data set.
            name: Tells the episodes of one folder apart.
            actor: Who acts.
            start_set: Which starts.
            num: Episodes.
            first: Place of the first of them in the set of starts.
            physics: In which they act.
        """
        plan = Plan(
            env=self.config.env, actor=actor, seed=self.config.seed, start_set=start_set,
            num_episodes=num, first=first, group_size=1, metadata={"name": name},
            max_episode_steps=self.config.max_episode_steps, env_options={"physics": physics},
        )  # fmt: skip
        store = open_or_create(self.directory / folder, self.config.env)
        collect(plan, store, self.workers, description=f"record {name}")
        return [store.episode(id_) for group in plan.groups() for id_ in group.ids]

    def _spec_after(self, number: int, name: str) -> ChooserSpec:
        return spec_after(self.config, self.directory, number, name)

    def _demonstrate(self) -> dict[str, Any]:
        spec = DemonstratorSpec(self.config.num_shown, self.config.seed)
        num = self.config.num_demonstrations
        episodes = self.record("demonstrations", "demonstrations", spec, "demonstrations", num)
        return {"evaluation": evaluate(episodes, self.env).to_dict()}

    def _clone(self) -> dict[str, Any]:
        episodes = list(self.store("demonstrations"))
        result = tuning.clone(self.config, episodes, self.directory / "base")
        return {"figures": dict(result.figures), "states": sum(map(len, episodes))}

    def _record_pool(self, number: int) -> dict[str, Any]:
        num = self.config.num_pool_episodes
        episodes = self.record(
            "pool", f"pool-{number}", self._spec_after(number - 1, f"round {number}"), "pool",
            num, first=(number - 1) * num,
        )  # fmt: skip
        return {"evaluation": evaluate(episodes, self.env).to_dict()}

    def _propose(self, number: int) -> dict[str, Any]:
        episodes = [e for e in self.store("pool") if e.metadata["name"] == f"pool-{number}"]
        proposer = self._spec_after(number - 1, "").proposer(self.env.task.primitive)
        of_round = range(number - 1, self.config.num_states, self.config.num_rounds)
        return {
            "queries": self.rankings().propose(number, proposer, episodes, len(of_round)),
        }  # fmt: skip

    def _ask(self, number: int) -> dict[str, Any]:
        person = None if self.person is None else self.person(self.store("pool"))
        return dict(self.rankings().ask(person))

    def _tune(self, number: int) -> dict[str, Any]:
        base, folder = self._base(), self.directory / f"tuned-{number}"
        return tuning.tune(self.config, base, self.rankings().view(), folder, number)

    def _fit_explicit(self, number: int) -> dict[str, Any]:
        base, folder = self._base(), self.directory / f"explicit-{number}"
        return tuning.fit_explicit(self.config, base, self.rankings().view(), folder, number)

    def _weigh(self, number: int) -> dict[str, Any]:
        spec = self._spec_after(number, "")
        assert spec.tuned is not None
        assert spec.explicit is not None
        assert spec.weights is not None
        tuned, explicit = load_policy(spec.tuned), CandidateReward.from_pretrained(spec.explicit)
        view = self.rankings().view()
        return tuning.weigh(self.config, self._base(), tuned, explicit, view, spec.weights)

    def _tune_on_outcomes(self, number: int) -> dict[str, Any]:
        tuned = load_policy(self.directory / f"tuned-{number}" / "policy")
        folder, episodes = self.directory / f"outcomes-{number}", list(self.store("pool"))
        return tuning.tune_on_outcomes(self.config, tuned, episodes, folder, number)

    def _base(self) -> Any:
        return load_policy(self.directory / "base" / "policy")

    def _evaluate(self, name: str) -> dict[str, Any]:
        num = self.config.num_test_episodes
        episodes = self.record(f"evaluation/{name}", name, self.spec(name), "test", num)
        return {"evaluation": evaluate(episodes, self.env).to_dict()}

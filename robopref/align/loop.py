"""The loop: demonstrations, policy, episodes, queries, reward, fine-tuning in rounds, evaluation.

Every stage leaves its result in the run's folder and is skipped when it is there, so a run that
was killed goes on where it was and ends the same.

What a method may see: rewards and policies get observations and actions; success of the policy's
own episodes is used where the config says so; the behaviour's measure goes to the scripted
teacher and to the evaluation and nowhere else.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from robopref.align.actors import (
    STEERING,
    ActorSpec,
    PolicySpec,
    ScriptedSpec,
    policy_spec,
    save_steered,
)
from robopref.align.checks import check_demonstrations, check_parts_fit
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.config import AlignConfig
from robopref.align.evaluate import Evaluation, evaluate_episodes
from robopref.align.guard import Guard
from robopref.align.labels import Labels, whole
from robopref.align.material import best, finetune_data, usable
from robopref.align.run import Run
from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.policies.finetune.at_run_time import is_at_run_time
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
        self.prepare_base()
        self.prepare_reward()
        self.align()
        self.selection_pays()
        return self.evaluations()

    def prepare_base(self) -> None:
        """Get demonstrations, clone the base policy, and record its episodes."""
        self.run.stage("demonstrations", self._get_demonstrations)
        self.run.stage("base", self._train_base)
        self.run.stage("pool", self._record_pool)

    def prepare_reward(self) -> None:
        """Have queries answered, and learn the reward from the answers."""
        self.run.stage("labels", self._ask)
        self.run.stage("reward", self._train_reward)

    def align(self) -> None:
        """Fine-tune in rounds, and keep what came out unless it is worse."""
        for number in range(1, self.num_rounds + 1):
            self.run.stage(f"round-{number}", functools.partial(self._do_round, number))
        self.run.stage("aligned", self._keep_best)

    def selection_pays(self) -> bool:
        """Return whether the aligned policy acts no worse with best-of-N on top of it.

        Worse is lower success or score on validation starts. A policy that was tuned by what a
        reward likes has little left to choose from, and the reward may like to linger.
        """
        if (self.directory / "aligned" / STEERING).is_file():
            return False  # It chooses by itself already.
        pays: bool = self.run.stage("selection", self._try_selection)["pays"]
        return pays

    def evaluations(self) -> dict[str, Evaluation]:
        """Evaluate each policy on the same test starts, once."""
        return {name: self.evaluate_policy(name) for name in POLICIES_EVALUATED}

    def evaluate_policy(self, name: str) -> Evaluation:
        """Evaluate one policy on the test starts, once.

        Args:
            name: base; selected, the base with best-of-N; aligned; aligned-selected.
        """
        run = self.directory / ("base" if name in ("base", "selected") else "aligned")
        chooses = name.endswith("selected")
        spec = self._selected_spec(run / "policy") if chooses else policy_spec(run)
        found = self.run.stage(f"evaluation-{name}", self._evaluation_of(name, spec))
        return Evaluation.from_dict(found["rates"])

    def store(self, name: str) -> EpisodeStore:
        """Return the episodes of a stage."""
        if name == "demonstrations" and self.config.demonstrations is not None:
            return EpisodeStore.open(self.config.demonstrations)
        return EpisodeStore.open(self.directory / name)

    def evaluate(self, episodes: Iterable[Episode]) -> Evaluation:
        """Return the rates of episodes of this run."""
        return evaluate_episodes(episodes, self.behaviour, knows_success=self.config.knows_success)

    def _record(
        self, name: str, actor: ActorSpec, start_set: str, num: int, *, first: int = 0
    ) -> EpisodeStore:
        config = self.config
        plan = Plan(
            env=config.env, actor=actor, seed=config.seed, start_set=start_set,
            num_episodes=num, first=first, max_episode_steps=config.max_episode_steps,
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

    def _selected_spec(self, policy: Path) -> PolicySpec:
        return PolicySpec(policy, self.directory / "reward", self.config.selection)

    @functools.cached_property
    def tuned_by(self) -> Any:
        """The method that changes the policy; None where it is steered at run time alone."""
        method = resolve(self.config, "method")
        return method.tuned_by if is_at_run_time(method) else method

    @property
    def num_rounds(self) -> int:
        """How often the policy is tuned."""
        return 0 if self.tuned_by is None else self.config.num_rounds

    @property
    def records_selected(self) -> bool:
        """Whether the method learns from episodes recorded with best-of-N."""
        return getattr(self.tuned_by, "needs_chosen", False)

    def _policy_of_round(self, number: int) -> Path:
        """Return where the policy is that a round ended with; round 0 is the base."""
        part = "base" if number == 0 else f"rounds/{number}"
        return self.directory / part / "policy"

    def _start_of(self, number: int) -> Path:
        """Return the policy that a round starts with: the best so far, or the base.

        What a round lost, the rounds after it would hardly get back.
        """
        best = self._best(self._made_in_rounds(number - 1))
        return self._policy_of_round(0 if best is None else best.round)

    def _do_round(self, number: int) -> dict[str, Any]:
        """Record with best-of-N if the method learns from that, and fine-tune."""
        from robopref.policies.serialization import load_policy

        method = self.tuned_by
        start = self._start_of(number)
        data = self._finetune_data(number, start)
        guard = self._guard
        tuned, result = method.run(
            load_policy(start), data,
            generator=make_generator(self.config.seed, "fine-tune", str(number)),
            directory=self._policy_of_round(number).parent, validate=guard,
            **self._environment_for(method),
        )  # fmt: skip
        figures = {"figures": dict(result.figures), "steps": result.steps, "guard": guard(tuned)}
        if data.chosen:
            figures["rates_of_chosen"] = self.evaluate(data.chosen).to_dict()
        return figures

    def _environment_for(self, method: Any) -> dict[str, Any]:
        """Return what a method that acts by itself needs to do so; nothing for others."""
        if not getattr(method, "needs_environment", False):
            return {}
        from robopref.envs.make import make_vector

        config = self.config
        limit = config.max_episode_steps
        options = {} if limit is None else {"max_episode_steps": limit}
        return {"make_vector_env": lambda: make_vector(config.env, method.num_envs, **options)}

    def _record_round(self, number: int, spec: PolicySpec, name: str) -> list[Episode]:
        """Record this round's share of the episodes; return those that may be learned from."""
        config = self.config
        # What does not divide evenly goes to the last round.
        each, rest = divmod(config.num_selected_episodes, config.num_rounds)
        num = each + (rest if number == config.num_rounds else 0)
        store = self._record(
            f"rounds/{number}/{name}", spec, "selection", num, first=each * (number - 1)
        )
        return usable(config, store)

    def _choose(self, number: int, policy: Path) -> list[Episode]:
        """Record episodes of a policy with best-of-N; return the best of all rounds so far.

        Best is by the learned reward. Those of earlier rounds stay where they are good enough: a
        round's own are few, and a policy tuned on few forgets.
        """
        self._record_round(number, self._selected_spec(policy), "selection")
        stores = [self.store(f"rounds/{n}/selection") for n in range(1, number + 1)]
        episodes = [episode for store in stores for episode in usable(self.config, store)]
        if not episodes:
            raise ValueError(
                "None of the episodes recorded with best-of-N succeeded, so there is nothing to "
                "distil. Lower `selection.pessimism`, ask more labels, or set use_success to false."
            )
        return best(self.config, self._reward, episodes)

    def _finetune_data(self, number: int, policy: Path) -> Any:
        """Return what a method may learn from; every method gets as many episodes recorded."""
        pool, chosen = usable(self.config, self.store("pool")), []
        if self.records_selected:
            chosen = self._choose(number, policy)
        else:
            pool += self._record_round(number, PolicySpec(policy), "pool")
        return finetune_data(
            self.labels(), self._reward, chosen=chosen, pool=pool,
            demonstrations=list(self.store("demonstrations")),
        )  # fmt: skip

    @functools.cached_property
    def _reward(self) -> Any:
        from robopref.rewards.serialization import load_reward

        return load_reward(self.directory / "reward")

    def _member_returns(self, episodes: Sequence[Episode]) -> np.ndarray:
        returns: np.ndarray = self._reward.member_returns(whole(episodes))
        return returns

    @functools.cached_property
    def _guard(self) -> Guard:
        from robopref.policies.serialization import load_policy

        return Guard(
            self.config, load_policy(self._policy_of_round(0)),
            member_returns=self._member_returns, rates=self.evaluate,
            demonstrations=list(self.store("demonstrations")),
        )  # fmt: skip

    def _keep_best(self) -> dict[str, Any]:
        """Take over the best that was made, or the base if the guard says that all is worse."""
        base, made = PolicySpec(self._policy_of_round(0)), self._made()
        best = self._best(made)
        keep_base = best is None and not self.config.guard.keep_worse
        kept = made[-1] if best is None else best
        save_steered(base if keep_base else kept.policy, self.directory / "aligned")
        return {
            "guard": kept.figures, "base": self._guard.base, "worse": best is None,
            "kept_base": keep_base, "round": kept.round,
        }  # fmt: skip

    def _best(self, made: Sequence["_Made"]) -> "_Made | None":
        """Return the best of those that are not worse than the base; None if all are."""
        good = [one for one in made if not self._guard.is_worse(one.figures)]
        # Of equals the last, which was tuned for longest.
        return max(good, key=lambda one: (one.figures["score"], one.round), default=None)

    def _made_in_rounds(self, last: int) -> list["_Made"]:
        return [
            _Made(n, PolicySpec(self._policy_of_round(n)), self.run.figures(f"round-{n}")["guard"])
            for n in range(1, last + 1)
        ]

    def _made(self) -> list["_Made"]:
        """Return what the method made, in its order."""
        method = resolve(self.config, "method")
        if not is_at_run_time(method):
            return self._made_in_rounds(self.num_rounds)
        tuned = None if method.tuned_by is None else self._policy_of_round(self.num_rounds)
        reward = self.directory / "reward" if method.uses_reward else None
        spec = PolicySpec(self._policy_of_round(0), reward, method, tuned)
        return [_Made(self.num_rounds, spec, self._guard(spec.load()))]

    def _try_selection(self) -> dict[str, Any]:
        found = self.run.figures("aligned")
        alone = found["base"] if found["kept_base"] else found["guard"]
        on_top = self._guard(self._selected_spec(self.directory / "aligned" / "policy").load())
        pays = all(on_top[name] >= alone[name] for name in ("success", "score"))
        return {"pays": pays, "alone": alone, "on_top": on_top}

    def _evaluation_of(self, name: str, spec: PolicySpec) -> Callable[[], dict[str, Any]]:
        def work() -> dict[str, Any]:
            store = self._record(f"evaluation/{name}", spec, "test", self.config.num_test_episodes)
            return {"rates": self.evaluate(store).to_dict()}

        return work


class _Made(NamedTuple):
    """A policy that a method made, and what the guard found."""

    round: int
    policy: PolicySpec
    figures: dict[str, float]

"""The loop: demonstrations, policy, episodes, queries, reward, fine-tuning in rounds, evaluation.

Every stage leaves its result in the run's folder and is skipped when it is there, so a run that
was killed goes on where it was and ends the same.

What a method may see: rewards and policies get observations and actions; success of the policy's
own episodes is used where the config says so; the behaviour's measure goes to the scripted
teacher and to the evaluation and nowhere else.
"""

import functools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from robopref.align.actors import (
    STEERING,
    ActorSpec,
    PolicySpec,
    ScriptedSpec,
    policy_spec,
)
from robopref.align.checks import check_demonstrations, check_parts_fit
from robopref.align.collect import Plan, Workers, collect, open_or_create
from robopref.align.config import AlignConfig
from robopref.align.evaluate import Evaluation, evaluate_episodes
from robopref.align.labels import Labels
from robopref.align.material import add_demonstrations
from robopref.align.rounds import Rounds
from robopref.align.run import Run
from robopref.align.shown import Shown
from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.preferences.terminal import Person

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
        self.rounds = Rounds(self)

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
        self.run.stage("base", self._train_base, together=True)
        self.run.stage("pool", self._record_pool)

    def prepare_reward(self) -> None:
        """Have queries answered, and learn the reward from the answers."""
        self.run.stage("labels", self._ask)
        self.run.stage("reward", self._train_reward)
        if self.config.cameras:
            self.run.stage("critic", self._train_critic)

    def align(self) -> None:
        """Fine-tune in rounds, and keep what came out unless it is worse."""
        for number in range(1, self.rounds.num_rounds + 1):
            work = functools.partial(self.rounds.do_round, number)
            self.run.stage(f"round-{number}", work, together=True)
        self.run.stage("aligned", self.rounds.keep_best)

    def selection_pays(self) -> bool:
        """Return whether the aligned policy acts no worse with best-of-N on top of it.

        Worse is lower success or score on validation starts. A policy that was tuned by what a
        reward likes has little left to choose from, and the reward may like to linger.
        """
        if (self.directory / "aligned" / STEERING).is_file():
            return False  # It chooses by itself already.
        pays: bool = self.run.stage("selection", self.rounds.try_selection)["pays"]
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
        spec = self.selected_spec(run / "policy") if chooses else policy_spec(run)
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

    def record(
        self,
        name: str,
        actor: ActorSpec,
        start_set: str,
        num: int,
        *,
        first: int = 0,
        per_start: int = 1,
    ) -> EpisodeStore:
        """Record what is missing of `num` episodes into a data set of the run, and return it.

        Args:
            name: Folder of the data set.
            actor: Who acts.
            start_set: Which starts.
            num: Episodes.
            first: Place of the first of them in the set of starts.
            per_start: Episodes from each start.
        """
        config = self.config
        plan = Plan(
            env=config.env, actor=actor, seed=config.seed, start_set=start_set,
            num_episodes=num, first=first, per_start=per_start, group_size=max(10, per_start),
            max_episode_steps=config.max_episode_steps, metadata={"name": name},
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
            self.record("demonstrations", actor, "demonstrations", config.num_demonstrations)
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
            directory=self.directory / "base", seed=self.config.seed, pictures=self.shown,
        )  # fmt: skip
        return {"figures": dict(result.figures), "steps": result.steps}

    def _record_pool(self) -> dict[str, Any]:
        spec = PolicySpec(self.directory / "base" / "policy")
        store = self.record("pool", spec, "pool", self.config.num_pool_episodes)
        rates = self.evaluate(e for e in store if e.metadata["name"] == "pool")
        if self.config.ask_about_demonstrations:
            try:
                add_demonstrations(store, self.store("demonstrations"), self.config)
            except DataError as error:
                self.run.announce(f"demonstrations are not asked about: {error}")
        return {"rates": rates.to_dict()}

    def labels(self) -> Labels:
        """Return the queries, answers and reward of this run."""
        return Labels(
            self.config, self.directory, self.store("pool"), self.behaviour, shown=self.shown
        )

    @functools.cached_property
    def shown(self) -> Shown:
        """What rewards and policies are shown of episodes."""
        return Shown(self.config, self.directory)

    def _ask(self) -> dict[str, Any]:
        person = None if self.person is None else self.person(self.store("pool"))
        return self.labels().ask(person)

    def _train_reward(self) -> dict[str, Any]:
        labels = self.labels()
        reward, figures = labels.fit_reward()
        reward.save_pretrained(self.directory / "reward")
        return {"figures": figures, "point": labels.curve_point(reward, figures)}

    def _train_critic(self) -> dict[str, Any]:
        from robopref.policies.serialization import load_policy
        from robopref.rewards.critic import CriticConfig
        from robopref.rewards.serialization import load_reward
        from robopref.seeding import make_generator

        seed, episodes = self.config.seed, list(self.store("pool"))
        reward = load_reward(self.directory / "reward")
        along = self.labels().rewards_along(reward, episodes)
        policy = load_policy(self.directory / "base" / "policy")
        critic = CriticConfig().of_policy(policy, make_generator(seed, "critic", "weights"))
        figures = critic.fit(
            self.shown.add_to(policy, episodes), [rewards for rewards, _ in along],
            generator=make_generator(seed, "critic"), seed=seed,
        )  # fmt: skip
        critic.save_pretrained(self.scorer)
        return {"figures": figures}

    def label_curve(self) -> list[dict[str, float]]:
        """Return how well the reward ordered the pool after each round of answers."""
        curve: list[dict[str, float]] = self.run.figures("labels")["curve"]
        return [*curve, self.run.figures("reward")["point"]]

    def selected_spec(self, policy: Path) -> PolicySpec:
        """Return a saved policy with best-of-N by the learned reward."""
        return PolicySpec(policy, self.scorer, self.config.selection)

    @property
    def scorer(self) -> Path:
        """Where what scores candidates is: the reward, or a critic of one that needs pictures."""
        return self.directory / ("critic" if self.config.cameras else "reward")

    def critic(self) -> Any:
        """Return the critic of a reward that needs pictures; None for other rewards."""
        from robopref.rewards.critic import load_critic

        return load_critic(self.scorer) if self.config.cameras else None

    def _evaluation_of(self, name: str, spec: PolicySpec) -> Callable[[], dict[str, Any]]:
        def work() -> dict[str, Any]:
            store = self.record(f"evaluation/{name}", spec, "test", self.config.num_test_episodes)
            return {"rates": self.evaluate(store).to_dict()}

        return work

"""The rounds of an alignment run: recording, fine-tuning, and which of what was made is kept."""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from robopref.align.actors import PolicySpec, save_steered
from robopref.align.evaluate import usable
from robopref.align.guard import Guard
from robopref.align.material import best, finetune_data
from robopref.config import resolve
from robopref.data.episode import Episode
from robopref.policies.finetune.at_run_time import is_at_run_time
from robopref.ranks import get_ranks
from robopref.seeding import make_generator

if TYPE_CHECKING:
    from robopref.align.loop import AlignmentLoop


class Made(NamedTuple):
    """A policy that a method made, and what the guard found."""

    round: int
    policy: PolicySpec
    figures: dict[str, float]


class Rounds:
    """What a method makes of a run.

    Args:
        loop: The run, which records and keeps what each stage found.
    """

    def __init__(self, loop: "AlignmentLoop") -> None:
        self.loop = loop
        self.config, self.run, self.directory = loop.config, loop.run, loop.directory

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

    @property
    def _per_start(self) -> int:
        """How many episodes of each start the method compares with each other."""
        groups = getattr(self.tuned_by, "groups", None)
        return getattr(groups, "episodes_per_start", 1)

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

    def do_round(self, number: int) -> dict[str, Any]:
        """Record with best-of-N if the method learns from that, and fine-tune."""
        from robopref.policies.serialization import load_policy

        method = self.tuned_by
        start = self._start_of(number)
        data = get_ranks().main_first(lambda: self._finetune_data(number, start))

        def guard(policy: Any) -> dict[str, float]:
            # Made where it is called: of several processes, one acts to see how a policy does.
            return self.guard(policy)

        tuned, result = method.run(
            load_policy(start), data,
            generator=make_generator(self.config.seed, "fine-tune", str(number)),
            directory=self._policy_of_round(number).parent, validate=guard,
            **self._environment_for(method),
        )  # fmt: skip
        found = get_ranks().on_main(lambda: guard(tuned))
        figures = {"figures": dict(result.figures), "steps": result.steps, "guard": found}
        if data.chosen:
            figures["rates_of_chosen"] = self.loop.evaluate(data.chosen).to_dict()
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
        store = self.loop.record(
            f"rounds/{number}/{name}", spec, "selection", num, first=each * (number - 1),
            per_start=self._per_start if name == "pool" else 1,
        )  # fmt: skip
        return usable(config, store)

    def _choose(self, number: int, policy: Path, pool: Sequence[Episode]) -> list[Episode]:
        """Record episodes of a policy with best-of-N; return the best of all rounds so far.

        Best is by the learned reward. Those of earlier rounds stay where they are good enough: a
        round's own are few, and a policy tuned on few forgets. Where demonstrations are asked
        about, they and the pool may be among the best as well.
        """
        self._record_round(number, self.loop.selected_spec(policy), "selection")
        stores = [self.loop.store(f"rounds/{n}/selection") for n in range(1, number + 1)]
        episodes = [episode for store in stores for episode in usable(self.config, store)]
        if not episodes:
            raise ValueError(
                "None of the episodes recorded with best-of-N succeeded, so there is nothing to "
                "distil. Lower `selection.pessimism`, ask more labels, or set use_success to false."
            )
        others = pool if self.config.ask_about_demonstrations else ()
        return best(self.loop.labels(), self._reward, episodes, others)

    def _finetune_data(self, number: int, policy: Path) -> Any:
        """Return what a method may learn from; every method gets as many episodes recorded."""
        from robopref.policies.serialization import load_policy

        pool, chosen = usable(self.config, self.loop.store("pool")), []
        if self.records_selected:
            chosen = self._choose(number, policy, pool)
        else:
            pool += self._record_round(number, PolicySpec(policy), "pool")
        return finetune_data(
            self.loop.labels(), self._reward, chosen=chosen, pool=pool,
            demonstrations=list(self.loop.store("demonstrations")), policy=load_policy(policy),
            scorer=self.loop.critic(),
        )  # fmt: skip

    @functools.cached_property
    def _reward(self) -> Any:
        from robopref.rewards.serialization import load_reward

        return load_reward(self.directory / "reward")

    def _member_returns(self, episodes: Sequence[Episode]) -> np.ndarray:
        returns: np.ndarray = self._reward.member_returns(self.loop.shown.whole(episodes))
        return returns

    @functools.cached_property
    def guard(self) -> Guard:
        """Measures policies beside the base."""
        from robopref.policies.serialization import load_policy

        base = load_policy(self._policy_of_round(0))
        demonstrations = list(self.loop.store("demonstrations"))
        return Guard(
            self.config, base,
            member_returns=self._member_returns, rates=self.loop.evaluate,
            demonstrations=self.loop.shown.add_to(base, demonstrations),
        )  # fmt: skip

    def keep_best(self) -> dict[str, Any]:
        """Take over the best that was made, or the base if the guard says that all is worse."""
        base, made = PolicySpec(self._policy_of_round(0)), self._made()
        best = self._confirmed(made)
        keep_base = best is None and not self.config.guard.keep_worse
        kept = made[-1] if best is None else best
        save_steered(base if keep_base else kept.policy, self.directory / "aligned")
        return {
            "guard": kept.figures, "base": self.guard.base, "worse": best is None,
            "kept_base": keep_base, "round": kept.round,
        }  # fmt: skip

    def _confirmed(self, made: Sequence[Made]) -> Made | None:
        """Return the best that is no worse than the base on fresh starts either."""
        left = list(made)
        while (best := self._best(left)) is not None:
            if self.guard.confirms(best.policy.load(), best.figures):
                return best
            left.remove(best)
        return None

    def _best(self, made: Sequence[Made]) -> Made | None:
        """Return the best of those that are not worse than the base; None if all are."""
        good = [one for one in made if not self.guard.is_worse(one.figures)]
        # Of equals the last, which was tuned for longest.
        return max(good, key=lambda one: (one.figures["score"], one.round), default=None)

    def _made_in_rounds(self, last: int) -> list[Made]:
        return [
            Made(
                n,
                PolicySpec(self._policy_of_round(n)),
                self.run.figures(f"round-{n}")["guard"],
            )
            for n in range(1, last + 1)
        ]

    def _made(self) -> list[Made]:
        """Return what the method made, in its order."""
        method = resolve(self.config, "method")
        if not is_at_run_time(method):
            return self._made_in_rounds(self.num_rounds)
        tuned = None if method.tuned_by is None else self._policy_of_round(self.num_rounds)
        reward = self.loop.scorer if method.uses_reward else None
        spec = PolicySpec(self._policy_of_round(0), reward, method, tuned)
        return [Made(self.num_rounds, spec, self.guard(spec.load()))]

    def try_selection(self) -> dict[str, Any]:
        """Return whether best-of-N on top of the aligned policy is no worse, and what was found."""
        found = self.run.figures("aligned")
        alone = found["base"] if found["kept_base"] else found["guard"]
        on_top = self.guard(self.loop.selected_spec(self.directory / "aligned" / "policy").load())
        pays = all(on_top[name] >= alone[name] for name in ("success", "score"))
        return {"pays": pays, "alone": alone, "on_top": on_top}

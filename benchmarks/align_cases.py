"""The cases and methods of the alignment benchmark, and in which stage which of them run.

Groups: even, half of the demonstrations show what is preferred; rare, one in ten or one in twenty;
long-horizon, one chunk does not decide; combined, two criteria, each judged by its own annotator.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

from robopref.align.guard import GuardConfig
from robopref.envs import BEHAVIOURS
from robopref.envs.both import BothConfig
from robopref.policies.finetune.at_run_time import GuideConfig, SelectConfig
from robopref.policies.finetune.distil import DistilConfig, RewardWeightedConfig
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.dro import DROConfig
from robopref.policies.finetune.episodes import EpisodesConfig
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.policies.finetune.lists import PlackettLuceConfig, RankDPOConfig
from robopref.policies.finetune.online import PPOConfig
from robopref.policies.finetune.quality import QualityConfig
from robopref.policies.finetune.regression import IREPOConfig, PRDPConfig
from robopref.policies.finetune.unpaired import KTOConfig, NPOConfig
from robopref.policies.selection import BestOfNConfig
from robopref.preferences.teachers import EqualTeacherConfig, HumanLikeTeacherConfig


@dataclass(frozen=True)
class Case:
    """A task and what is preferred in it."""

    group: str
    task: str
    behaviour: Any
    share: float = 0.5
    """Share of the demonstrations that show it."""

    @property
    def name(self) -> str:
        """Return a name for files and tables."""
        if isinstance(self.behaviour, BothConfig):
            what = "+".join(str(b) for b in (self.behaviour.first, self.behaviour.second))
        else:
            what = BEHAVIOURS.name_of(type(self.behaviour))
        share = "" if self.share in (0.5, 0.25) else f"@{self.share:g}"
        return f"{self.task.removesuffix('-v3')}/{what}{share}"


def _of(name: str) -> Any:
    return BEHAVIOURS.config_class(name)()


_RARE = (
    ("button-press-topdown-v3", "detour-left"),
    ("drawer-close-v3", "detour-right"),
    ("faucet-close-v3", "approach-high"),
)

CASES = (
    Case("even", "button-press-topdown-v3", _of("detour-right")),
    Case("even", "faucet-close-v3", _of("detour-left")),
    Case("even", "drawer-open-v3", _of("approach-high")),
    *(Case("rare 10 %", task, _of(name), 0.1) for task, name in _RARE),
    *(Case("rare 5 %", task, _of(name), 0.05) for task, name in _RARE),
    Case("long-horizon", "button-press-topdown-v3", _of("keep-away")),
    Case("long-horizon", "drawer-open-v3", _of("fast")),
    Case("long-horizon", "plate-slide-v3", _of("direct")),
    # Each of the four combinations of two ways is a quarter of the demonstrations.
    Case("combined", "button-press-topdown-v3", BothConfig("detour-right", "fast"), 0.25),
    Case("combined", "plate-slide-v3", BothConfig("approach-high", "fast"), 0.25),
    Case("combined", "coffee-button-v3", BothConfig("detour-left", "fast"), 0.25),
)
CURVE_CASES = (CASES[0], CASES[4], CASES[9], CASES[12])
CURVE_SEEDS = 3


@dataclass(frozen=True)
class Method:
    """A method of the benchmark: settings of the loop, or a control that is no alignment."""

    name: str
    changes: Mapping[str, Any] | None = None
    """Settings of the loop that differ from the default's."""
    control: str = ""
    """success-filter, true-reward or oracle; else it is run by the loop."""
    also_selected: bool = False
    """Whether the policy is also tested with best-of-N on top."""

    def __reduce__(self) -> Any:
        """Cross to worker processes by name."""
        return _method, (self.name,)


def _distil(learning_rate: float) -> DistilConfig:
    method = DistilConfig()
    return replace(method, trainer=replace(method.trainer, learning_rate=learning_rate))


def _tuned(name: str, method: Any, **changes: Any) -> Method:
    return Method(name, {"method": method, "num_rounds": 1, **changes})


_ANSWERS, _REWARD = GroupsConfig("answers"), GroupsConfig("reward")
# All its steps are taken: that the best weights on the robot are kept is not published.
_AS_PUBLISHED = replace(
    DPOConfig(groups=_REWARD, safeguard=0.0, anchor=0.0),
    trainer=replace(DPOConfig().trainer, patience=None),
)


# What comes out is what is judged, even where the guard would keep the base in its place.
_UNGUARDED = {"guard": GuardConfig(keep_worse=True)}


def _as_published(beta: float, learning_rate: float = 1e-4) -> DPOConfig:
    trainer = replace(_AS_PUBLISHED.trainer, learning_rate=learning_rate)
    return replace(_AS_PUBLISHED, dpo_beta=beta, trainer=trainer)


DEFAULT = Method("distil", also_selected=True)
# The strength of the reference is the best of the search; at the customary 100 it hardly moves.
PUBLISHED = _tuned("dpo-as-published", _as_published(10.0), **_UNGUARDED)
CONTROLS = tuple(Method(name, control=name) for name in ("success-filter", "true-reward", "oracle"))
METHODS = (
    DEFAULT,
    _tuned("distil, one round", DistilConfig()),
    Method("distil, all believed", {"find_mistakes": False}),
    Method(
        "distil, certain half", {"method": DistilConfig(episodes=EpisodesConfig(keep_certain=0.5))}
    ),
    Method("distil, easy first", {"method": DistilConfig(episodes=EpisodesConfig(easy_first=0.5))}),
    _tuned("reward-weighted", RewardWeightedConfig()),
    _tuned("reward-weighted, advantage", RewardWeightedConfig(credit="advantage")),
    _tuned("quality", QualityConfig()),
    _tuned("quality, advantage", QualityConfig(credit="advantage")),
    _tuned("dro", DROConfig()),
    _tuned("dpo-as-published, beta 100", _as_published(100.0), **_UNGUARDED),
    _tuned(
        "dpo-as-published, best kept", replace(_as_published(10.0), trainer=DPOConfig().trainer)
    ),
    _tuned("dpo, answers", DPOConfig(groups=_ANSWERS)),
    _tuned("dpo, answers, advantage", DPOConfig(groups=replace(_ANSWERS, credit="advantage"))),
    _tuned("dpo, answers, matched", DPOConfig(groups=replace(_ANSWERS, credit="matched"))),
    _tuned("dpo, reward", DPOConfig(groups=_REWARD)),
    _tuned("dpo, reward, certain half", DPOConfig(groups=replace(_REWARD, keep_certain=0.5))),
    _tuned("dpo, reward, easy first", DPOConfig(groups=replace(_REWARD, easy_first=0.5))),
    _tuned("dpo, candidates", DPOConfig()),
    _tuned("dpo, candidates, ipo", DPOConfig(link="ipo")),
    _tuned("dpo, candidates, hinge", DPOConfig(link="hinge")),
    _tuned("dpo, candidates, smoothed", DPOConfig(label_smoothing=0.1)),
    _tuned("dpo, candidates, jensen-shannon", DPOConfig(divergence="jensen-shannon")),
    _tuned("plackett-luce", PlackettLuceConfig()),
    _tuned("rank-dpo", RankDPOConfig()),
    _tuned("prdp", PRDPConfig()),
    _tuned("irepo", IREPOConfig()),
    _tuned("kto", KTOConfig()),
    _tuned("npo", NPOConfig()),
    Method("best-of-n", {"method": SelectConfig()}),
    _tuned("best-of-n, implicit", SelectConfig(score="implicit", tuning=DPOConfig(groups=_REWARD))),
    _tuned("best-of-n, combined", SelectConfig(score="combined", tuning=DPOConfig(groups=_REWARD))),
    Method("guidance", {"method": GuideConfig()}),
    # More iterations would take longer than all other methods together.
    _tuned("ppo, 30 iterations", PPOConfig(num_iterations=30)),
)

# More settings for the baseline than for the default, on two cases with a seed of their own.
SEARCH = (
    Method("distil, rate 3e-4", {"method": _distil(3e-4)}),
    Method("distil, rate 3e-4, keep 0.3", {"method": _distil(3e-4), "selected_share": 0.3}),
    Method("distil, rate 3e-4, 64 candidates",
           {"method": _distil(3e-4), "selection": BestOfNConfig(num_candidates=64)}),
    Method("distil, rate 1e-3", {"method": _distil(1e-3)}),
    *(
        _tuned(f"dpo-as-published, beta {beta:g}", _as_published(beta), **_UNGUARDED)
        for beta in (1.0, 10.0, 100.0, 1000.0)
    ),
    _tuned("dpo-as-published, rate 3e-4", _as_published(10.0, 3e-4), **_UNGUARDED),
    _tuned("dpo-as-published, rate 1e-3", _as_published(10.0, 1e-3), **_UNGUARDED),
    Method(
        "dpo-as-published, three rounds", {"method": _as_published(10.0), **_UNGUARDED}
    ),
)  # fmt: skip
BY_NAME = {method.name: method for method in (*METHODS, PUBLISHED, *CONTROLS, *SEARCH)}


def _method(name: str) -> Method:
    return BY_NAME[name]


@dataclass(frozen=True)
class Item:
    """One run of the queue."""

    stage: str
    case: Case
    seed: int
    num_labels: int
    flips: float
    """Share of the answers that are turned around; -1 for errors that depend on the gap."""
    method: Method

    @property
    def key(self) -> str:
        """Return what tells this run from all others."""
        return (
            f"{self.stage}|{self.case.name}|seed {self.seed}|{self.num_labels} labels|"
            f"flips {self.flips:g}|{self.method.name}"
        )

    @property
    def asks_about_demonstrations(self) -> bool:
        """Whether queries are made of demonstrations as well, as the loop does if not told else.

        What chose the methods was measured before it did, and controls ask nobody.
        """
        return self.stage not in ("search", "screening", "own") and not self.method.control

    @property
    def teacher(self) -> Any:
        """Return the teacher, who calls equal what differs by less than half a spread."""
        if self.flips < 0:
            return HumanLikeTeacherConfig()
        return EqualTeacherConfig(mistake_rate=self.flips)


def plan(stage: str) -> Iterator[Item]:
    """Yield the runs of a stage."""
    if stage == "search":
        for case in (CASES[3], CASES[9]):
            for method in SEARCH:
                yield Item(stage, case, 100, 20, 0.0, method)
    elif stage == "screening":
        for case in (*CASES[:2], CASES[3], CASES[7], *CASES[9:11], *CASES[12:14]):
            for flips in (0.0, 0.2):
                for method in (*METHODS, PUBLISHED):
                    yield Item(stage, case, 0, 20, flips, method)
    elif stage == "main":
        yield from _main()
    elif stage == "own":
        yield from _own()
    elif stage == "curves":
        points = [(n, 0.0) for n in (2, 10, 50)] + [(20, flips) for flips in (0.1, 0.3, -1.0)]
        for seed, case in product(range(CURVE_SEEDS), CURVE_CASES):
            for labels, flips in points:
                for method in (DEFAULT, PUBLISHED):
                    yield Item(stage, case, seed, labels, flips, method)
            # Other points are those of the main stage, which has no wrong answers for it.
            yield Item(stage, case, seed, 20, 0.2, PUBLISHED)
    else:
        raise ValueError(f"`stage` must be one of {list(STAGES)}, got '{stage}'.")


STAGES = ("search", "screening", "own", "main", "curves")
RUNNERS_UP = ("npo", "best-of-n, combined")
"""The two best of the screening beside the default."""


def _main() -> Iterator[Item]:
    # Seed by seed, so that what is there of an unfinished queue is of all cases.
    for seed, case in product(range(5), CASES):
        for labels, method in product((5, 20), (DEFAULT, PUBLISHED)):
            yield Item("main", case, seed, labels, 0.0, method)
        yield Item("main", case, seed, 20, 0.2, DEFAULT)
    for seed, case in product(range(3), CASES):
        for labels, name in product((5, 20), RUNNERS_UP):
            yield Item("main", case, seed, labels, 0.0, BY_NAME[name])
        for method in CONTROLS:
            yield Item("main", case, seed, 20, 0.0, method)


def _own() -> Iterator[Item]:
    for seed, case in product(range(3), CASES):
        for labels, method in product((5, 20), (DEFAULT, *(BY_NAME[n] for n in RUNNERS_UP))):
            yield Item("own", case, seed, labels, 0.0, method)
        yield Item("own", case, seed, 20, 0.2, DEFAULT)

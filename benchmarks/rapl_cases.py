"""What `benchmarks/rapl.py` compares: tasks seen by a camera, methods, stages of the queue."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from benchmarks.align_cases import PUBLISHED
from robopref.envs.behaviours import ApproachHighConfig, KeepAwayConfig
from robopref.envs.planar.behaviours import KeepOutConfig, TogetherConfig
from robopref.policies.finetune.dpo import DPOConfig
from robopref.policies.finetune.group_sources import GroupsConfig
from robopref.rewards.frame_reward import make_trainer
from robopref.rewards.rapl import RAPLConfig, RAPLPlusConfig
from robopref.rewards.visual_matching import ImageNetOTConfig, TCCOTConfig, TemporalOTConfig
from robopref.rewards.visual_rlhf import VisualRLHFConfig
from robopref.rewards.visual_set import VisualSetConfig

FEW, MANY = 20, 100
LABELS = (5, 10, FEW, 50, MANY, 150)
NOISE = (0.0, 0.1, 0.2, 0.3)
SEEDS = 3
STAGES = ("main", "grid", "search", "policies")


@dataclass(frozen=True)
class Case:
    """A task with a behaviour, labelled in one environment and judged in one or more.

    Args:
        name: In the tables.
        behaviour: What people prefer.
        env: Where clips are labelled.
        others: Names and environments of other embodiments, where the reward is used as it is.
    """

    name: str
    behaviour: Any
    env: str
    others: dict[str, str] = field(default_factory=dict)

    @property
    def tests(self) -> dict[str, str]:
        """Where rewards are judged."""
        return {self.name: self.env} | self.others


HANDS = {f"avoid, {hand}": f"planar/avoid-{hand}-v0" for hand in ("medium", "long", "gripper")}
AVOID = Case("avoid", KeepOutConfig(), "planar/avoid-short-v0", HANDS)
CASES = (
    AVOID,
    Case("group", TogetherConfig(), "planar/group-short-v0"),
    Case("approach high", ApproachHighConfig(), "metaworld/button-press-topdown-v3"),
    Case("keep away", KeepAwayConfig(), "metaworld/drawer-close-v3"),
)


@dataclass(frozen=True)
class Method:
    """A reward with its settings."""

    name: str
    reward: Any


FAITHFUL, PLUS = Method("rapl", RAPLConfig()), Method("rapl-plus", RAPLPlusConfig())
RLHF = Method("visual-rlhf", VisualRLHFConfig())
METHODS = (
    FAITHFUL,
    PLUS,
    RLHF,
    Method("visual-imagenet-ot", ImageNetOTConfig()),
    Method("visual-temporal-ot", TemporalOTConfig()),
    Method("visual-tcc-ot", TCCOTConfig()),
    Method("visual-set", VisualSetConfig()),
)


def _trained(method: Method, num_steps: int, learning_rate: float) -> Method:
    fit = replace(method.reward.fit, trainer=make_trainer(num_steps, learning_rate))
    name = f"{method.name}, {num_steps} steps at {learning_rate:g}"
    return Method(name, replace(method.reward, fit=fit))


SEARCH = tuple(
    _trained(method, steps, rate)
    for method in (PLUS, RLHF)
    for steps in (80, 200)
    for rate in (1e-3, 3e-3, 1e-2)
)
"""How the two that are compared most were trained, on a seed of its own; as many tries for each."""


@dataclass(frozen=True)
class Item:
    """One fit to be judged.

    Args:
        stage: Of the queue.
        case: What is labelled.
        seed: Of the labels and of the fit.
        labels: Rankings of three clips each.
        noise: Probability that two neighbours of a ranking are turned around.
        method: What learns.
    """

    stage: str
    case: Case
    seed: int
    labels: int
    noise: float
    method: Method

    @property
    def key(self) -> str:
        """Identity in the results; stages share what is equal."""
        return (
            f"{self.case.name}|seed {self.seed}|{self.labels} labels|noise {self.noise:g}|"
            f"{self.method.name}"
        )


@dataclass(frozen=True)
class PolicyCase:
    """A task in which policies are aligned.

    Args:
        name: In the tables.
        behaviour: What people prefer.
        env: Where it acts.
        camera: By which the reward judges.
        max_steps: Time limit of an episode.
    """

    name: str
    behaviour: Any
    env: str
    camera: str
    max_steps: int


POLICY_CASES = (
    PolicyCase("avoid", KeepOutConfig(), "planar/avoid-short-v0", "top", 200),
    PolicyCase(
        "approach high", ApproachHighConfig(), "metaworld/button-press-topdown-v3", "front", 150
    ),
)
POLICY_SEEDS = 5


@dataclass(frozen=True)
class Alignment:
    """What is done with a reward.

    Args:
        name: In the tables.
        changes: Settings of the loop that differ from those of the benchmark.
        chooses: How the base chooses among its candidates, "critic" or "simulate"; else it is
            tuned.
    """

    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    chooses: str = ""


def _matched() -> Any:
    """Return DPO on the best and the worst of four that began alike, if members are sure of it."""
    groups = GroupsConfig("reward", num_episodes=4, starts="alike", keep_certain=0.5)
    return DPOConfig(groups=groups, soft_labels=True)


DISTIL = Alignment("distil")
AS_PUBLISHED = Alignment("dpo-as-published", dict(PUBLISHED.changes or {}))
SELECT, SIMULATE = Alignment("critic", chooses="critic"), Alignment("simulate", chooses="simulate")
MATCHED = Alignment("dpo, matched", {"method": _matched()})
DIRECT = Alignment(
    "dpo, answers",
    AS_PUBLISHED.changes
    | {"method": replace(AS_PUBLISHED.changes["method"], groups=GroupsConfig("answers"))},
)
"""As published, but on the pairs that were answered: no reward is learned for it."""
ALIGNMENTS = (
    (PLUS, DISTIL), (PLUS, AS_PUBLISHED), (PLUS, MATCHED), (PLUS, SELECT), (PLUS, SIMULATE),
    (RLHF, DISTIL), (RLHF, AS_PUBLISHED), (FAITHFUL, AS_PUBLISHED), (PLUS, DIRECT),
)  # fmt: skip
"""Which reward is used how."""


@dataclass(frozen=True)
class Policy:
    """One alignment to be done.

    Args:
        case: Where.
        seed: Of everything.
        labels: Rankings of three episodes each.
        reward: What learns from them.
        method: What is done with it.
    """

    case: PolicyCase
    seed: int
    labels: int
    reward: Method
    method: Alignment

    @property
    def key(self) -> str:
        """Identity in the results."""
        return (
            f"policy|{self.case.name}|seed {self.seed}|{self.labels} labels|{self.reward.name}|"
            f"{self.method.name}"
        )


def plan_policies() -> Iterator[Policy]:
    """Yield the alignments, seed by seed, so that a part of them is of all cases."""
    for seed, case in product(range(POLICY_SEEDS), POLICY_CASES):
        for reward, method in ALIGNMENTS:
            yield Policy(case, seed, FEW, reward, method)


def plan(stage: str) -> Iterator[Item]:
    """Yield the fits of a stage; the stage of policies has none."""
    seeds = range(SEEDS)
    if stage == "main":
        yield from (
            Item(stage, case, seed, labels, noise, method)
            for case in CASES for seed in seeds for labels in (FEW, MANY) for noise in (0.0, 0.2)
            for method in METHODS
        )  # fmt: skip
    elif stage == "grid":
        yield from (
            Item(stage, AVOID, seed, labels, noise, method)
            for seed in seeds for labels in LABELS for noise in NOISE for method in (PLUS, RLHF)
        )  # fmt: skip
    elif stage == "search":
        yield from (Item(stage, AVOID, 100, FEW, 0.0, method) for method in SEARCH)

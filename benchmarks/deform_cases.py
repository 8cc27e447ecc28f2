"""What `benchmarks/deform.py` compares: cases of deformable tasks, and rows of ways to act."""

from dataclasses import dataclass, replace

from robopref.deform.config import DeformConfig, best_of, small
from robopref.policies.primitive_diffusion import PrimitiveDiffusionConfig
from robopref.rewards.deformpam import CandidateRewardConfig, DeformPAMRewardConfig

LABELS = {"granular": 200, "rope": 100, "tshirt": 146}
"""States that DeformPAM ranked for each (its table I)."""
SHOWN = {"granular": 60, "rope": 30, "tshirt": 90}
"""Demonstrations that it had of each."""
TASKS = {"granular": "granular-T-v0", "rope": "rope-circle-v0", "tshirt": "tshirt-flat-v0"}
STARTS = {"granular": 20, "rope": 20, "tshirt": 10}
LIMITS = {"granular": 0, "rope": 0, "tshirt": 6}
"""Primitives of an episode at most; 0 for the task's own limit."""


@dataclass(frozen=True)
class Row:
    """A way to act.

    Args:
        name: In the table.
        method: What tunes the policy whose likelihood scores or who proposes; "" for none.
        proposers: Who proposes: "base", "tuned".
        num_candidates: Of each decision.
        reward: How they are scored; None takes the first one.
        tries: Score by trying instead.
    """

    name: str
    method: str = ""
    proposers: tuple[str, ...] = ("base",)
    num_candidates: int = 8
    reward: DeformPAMRewardConfig | None = None
    tries: bool = False


PLUS, PUBLISHED = "deformpam-plus", "deformpam"
IMPLICIT, EXPLICIT = DeformPAMRewardConfig("implicit"), DeformPAMRewardConfig("explicit")
COMBINED = DeformPAMRewardConfig("combined")
BOTH = ("tuned", "base")
SUPERVISED = Row("supervised only")
ORACLE = Row("oracle of 8", tries=True)
FAITHFUL = Row("faithful RAS", PUBLISHED, reward=DeformPAMRewardConfig.published())
OURS = Row("ours", PLUS, BOTH, 16, COMBINED)
ROWS = (
    SUPERVISED,
    Row("tuned policy sampled", PLUS, ("tuned",)),
    FAITHFUL,
    Row("explicit head", PLUS, reward=EXPLICIT),
    Row("corrected RAS", PLUS, reward=IMPLICIT),
    Row("ours of 8", PLUS, BOTH, 8, COMBINED),
    OURS,
    Row("ours of 32", PLUS, BOTH, 32, COMBINED),
    ORACLE,
)
"""A random candidate of the supervised policy is what it does by itself: one row for both."""
FEW = (SUPERVISED, FAITHFUL, OURS, ORACLE)
"""Rows of the quick benchmark and of the held-out domain."""


@dataclass(frozen=True)
class Case:
    """A task with its data.

    Args:
        material: One of `TASKS`.
        share: Of DeformPAM's labels.
        seed: Of everything random.
        physics: In which the rows act; what they learned is of the standard one.
        quick: Smaller networks and fewer demonstrations and starts.
    """

    material: str
    share: float = 1.0
    seed: int = 0
    physics: str = "standard"
    quick: bool = False

    @property
    def name(self) -> str:
        """Folder of what is learned, which cases that differ in physics alone share."""
        return f"{self.material} labels {self.share:g} seed {self.seed}"

    def config(self) -> DeformConfig:
        """Return the settings of what is learned."""
        # A fling is by two places whose order says nothing.
        is_symmetric = self.material == "tshirt"
        config = DeformConfig(
            policy=PrimitiveDiffusionConfig(is_symmetric=is_symmetric),
            explicit=CandidateRewardConfig(is_symmetric=is_symmetric), seed=self.seed,
        )  # fmt: skip
        if self.quick:
            config = small(seed=self.seed)
        num_states = round(self.share * LABELS[self.material])
        config = replace(
            config, env=f"deformable/{TASKS[self.material]}", num_states=num_states, num_rounds=1,
            max_episode_steps=LIMITS[self.material],
            # Every row goes on to the limit, so that they differ in what they choose alone.
            stop=replace(config.stop, patience=0), selection=best_of(16),
        )  # fmt: skip
        if self.quick:
            return config
        return replace(
            config, num_demonstrations=SHOWN[self.material],
            num_test_episodes=STARTS[self.material],
            num_pool_episodes=max(4, num_states // 10),
        )  # fmt: skip


def plan() -> list[tuple[Case, Row]]:
    """Return all that is run, the cheapest first."""
    items = []
    for material, seeds in (("rope", 5), ("granular", 5), ("tshirt", 3)):
        for share in (0.25, 1.0):
            items += [(Case(material, share, seed), r) for seed in range(seeds) for r in ROWS]
        held_out = [Case(material, seed=seed, physics="held-out") for seed in range(2)]
        items += [(case, row) for case in held_out for row in FEW]
    return items


QUICK = [(Case("rope", 0.25, quick=True), row) for row in FEW]

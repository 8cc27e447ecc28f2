"""Ways to do a planar task: as preferred, in the other way, in part, clumsily, at random."""

import math
from dataclasses import dataclass, field, replace

import numpy as np

from robopref.envs.planar.expert import Plan, PlanarExpert
from robopref.errors import check_choice

_MEMORY = 0.9
"""How much of a wandering motion is left in the next step."""
_WANDER = 0.8


@dataclass
class PlanStyle:
    """Follow a plan, with more or less skill.

    Args:
        name: Name of the style.
        plan: What to push where; which block is the first one is drawn for each episode.
        skill: Share of the expert's motion; the rest is wandering about, with smooth changes.
    """

    name: str
    plan: Plan
    skill: float = 1.0
    _expert: PlanarExpert | None = field(default=None, repr=False)
    _rng: np.random.Generator | None = field(default=None, repr=False)
    _drift: np.ndarray | None = field(default=None, repr=False)

    def begin(self, state: np.ndarray, target: slice, rng: np.random.Generator) -> None:
        """Draw the first block."""
        self._expert = PlanarExpert(replace(self.plan, first=int(rng.integers(2))))
        self._rng, self._drift = rng, None

    def bend(self, state: np.ndarray, action: np.ndarray) -> np.ndarray:
        """Return the plan's action, whatever `action` is."""
        if self._expert is None:
            return action
        planned: np.ndarray = self._expert.get_action(state).clip(-1.0, 1.0)
        if self.skill >= 1.0:
            return planned
        return self.skill * planned + (1.0 - self.skill) * self._wander(planned.shape)

    def _wander(self, shape: tuple[int, ...]) -> np.ndarray:
        assert self._rng is not None
        drift: np.ndarray = _WANDER * self._rng.standard_normal(shape)
        if self._drift is not None:
            drift = _MEMORY * self._drift + math.sqrt(1.0 - _MEMORY**2) * drift
        self._drift = drift
        return drift


_PLANS: dict[str, dict[str, tuple[Plan, float]]] = {
    "avoid": {
        "expert": (Plan(around=2), 1.0),
        "half-way": (Plan(around=1), 1.0),
        "other-way": (Plan(around=0), 1.0),
        "partial": (Plan(around=2, blocks=1), 1.0),
        "clumsy": (Plan(around=2), 0.5),
        "random": (Plan(around=2), 0.0),
    },
    "group": {
        "expert": (Plan(together=True), 1.0),
        "half-way": (Plan(together=True, meet_y=0.3), 1.0),
        "other-way": (Plan(), 1.0),
        "partial": (Plan(blocks=1), 1.0),
        "clumsy": (Plan(together=True), 0.5),
        "random": (Plan(), 0.0),
    },
}
QUALITIES = ("expert", "other-way", "half-way", "partial", "clumsy", "random")


def quality_style(kind: str, quality: str) -> PlanStyle:
    """Return a style of a quality, for clips that differ in how good they are.

    Args:
        kind: Kind of the task, "avoid" or "group".
        quality: "expert" does the task as preferred. "other-way" does it through the region, or
            takes the blocks to the goal one by one. "half-way" does so with the second block only,
            or up to the middle of the table. "partial" brings one block, "clumsy" wanders half the
            time, and "random" does nothing else.

    Raises:
        ValueError: There is no such kind or quality.

    Example:
        >>> quality_style("group", "partial").plan
        Plan(together=False, around=2, first=0, blocks=1, meet_y=-0.12)
    """
    check_choice("kind", kind, ["avoid", "group"])
    check_choice("quality", quality, QUALITIES)
    return PlanStyle(quality, *_PLANS[kind][quality])


def expert(kind: str) -> PlanarExpert:
    """Return the expert who does the task as preferred, with the left block first."""
    return PlanarExpert(_PLANS[kind]["expert"][0])


def styles(kind: str) -> tuple[PlanStyle, PlanStyle]:
    """Return a style that does the task as preferred, and one that does it the other way."""
    names = {"avoid": ("around", "through"), "group": ("together", "one by one")}[kind]
    plans = (_PLANS[kind]["expert"][0], _PLANS[kind]["other-way"][0])
    good, other = (PlanStyle(name, plan) for name, plan in zip(names, plans, strict=True))
    return good, other

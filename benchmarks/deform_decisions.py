"""How long a decision takes, from a cloud to the chosen primitive: ours, and as published."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from robopref.deform.config import DeformConfig, best_of
from robopref.deform.feasible import feasible_for
from robopref.policies.primitive_diffusion import PrimitiveDiffusionConfig
from robopref.policies.proposals import Proposals
from robopref.rewards.deformpam import CandidateRewardConfig, DeformPAMRewardConfig
from robopref.seeding import make_generator
from robopref.types import POINTS

FLOOR_MS = 400.0
SHAPES = {POINTS: (512, 3)}


def decision_figures(*, num_ours: int = 60, num_published: int = 3) -> dict[str, Any]:
    """Return 95th percentiles of decisions on networks of the default sizes [ms]."""
    generator = make_generator(0)
    config = DeformConfig()
    base, tuned = (PrimitiveDiffusionConfig().build(SHAPES, 6, generator).eval() for _ in "12")
    explicit = CandidateRewardConfig().build(SHAPES, 6, generator).eval()
    choice = best_of(16).build(
        Proposals([tuned, base]), config.reward.build(tuned, base, explicit),
        feasible=feasible_for("pick-and-place"),
    )  # fmt: skip
    obs = {POINTS: 0.1 * torch.randn(1, 1, 512, 3, generator=generator)}
    slow = PrimitiveDiffusionConfig(num_denoise_steps=100)
    published = (slow.build(SHAPES, 6, generator).eval() for _ in "12")
    scheme = _Published(*published)
    times = {
        "decision_p95_ms": _times(lambda: choice.select(obs, generator), num_ours),
        "published_decision_p95_ms": _times(lambda: scheme.decide(obs, generator), num_published),
    }
    figures: dict[str, Any] = {
        name: {"value": float(np.percentile(some, 95)), "n": len(some)}
        for name, some in times.items()
    }
    ours = figures["decision_p95_ms"]
    ours |= {"floor": FLOOR_MS, "ok": bool(ours["value"] <= FLOOR_MS)}
    return figures


class _Published:
    """As DeformPAM's code does it: 8 candidates in 100 steps, the cloud seen anew at every draw."""

    def __init__(self, reference: Any, tuned: Any) -> None:
        self.reference = reference
        self.tuned = tuned
        self.reward = DeformPAMRewardConfig.published()

    def decide(self, obs: dict[str, torch.Tensor], generator: torch.Generator) -> torch.Tensor:
        candidates = self.reference.sample(obs, 8, generator)
        steps, noise = self.tuned.draw_noising(self.reward.num_noises, generator)
        steps = (steps * self.reward.least_noisy).long()
        total = torch.zeros(candidates.shape[:2])
        for draw in range(len(steps)):
            one = slice(draw, draw + 1)
            for sign, policy in ((-1.0, self.tuned), (1.0, self.reference)):
                errors = policy.candidate_errors(obs, candidates, steps[one], noise[one])
                total += sign * errors[..., 0]
        best: torch.Tensor = candidates[0, total[0].argmax()]
        return best


def _times(decide: Callable[[], Any], num: int) -> list[float]:
    times = []
    with torch.inference_mode():
        for _ in range(num + 1):
            start = time.perf_counter()
            decide()
            times.append(1e3 * (time.perf_counter() - start))
    return times[1:]

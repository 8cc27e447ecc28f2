"""Implicit Q-learning: a policy better than its data, from recorded episodes alone.

A value is fitted to the upper expectile of what the twin critics say of the actions in the data,
the critics to the rewards and that value, and the actor imitates each action as much as
exp(beta * advantage). No action outside of the data is ever evaluated.

Many runs of one task train as one batched model: seeds, and rewards for the same transitions. It
has its own loop and not `robopref.trainer`, whose step is one loss, one learning rate and one
gradient norm: here the actor alone decays, targets move after each step, members must not meet in a
common norm, and gradients are written out. Checkpoints, metrics, progress, Ctrl-C and the sharing
of batches among processes are those of the trainer: an interrupted run ends with the same weights,
bit for bit.

Shapes: M members, N transitions, R observations, B batch.

References:
    [1] Kostrikov et al., Offline reinforcement learning with implicit Q-learning, 2021,
        arXiv:2110.06169.
"""

import copy
import hashlib
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from robopref.errors import check_above, check_at_least, check_between, check_choice
from robopref.nn import threads_for
from robopref.policies.gaussian import GaussianPolicy, GaussianPolicyConfig
from robopref.policies.iql_data import Transitions
from robopref.policies.iql_learner import Errors, IQLLearner
from robopref.ranks import get_ranks, telling_of_loss
from robopref.run_checkpoint import RunCheckpoint
from robopref.seeding import make_generator
from robopref.tracker import Tracker, watch
from robopref.trainer import TrainResult

ROWS = 8192
"""Observations that are valued in one call; bounds memory."""


@dataclass(frozen=True)
class IQLConfig:
    """Settings of IQL; the defaults are those of [1] for locomotion, but for the steps."""

    policy: GaussianPolicyConfig = field(default_factory=GaussianPolicyConfig)
    """The actor; critics and value have hidden layers of the same widths."""
    num_steps: int = 20_000
    """Updates."""
    batch_size: int = 256
    """Transitions an update, for each member its own."""
    learning_rate: float = 3e-4
    """Learning rate of Adam; that of the actor falls to zero along a cosine."""
    discount: float = 0.99
    """What a reward is worth a step later."""
    expectile: float = 0.7
    """Which expectile the value is of; nearer to 1, nearer to the best action of the data."""
    inverse_temperature: float = 3.0
    """How strongly the actor prefers actions of high advantage (beta of [1]); 0 clones."""
    max_weight: float = 100.0
    """Actions count at most so much."""
    target_rate: float = 0.005
    """How far the target critics move towards the critics in an update."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision of the products of hidden layers; bf16 is a third to a half faster on processors
    that multiply it."""
    log_interval: int = 500
    """Updates between log lines."""
    checkpoint_interval: int = 5000
    """Updates between checkpoints."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_steps", "batch_size", "log_interval", "checkpoint_interval"):
            check_at_least(name, getattr(self, name), 1)
        check_above("learning_rate", self.learning_rate, 0)
        check_above("max_weight", self.max_weight, 0)
        check_at_least("inverse_temperature", self.inverse_temperature, 0)
        check_choice("mixed_precision", self.mixed_precision, ("no", "bf16"))
        check_above("expectile", self.expectile, 0)
        for name in ("discount", "expectile", "target_rate"):
            check_between(name, getattr(self, name), 0, 1)


class IQLRun:
    """One training of M members.

    Args:
        config: How.
        transitions: What is learned from.
        rewards: Each member's rewards.
        seeds: Each member's seed.
        clones: Members that imitate all actions alike.
        directory: Gets the checkpoint and the metrics; None keeps nothing and cannot resume.
        device: "auto" for the best there is, or "cpu".
    """

    def __init__(
        self,
        config: IQLConfig,
        transitions: Transitions,
        rewards: Float[Tensor, "M N"],
        seeds: Sequence[int],
        *,
        clones: Sequence[bool],
        directory: Path | None = None,
        device: Literal["auto", "cpu"] = "auto",
    ) -> None:
        self.config = config
        self.directory = directory
        self.ranks = get_ranks()
        self.device = self.ranks.device(device)
        self.transitions = transitions.to(self.device)
        self.rewards = rewards.to(self.device)
        self.generators = [make_generator(seed, "iql") for seed in seeds]
        sizes = (transitions.features.shape[1], transitions.action.shape[1])
        self.learner = IQLLearner(config, sizes, self.generators, clones=clones, device=self.device)
        self.step = 0
        self._figures: dict[str, float] = {}
        self._checkpoint = None
        if directory is not None:
            # So that a run on other rewards or episodes is not taken for this one.
            digest = _digest(transitions.features, transitions.action, rewards)
            self.learner.register_buffer("data_digest", digest)
            self._checkpoint = RunCheckpoint(
                directory / "iql.safetensors", config, self.learner, self.generators[0],
                len(transitions),
            )  # fmt: skip

    def fit(self) -> TrainResult:
        """Train to the end, from the last checkpoint if there is one."""
        start = time.monotonic()
        begun = [g.get_state().tolist() for g in self.generators]
        self.ranks.check_alike("train iql", [len(self.transitions), begun])
        self._resume()
        num = self.config.num_steps
        watching = watch(
            self.directory, "train iql", total=num, done=self.step,
            arithmetic=self.ranks.arithmetic(
                num, self.config.batch_size, len(self.transitions), self.learner
            ),
        )  # fmt: skip
        with threads_for(self.learner.optimizer), watching as seen, telling_of_loss():
            while self.step < num:
                self._after_update(self.update(), seen.tracker)
                seen.bar.advance(1, value_loss=self._figures.get("value_loss", math.nan))
                if seen.must_stop():
                    self._save()
                    raise KeyboardInterrupt
        self._save()
        return TrainResult(self.step, time.monotonic() - start, dict(self._figures), self.step)

    def policies(self, like: GaussianPolicy) -> list[GaussianPolicy]:
        """Return every member's policy, with the normaliser of `like`."""
        made = []
        state = {key: value.cpu() for key, value in self.learner.actor.state_dict().items()}
        for member, log_std in enumerate(self.learner.log_std.detach().cpu()):
            policy = copy.deepcopy(like)
            policy.network.load_state_dict(
                {key: value[member : member + 1] for key, value in state.items()}
            )
            policy.log_std.data.copy_(log_std[0])
            policy.reset()
            made.append(policy.eval())
        return made

    @torch.no_grad()
    def values(self) -> Float[Tensor, "M R"]:
        """Return what every member holds each observation of the data to be worth."""
        parts = [
            self.learner.value(rows)[..., 0]
            for rows in torch.split(self.transitions.features, ROWS)
        ]
        return torch.cat(parts, dim=1)

    def update(self) -> Errors:
        """Draw a batch for each member and move all weights once."""
        done = self.step / self.config.num_steps
        rate = self.config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        drawn = self._draw()
        self._share = self.ranks.share(drawn.shape[1], self.learner)
        batch = self.transitions.gather(self.rewards, drawn[:, self._share.rows])
        self.step += 1
        return self.learner.update(
            batch, actor_learning_rate=rate,
            average=lambda gradients: self.ranks.average(gradients, self._share),
        )  # fmt: skip

    def _after_update(self, errors: Errors, tracker: Tracker | None) -> None:
        """Log and save if it is time."""
        last = self.step == self.config.num_steps
        logs = last or self.step % self.config.log_interval == 0
        saves = self.step % self.config.checkpoint_interval == 0
        if logs or saves:
            figures = errors.figures(self.config.expectile)
            self._figures = self.ranks.mean_figures(figures, self._share)
            self._check_finite()
        if logs and tracker is not None:
            tracker.log(self.step, self._figures)
        if saves:
            self._save()

    def _draw(self) -> Tensor:
        """Return indices (M, B) of all ranks; a member's do not depend on who else is trained."""
        shape = (self.config.batch_size,)
        drawn = [torch.randint(len(self.transitions), shape, generator=g) for g in self.generators]
        return torch.stack(drawn).to(self.device)

    def _check_finite(self) -> None:
        if not all(math.isfinite(figure) for figure in self._figures.values()):
            raise FloatingPointError(
                f"The losses of IQL are not finite at step {self.step}: {self._figures}. Check the "
                "rewards for extreme values, or lower `learning_rate`."
            )

    def _save(self) -> None:
        if self._checkpoint is not None:
            self._checkpoint.save({
                "step": self.step,
                "optimizer": self.learner.optimizer.state_dict(),
                "generators": [generator.get_state() for generator in self.generators],
                "figures": self._figures,
            })  # fmt: skip

    def _resume(self) -> None:
        state = self._checkpoint.load() if self._checkpoint is not None else None
        if state is not None:
            self.learner.optimizer.load_state_dict(state["optimizer"])
            for generator, drawn in zip(self.generators, state["generators"], strict=True):
                generator.set_state(drawn)
            self.step, self._figures = state["step"], state["figures"]


def _digest(*tensors: Tensor) -> Tensor:
    """Return 32 bytes that tell these numbers from others."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8).clone()

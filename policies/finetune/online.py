"""PPO on the learned reward, over decisions in an environment and the denoising steps of each [1].

An iteration acts for one episode in each environment with the last denoising steps taken at random
(`denoising_mdp`), values the decisions by the learned reward (`experience`), and makes the steps
likelier that led to what was good (`ppo`). A learned reward is right near what it was learned from
and nowhere else, and a policy that acts for it finds out where it is wrong. Four things hold it
back: the reward is taken less a share of its uncertainty, decisions of which it is least certain
teach nothing, advantages are bounded, and every step is held to the base's by their divergence.

References:
    [1] Ren et al., Diffusion policy policy optimization (DPPO), 2024, arXiv:2409.00588.
"""

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from gymnasium.vector import VectorEnv
from torch import nn

from robopref.errors import check_at_least
from robopref.nn import threads_for
from robopref.policies.finetune.data import FinetuneData
from robopref.policies.finetune.denoising_mdp import DenoisingConfig, DenoisingSteps
from robopref.policies.finetune.experience import Collector, Experience
from robopref.policies.finetune.given import Given
from robopref.policies.finetune.ppo import PPOLossConfig, PPOObjective, Steps
from robopref.policies.finetune.tuning import Validate
from robopref.policies.quality import QualityDiffusionConfig
from robopref.ranks import get_ranks, telling_of_loss
from robopref.run_checkpoint import RunCheckpoint
from robopref.shares import sharing
from robopref.tracker import watch
from robopref.trainer import TrainResult

MakeVectorEnv = Callable[[], VectorEnv]
"""Returns the environments to act in; the training closes them."""
NO_SCORER = (
    "PPO needs a learned reward that scores action chunks, and there is none. "
    "Train one, such as mlp."
)


@dataclass(frozen=True)
class PPOConfig:
    """Fine-tune by acting in an environment for the learned reward, by PPO."""

    needs_environment: ClassVar[bool] = True

    denoising: DenoisingConfig = field(default_factory=DenoisingConfig)
    """Which denoising steps are random and tuned."""
    loss: PPOLossConfig = field(default_factory=PPOLossConfig)
    """How decisions are valued, and how far the policy may go for them."""
    num_iterations: int = 100
    """Times that episodes are acted out and learned from."""
    max_decisions: int = 25
    """Decisions after which an episode is left; the value network says what would have come."""
    pessimism: float = 0.5
    """How many deviations of the reward's members are taken off each decision's score."""
    num_epochs: int = 5
    """Times that an iteration's denoising steps are gone through."""
    batch_size: int = 512
    """Denoising steps in a gradient step."""
    learning_rate: float = 3e-4
    """Learning rate of AdamW for the policy."""
    value_learning_rate: float = 1e-3
    """The same for the value network."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    validation_interval: int = 5
    """Iterations between validations; the policy of the lowest loss is kept."""
    checkpoint_interval: int = 5
    """Iterations between checkpoints."""
    num_envs: int = 16
    """Environments that the loop makes for it; with group advantages a multiple of the groups."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_iterations", "max_decisions", "num_epochs", "batch_size",
                     "validation_interval", "checkpoint_interval", "num_envs"):  # fmt: skip
            check_at_least(name, getattr(self, name), 1)
        for name in ("pessimism", "learning_rate", "value_learning_rate"):
            check_at_least(name, getattr(self, name), 0)
        if not self.max_grad_norm > 0:
            raise ValueError(f"`max_grad_norm` must be more than 0, got {self.max_grad_norm}.")

    def check(self, given: Given) -> None:
        """Refuse what this cannot learn from, before anything is recorded.

        Raises:
            ValueError: There will be no scorer, the policy is guided or samples in fewer steps
                than are tuned, or `num_envs` are no whole groups.
        """
        if not given.has_scorer:
            raise ValueError(NO_SCORER)
        if isinstance(given.policy, QualityDiffusionConfig):
            raise ValueError(
                "PPO tunes steps of denoising as the network predicts them, and a policy of "
                "QualityDiffusionConfig is pushed on from there by guidance. Take the policy "
                "'diffusion', or another method."
            )
        self.denoising.check(given.policy.num_denoise_steps)
        _num_groups(self.loss, self.num_envs)

    def run(
        self,
        policy: Any,
        data: FinetuneData,
        *,
        generator: torch.Generator,
        directory: Path | None = None,
        validate: Validate | None = None,
        make_vector_env: MakeVectorEnv | None = None,
    ) -> tuple[Any, TrainResult]:
        """Return a fine-tuned copy of `policy`, which stays as it is, and how the training went.

        A run that was interrupted ends the same only if equal seeds start equal episodes.

        Args:
            policy: Where to start, and what the copy is held to.
            data: Its scorer is the reward.
            generator: All randomness of the training, and the seeds of the environments' resets.
            directory: Gets the checkpoint, the metrics, and the policy itself in `policy/`.
            validate: Measures the policy while it is tuned.
            make_vector_env: Makes the environments.

        Raises:
            ValueError: There is no environment or no scorer, or they do not fit.
            CheckpointError: `directory` holds a checkpoint of another run.
            FloatingPointError: The gradient is not finite.
        """
        if make_vector_env is None:
            raise ValueError(
                "PPO needs an environment to act in, and there is none. Pass `make_vector_env`, "
                "such as lambda: make_vector('metaworld/reach-v3', 16), or take another method."
            )
        if data.scorer is None:
            raise ValueError(NO_SCORER)
        env = make_vector_env()
        try:
            training = _Training(self, policy, env, data.scorer, generator, directory, validate)
            tuned, result = training.fit()
        finally:
            env.close()
        if directory is not None:
            get_ranks().on_main(lambda: tuned.save_pretrained(directory / "policy"))
        return tuned, result


class _Training:
    """The loop of acting and learning, with checkpoints, validation and a bar."""

    def __init__(
        self, config: PPOConfig, policy: Any, env: VectorEnv, scorer: Any,
        generator: torch.Generator, directory: Path | None, validate: Validate | None,
    ) -> None:  # fmt: skip
        self.config = config
        self.generator = generator
        self.directory = directory
        self.validate = validate
        self.ranks = get_ranks()
        self.num_groups = _num_groups(config.loss, env.num_envs)
        self.collector = Collector(
            env, scorer, pessimism=config.pessimism, max_decisions=config.max_decisions
        )
        base = copy.deepcopy(policy).eval().requires_grad_(False)
        self.tuned = copy.deepcopy(policy)
        self.tuned.reset()
        self.steps = DenoisingSteps(base, config.denoising)
        self.objective = PPOObjective(self.tuned, base, self.steps, config.loss, generator)
        groups = ((self.tuned, config.learning_rate),
                  (self.objective.value, config.value_learning_rate))  # fmt: skip
        self.optimizer = torch.optim.AdamW(
            [{"params": list(module.parameters()), "lr": rate} for module, rate in groups],
            weight_decay=0.0,
        )
        self.checkpoint = None
        if directory is not None:
            path = directory / "ppo.safetensors"
            self.checkpoint = RunCheckpoint(path, config, self.objective, generator, env.num_envs)
        self.iteration = 0
        self.figures: dict[str, float] = {}
        self.best: dict[str, Any] = {"loss": math.inf, "iteration": 0, "weights": {}}

    def fit(self) -> tuple[Any, TrainResult]:
        """Train to the end, from the last checkpoint if there is one."""
        start = time.monotonic()
        begun = [self.collector.env.num_envs, self.generator.get_state().tolist()]
        self.ranks.check_alike("fine-tune", begun)
        self._resume()
        num = self.config.num_iterations
        watching = watch(self.directory, "fine-tune", total=num, done=self.iteration)
        with threads_for(self.optimizer), watching as seen, telling_of_loss():
            while self.iteration < num:
                self._iterate()
                if seen.tracker is not None:
                    seen.tracker.log(self.iteration, self.figures)
                # After its line, which a run that goes on does not write again.
                if self.iteration % self.config.checkpoint_interval == 0:
                    self._save()
                seen.bar.advance(1, reward=self.figures["reward"])
                if seen.must_stop():
                    self._save()
                    raise KeyboardInterrupt
        self._save()
        if self.best["weights"]:
            self.tuned.load_state_dict(self.best["weights"])
        self.tuned.eval()
        best = self.best["iteration"] or self.iteration
        return self.tuned, TrainResult(
            self.iteration, time.monotonic() - start, dict(self.figures), best
        )

    def _iterate(self) -> None:
        """Act for an episode, learn from it, and validate if it is time."""
        random = self.config.denoising.random_steps(len(self.steps), self.iteration)
        # By one process: what happens in an environment need not be the same on every machine.
        experience, state = self.ranks.on_main(lambda: self._act(random))
        self.generator.set_state(state)
        self.figures = {
            "reward": float(experience.reward[experience.acted].mean()),
            "doubt": float(experience.doubt[experience.acted].mean()),
            "environment_return": float(experience.own_return.mean()),
        }
        rows = self.objective.prepare(experience, random)
        for _ in range(self.config.num_epochs):
            order = torch.randperm(len(rows.place), generator=self.generator)
            for batch in torch.split(order.to(rows.place.device), self.config.batch_size):
                self._update(rows, batch)
        self.iteration += 1
        if self.validate is not None and self.iteration % self.config.validation_interval == 0:
            self._keep_if_best(self.validate)

    def _act(self, random: range) -> tuple[Experience, torch.Tensor]:
        """Return an episode of each environment, and the state of the randomness after it."""
        seeds = torch.randint(2**31, (self.num_groups,), generator=self.generator)
        each = self.collector.env.num_envs // self.num_groups
        self.tuned.eval()
        experience = self.collector.collect(
            self.tuned, self.steps, random,
            seeds=seeds.repeat_interleave(each).tolist(), generator=self.generator,
        )  # fmt: skip
        return experience, self.generator.get_state()

    def _update(self, rows: Steps, batch: torch.Tensor) -> None:
        share = self.ranks.share(len(batch), self.objective)
        with sharing(share):
            loss, figures = self.objective(rows, batch[share.rows])
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = self.objective.parameters()
        self.ranks.average([p.grad for p in parameters if p.grad is not None], share)
        for module in (self.tuned, self.objective.value):
            norm = nn.utils.clip_grad_norm_(module.parameters(), self.config.max_grad_norm)
            if not torch.isfinite(norm):
                raise FloatingPointError(
                    f"The gradient is not finite in iteration {self.iteration} of PPO. Check the "
                    "reward for extreme values, or lower `learning_rate`."
                )
        self.optimizer.step()
        own = {key: float(value) for key, value in figures.items()}
        self.figures |= self.ranks.mean_figures(own, share)

    def _keep_if_best(self, validate: Validate) -> None:
        self.tuned.eval()
        with torch.no_grad():
            figures = self.ranks.on_main(lambda: dict(validate(self.tuned)))
        self.figures |= {f"validation/{key}": value for key, value in figures.items()}
        if figures["loss"] < self.best["loss"]:
            weights = {k: v.detach().clone() for k, v in self.tuned.state_dict().items()}
            self.best = {
                "loss": figures["loss"], "iteration": self.iteration, "weights": weights
            }  # fmt: skip

    def _save(self) -> None:
        if self.checkpoint is not None:
            self.checkpoint.save({
                "iteration": self.iteration, "optimizer": self.optimizer.state_dict(),
                "generator": self.generator.get_state(), "best": self.best,
                "figures": self.figures,
            })  # fmt: skip

    def _resume(self) -> None:
        state = self.checkpoint.load() if self.checkpoint is not None else None
        if state is not None:
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            self.iteration, self.best = state["iteration"], state["best"]
            self.figures = state["figures"]


def _num_groups(config: PPOLossConfig, num_envs: int) -> int:
    """Return how many starts there are."""
    if config.advantage == "gae":
        return num_envs
    if num_envs % config.group_size:
        raise ValueError(
            f"The number of environments (={num_envs}) must be a multiple of `group_size` "
            f"(={config.group_size})."
        )
    return num_envs // config.group_size

"""The training loop: every model of robopref is trained here and nowhere else.

An objective is a module whose `forward(batch, generator)` returns the loss and figures to log. The
same code runs on a CPU, a GPU, or many (`robopref.ranks`). Everything random comes from one
generator whose state is saved, so a resumed run ends with the same weights, bit for bit, as one
that was never interrupted (CPU, equal threads, as many processes). Among other numbers of processes
it is the same samples in the same order, and the same losses but for rounding.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from robopref.errors import check_at_least, check_between
from robopref.kept_weights import KeptWeights
from robopref.nn import threads_for
from robopref.ranks import get_ranks, telling_of_loss
from robopref.run_checkpoint import RunCheckpoint
from robopref.shares import Share, sharing
from robopref.tracker import Tracker, watch

Batch = Mapping[str, Tensor]


@runtime_checkable
class BatchSource(Protocol):
    """Where batches come from.

    One of so few items that each batch is to hold all of them has `hands_out_all`, which is true.
    """

    def __len__(self) -> int:
        """Return how many items there are."""
        ...

    def gather(self, indices: Tensor) -> Batch:
        """Return the items at `indices`, on the CPU, first axis as `indices`."""
        ...


@runtime_checkable
class ChangesWithProgress(Protocol):
    """A source that hands out other items as training goes on, such as a curriculum."""

    def at_progress(self, progress: float) -> None:
        """Take note of how much of the training is done, 0 to 1."""
        ...


@dataclass(frozen=True)
class TrainerConfig:
    """How a model is trained."""

    num_steps: int = 2000
    """Gradient steps."""
    batch_size: int = 256
    """Items a step, over all processes."""
    learning_rate: float = 1e-3
    """Highest learning rate of AdamW; cosine decay to zero."""
    weight_decay: float = 1e-4
    """Weight decay of AdamW."""
    warmup_steps: int = 50
    """Steps of linear warm-up."""
    max_grad_norm: float = 1.0
    """Gradients are clipped to this norm."""
    ema_decay: float | None = None
    """Decay of the moving average of the weights; None for none."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """Precision of the forward pass."""
    compile: bool = False
    """Compile the model first, in a minute or two; of use where a GPU waits for small kernels."""
    gradient_accumulation: int = 1
    """Batches a gradient step."""
    log_interval: int = 50
    """Steps between log lines."""
    validation_interval: int = 100
    """Steps between validations."""
    patience: int | None = None
    """Stop after this many validations without a better loss and keep the best; None never."""
    checkpoint_interval: int = 500
    """Steps between checkpoints."""

    def __post_init__(self) -> None:
        """Check ranges."""
        for name in ("num_steps", "batch_size", "gradient_accumulation", "log_interval",
                     "validation_interval", "checkpoint_interval"):  # fmt: skip
            check_at_least(name, getattr(self, name), 1)
        for name in ("learning_rate", "weight_decay", "warmup_steps"):
            check_at_least(name, getattr(self, name), 0)
        if not self.max_grad_norm > 0:
            raise ValueError(f"`max_grad_norm` must be more than 0, got {self.max_grad_norm}.")
        if self.ema_decay is not None:
            check_between("ema_decay", self.ema_decay, 0, 1)
        if self.patience is not None:
            check_at_least("patience", self.patience, 1)


@dataclass(frozen=True)
class TrainResult:
    """What a training run ended with."""

    steps: int
    seconds: float
    figures: Mapping[str, float]
    best_step: int


class Trainer:
    """Trains `objective` on batches from `source`.

    Args:
        config: How.
        objective: Module whose `forward(batch, generator)` returns (loss, figures).
        source: Where batches come from.
        generator: All randomness, on the CPU.
        validate: Returns figures that must hold "loss"; called with the averaged weights in place.
        directory: Where checkpoints and logs go; None keeps nothing and cannot resume.
        description: What the progress bar calls it.
        device: "auto" for the best there is, or "cpu".

    Raises:
        ValueError: The source is empty.
    """

    def __init__(
        self,
        config: TrainerConfig,
        objective: nn.Module,
        source: BatchSource,
        *,
        generator: torch.Generator,
        validate: Callable[[], Mapping[str, float]] | None = None,
        directory: Path | None = None,
        description: str = "train",
        device: Literal["auto", "cpu"] = "auto",
    ) -> None:
        if len(source) == 0:
            raise ValueError(
                f"There is nothing to train '{description}' on: its source holds no items."
            )
        self.config = config
        self.source = source
        self.generator = generator
        self.validate = validate
        self.directory = directory
        self.description = description
        self.ranks = get_ranks()
        self.device = self.ranks.device(device)
        self._objective = objective.to(self.device)
        self.model: Any = self.ranks.parallel(objective)
        if config.compile:
            self.model = torch.compile(self.model)
        self._parameters = [p for p in objective.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self._parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True
        )
        self._kept = KeptWeights(objective, ema_decay=config.ema_decay, patience=config.patience)
        self._checkpoint = None
        if directory is not None:
            path = directory / "trainer.safetensors"
            self._checkpoint = RunCheckpoint(path, config, objective, generator, len(source))
        self.step = 0
        self._figures: dict[str, float] = {}

    def fit(self) -> TrainResult:
        """Train to the end, from the last checkpoint if there is one.

        Raises:
            CheckpointError: The checkpoint in `directory` is of another run.
            FloatingPointError: The loss is not finite.
            KeyboardInterrupt: Ctrl-C or SIGTERM; the step was finished and saved first.
            RankLostError: Another process is gone.
        """
        start = time.monotonic()
        begun = [len(self.source), self.generator.get_state().tolist()]
        self.ranks.check_alike(self.description, begun)
        self._resume()
        num = self.config.num_steps
        watching = watch(
            self.directory, self.description, total=num, done=self.step,
            arithmetic=self.ranks.arithmetic(
                num, len(self.source) if self._hands_out_all() else self.config.batch_size,
                len(self.source), self._objective,
                accumulation=self.config.gradient_accumulation,
            ),
        )  # fmt: skip
        with threads_for(self.optimizer), watching as seen, telling_of_loss():
            while self.step < num and not self._kept.is_enough:
                self._figures |= self._train_step()
                self.step += 1
                self._after_step(seen.tracker)
                seen.bar.advance(1, loss=self._figures.get("loss", math.nan))
                if seen.must_stop():
                    self._save()
                    raise KeyboardInterrupt
        self._save()
        self._kept.put_in_place()
        self._objective.eval()
        seconds, best_step = time.monotonic() - start, self._kept.best_step(self.step)
        return TrainResult(self.step, seconds, dict(self._figures), best_step)

    def _train_step(self) -> dict[str, float]:
        self.model.train()
        learning_rate = self._learning_rate()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        log = (self.step + 1) % self.config.log_interval == 0
        self.optimizer.zero_grad(set_to_none=True)
        bf16 = self.config.mixed_precision == "bf16"
        figures: dict[str, float] = {}
        num = self.config.gradient_accumulation
        for i in range(num):
            share, batch = self._next_batch()
            # Gradients are averaged over the processes once a step, with the last batch.
            with self.ranks.waiting(self.model, i + 1 < num):
                with sharing(share), torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
                    loss, extra = self.model(batch, self.generator)
                (loss * share.weight / num).backward()
            if log:
                own = {"loss": loss.item(), **_as_floats(extra)}
                figures = self.ranks.mean_figures(own, share)
        norm = nn.utils.clip_grad_norm_(self._parameters, self.config.max_grad_norm)
        if not torch.isfinite(norm):
            raise FloatingPointError(
                f"The gradient is not finite at step {self.step} of '{self.description}'. "
                "Check the data for extreme values, or lower `learning_rate`."
            )
        self.optimizer.step()
        self._kept.step()
        return figures | ({"learning_rate": learning_rate} if log else {})

    def _hands_out_all(self) -> bool:
        return bool(getattr(self.source, "hands_out_all", False))

    def _next_batch(self) -> tuple[Share, Batch]:
        """Return this process's share of the next batch."""
        if isinstance(self.source, ChangesWithProgress):
            self.source.at_progress(self.step / self.config.num_steps)
        indices = torch.randint(
            len(self.source), (self.config.batch_size,), generator=self.generator
        )
        if self._hands_out_all():
            indices = torch.arange(len(self.source))
        share = self.ranks.share(len(indices), self._objective)
        batch = self.source.gather(indices[share.rows])
        return share, {key: value.to(self.device) for key, value in batch.items()}

    def _learning_rate(self) -> float:
        config = self.config
        if self.step < config.warmup_steps:
            return config.learning_rate * (self.step + 1) / config.warmup_steps
        span = max(config.num_steps - config.warmup_steps, 1)
        done = (self.step - config.warmup_steps) / span
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * done))

    def _after_step(self, tracker: Tracker | None) -> None:
        if self.validate is not None and self.step % self.config.validation_interval == 0:
            self._validate()
        if tracker is not None and self.step % self.config.log_interval == 0:
            tracker.log(self.step, self._figures)
        if self.step % self.config.checkpoint_interval == 0:
            self._save()

    def _validate(self) -> None:
        self.model.eval()
        with self._kept.averaged():
            # By one process, for what decides when to stop must be the same in all.
            figures, state = self.ranks.on_main(self._measure)
            self.generator.set_state(state)
            self._figures |= {f"validation/{key}": value for key, value in figures.items()}
            if self.config.patience is not None:
                self._kept.judge(figures["loss"], self.step)

    @torch.no_grad()
    def _measure(self) -> tuple[dict[str, float], Tensor]:
        assert self.validate is not None
        return dict(self.validate()), self.generator.get_state()

    def _save(self) -> None:
        if self._checkpoint is None:
            return
        self._checkpoint.save(
            {
                "step": self.step,
                "optimizer": self.optimizer.state_dict(),
                **self._kept.state_dict(),
                "generator": self.generator.get_state(),
                "figures": self._figures,
            }
        )

    def _resume(self) -> None:
        state = self._checkpoint.load() if self._checkpoint is not None else None
        if state is None:
            return
        self.optimizer.load_state_dict(state["optimizer"])
        self._kept.load_state_dict(state, self.device)
        self.generator.set_state(state["generator"])
        self.step = state["step"]
        self._figures = state["figures"]


def _as_floats(figures: Mapping[str, Any]) -> dict[str, float]:
    return {key: float(torch.as_tensor(value).detach()) for key, value in figures.items()}

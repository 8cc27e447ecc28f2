"""What every learned reward shares: an ensemble that fits pairs, scores segments, and saves itself.

Shapes: M members, B batch, L segment length, N candidates, To observation steps, Tp chunk,
Do observation size, Da action size.
"""

from abc import abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from robopref.nn import Normalizer
from robopref.preferences.preference import PairwiseView
from robopref.ranks import get_ranks
from robopref.rewards.checks import check_preferences, check_segments
from robopref.rewards.fit import (
    FitConfig,
    Inputs,
    PairObjective,
    PairSource,
    claim_folder,
    split_validation,
)
from robopref.rewards.losses import PairBatch
from robopref.rewards.measure import measure_pairs
from robopref.rewards.members import MembersReward
from robopref.trainer import Trainer
from robopref.types import STATE, SegmentBatch

NORMALISED_LIMIT = 5.0
"""Normalised inputs are cut off here: a feature that hardly varied in training must not drown
the others when it moves later."""
SMALLEST_DEVIATION = 0.01
"""Share of the largest deviation below which a feature is not scaled up any further: what varies
that little (the tremor of an object at rest) is noise, and few labels would be fitted to it."""
STEPS_AT_ONCE = 8192
"""Steps that go through the network in one call; bounds memory, and stays near the cache."""


def distinct_segments(inputs: Inputs, pairs: PairBatch) -> tuple[Inputs, Int[Tensor, "2 B"]]:
    """Return the inputs of the segments in `pairs`, each once, and both items' place among them."""
    num_segments = len(next(iter(inputs.values())))
    segments, place = torch.unique(torch.stack([pairs.a, pairs.b]), return_inverse=True)
    if len(segments) < num_segments:
        inputs = {name: value[segments] for name, value in inputs.items()}
    return inputs, place


class EnsembleReward(MembersReward):
    """M reward networks as one batched module.

    A subclass says what its networks see of a segment (`prepare`) and what they make of it
    (`compute_rewards`). One that can score candidate chunks also defines `candidate_scores`, and
    names the way in `ways`.

    Args:
        config: The component's config, with a field `fit`.
        obs_dim: Do.
        action_dim: Da.
        num_members: M.
    """

    couples_rows: ClassVar[bool] = False
    """Whether the loss of a pair depends on what else is in its batch (`Ranks.share`)."""

    def __init__(self, config: Any, obs_dim: int, action_dim: int, num_members: int) -> None:
        super().__init__(config, obs_dim, action_dim, num_members)
        self.state_normalizer = Normalizer(obs_dim, "gaussian")
        self.action_normalizer = Normalizer(action_dim, "gaussian")

    @abstractmethod
    def prepare(
        self,
        state: Float[Tensor, "B L Do"],
        action: Float[Tensor, "B L Da"],
        mask: Tensor,
    ) -> dict[str, Tensor]:
        """Return what the networks see of segments; `mask` (B, L) is True for real steps."""

    @abstractmethod
    def compute_rewards(self, inputs: Inputs) -> Float[Tensor, "M B L"]:
        """Return every member's reward of each step; padded steps are 0."""

    @abstractmethod
    def reset_parameters(self, generator: torch.Generator) -> None:
        """Draw new weights, from which `fit` starts."""

    def compute_returns(self, inputs: Inputs) -> Float[Tensor, "M B"]:
        """Return every member's sum of rewards of each segment."""
        return self.compute_rewards(inputs).sum(-1)

    def pair_losses(
        self, inputs: Inputs, pairs: PairBatch, generator: torch.Generator | None
    ) -> Float[Tensor, " M"]:
        """Return every member's loss on pairs of segments.

        A segment that stands in several pairs goes through the networks once.

        Args:
            inputs: What the networks see of segments.
            pairs: Pairs of them.
            generator: For a loss that draws something in training; None in validation.
        """
        segments, (a, b) = distinct_segments(inputs, pairs)
        returns = self.compute_returns(segments)
        return pairs.losses(returns[:, a], returns[:, b])

    def member_rewards(self, segments: SegmentBatch) -> Float[np.ndarray, "M B L"]:
        """Return every member's reward of each step."""
        return self._evaluate(segments, "compute_rewards")

    def member_returns(self, segments: SegmentBatch) -> Float[np.ndarray, "M B"]:
        """Return every member's return of each segment."""
        return self._evaluate(segments, "compute_returns")

    def fit(
        self,
        preferences: PairwiseView,
        *,
        validation: PairwiseView | None = None,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> dict[str, float]:
        """Learn from pairs, from new weights on, and return what was measured.

        With enough held-out pairs (see `FitConfig`) training stops early by their loss; else it
        takes all its steps. Pairs that stopped it are not an independent test.

        Args:
            preferences: The pairs.
            validation: Pairs that share no episode with them; None holds some out if there are
                enough.
            generator: Draws the weights and the batches; the same state gives the same reward.
            directory: Where checkpoints and logs go, and from where a fit goes on that was
                interrupted.

        Returns:
            `train/accuracy`, `train/loss`, `train/ece`, the same of `validation/` if pairs were
            held out, `steps`, `best_step` and `seconds`.

        Raises:
            ValueError: There is nothing to learn from, or sizes are not this reward's.
            DataError: A number in the data is not finite.
            CheckpointError: `directory` holds a fit to other pairs, or of another reward.
        """
        for view in (preferences, validation):
            if view is not None and (view is preferences or len(view)):
                check_preferences(view, self.obs_dim, self.action_dim)
        if directory is not None:
            get_ranks().on_main(lambda: claim_folder(directory, preferences))
        config: FitConfig = self.config.fit
        training, held_out = split_validation(preferences, validation, config, generator)
        training = training.compact()
        self._fit_normalizers(training.segments)
        self.reset_parameters(generator)
        result = self._train(training, held_out, generator, directory)
        self._trained(training)
        measured = {"train": training, "validation": held_out if held_out else validation}
        figures = {
            f"{name}/{key}": value
            for name, view in measured.items()
            if view
            for key, value in measure_pairs(self, view, temperature=config.temperature).items()
        }
        return figures | result

    def _train(
        self,
        training: PairwiseView,
        held_out: PairwiseView | None,
        generator: torch.Generator,
        directory: Path | None,
    ) -> dict[str, float]:
        config: FitConfig = self.config.fit
        objective = self._objective(training, generator)
        check = self._objective(held_out.compact(), None).validate if held_out else None
        trainer = Trainer(
            config.trainer if held_out else replace(config.trainer, patience=None),
            objective,
            PairSource(len(training), config.trainer.batch_size),
            generator=generator,
            validate=check,
            directory=directory,
            description="reward",
        )
        result = trainer.fit()
        return {
            "steps": float(result.steps),
            "best_step": float(result.best_step),
            "seconds": result.seconds,
        }

    def _trained(self, preferences: PairwiseView) -> None:
        """Make what follows from the training pairs once the weights are what they will be."""

    def _objective(
        self, preferences: PairwiseView, generator: torch.Generator | None
    ) -> PairObjective:
        return PairObjective(
            self,
            self.pair_losses,
            self._fit_inputs(preferences),
            preferences,
            num_members=self.num_members,
            config=self.config.fit,
            generator=generator,
        )

    def _fit_inputs(self, preferences: PairwiseView) -> dict[str, Tensor]:
        """Return what the networks see of the segments while they learn from `preferences`."""
        return self._prepare(preferences.segments)

    def _fit_normalizers(self, segments: SegmentBatch) -> None:
        for normalizer, values in (
            (self.state_normalizer, segments.obs[STATE]),
            (self.action_normalizer, segments.action),
        ):
            real = values[segments.mask].astype(np.float64)
            deviation = real.std(axis=0)
            smallest = SMALLEST_DEVIATION * deviation.max(initial=0.0)
            normalizer.fit({"mean": real.mean(axis=0), "std": deviation.clip(smallest)})

    @torch.no_grad()
    def _evaluate(self, segments: SegmentBatch, method: str) -> np.ndarray:
        """Return `method` of the segments, some at a time."""
        check_segments(segments, self.obs_dim, self.action_dim)
        compute = getattr(self, method)
        at_once = max(1, STEPS_AT_ONCE // max(segments.mask.shape[1], 1))
        parts = [
            compute(self._prepare(segments[i : i + at_once])).float().cpu().numpy()
            for i in range(0, max(len(segments), 1), at_once)
        ]
        return np.concatenate(parts, axis=1)

    @torch.no_grad()
    def _prepare(self, segments: SegmentBatch) -> dict[str, Tensor]:
        device = self.state_normalizer.loc.device
        state, action, mask = (
            torch.as_tensor(array).to(device)
            for array in (segments.obs[STATE], segments.action, segments.mask)
        )
        # Padding may hold anything, and 0 times NaN is NaN.
        padded = ~mask[..., None]
        return self.prepare(
            state.float().masked_fill(padded, 0.0), action.float().masked_fill(padded, 0.0), mask
        )

    def normalize_state(self, state: Float[Tensor, "*B Do"]) -> Float[Tensor, "*B Do"]:
        """Return normalised observations within the limit."""
        return self.state_normalizer(state).clamp(-NORMALISED_LIMIT, NORMALISED_LIMIT)  # type: ignore[no-any-return]

    def normalize_action(self, action: Float[Tensor, "*B Da"]) -> Float[Tensor, "*B Da"]:
        """Return normalised actions within the limit."""
        return self.action_normalizer(action).clamp(-NORMALISED_LIMIT, NORMALISED_LIMIT)  # type: ignore[no-any-return]

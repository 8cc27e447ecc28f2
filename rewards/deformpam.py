"""How good an action primitive is on a point cloud, learned from rankings of candidates.

The implicit reward is how much likelier a tuned policy makes an action than the policy it was tuned
from. The explicit one is an ensemble of networks that look at the cloud and the action, fitted to
the same rankings; where tuning has gone too far, the two err in different ways.

Shapes: M members, B observations, N candidates, K candidates of a ranking, Tp = 1, Da = 3 points.

References:
    [1] Chen et al., DeformPAM: Data-efficient learning for long-horizon deformable object
        manipulation via preference-based action alignment, 2024, arXiv:2410.11584.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, get_args

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from robopref.cloud_encoders import check_positions, turned
from robopref.config import component, resolve
from robopref.encoders import ObsShapes
from robopref.errors import check_at_least, check_between, check_choice
from robopref.plackett_luce import plackett_luce_losses
from robopref.point_attention import PointAttention, PointAttentionConfig
from robopref.preferences.candidates import CandidateView
from robopref.pretrained import PretrainedModel
from robopref.protocols import ActionScorer
from robopref.registry import Registry
from robopref.rewards import SCORERS
from robopref.scorers import CombinedScorer, ImplicitScorer, LikelihoodScorer
from robopref.seeding import seeded_weights
from robopref.trainer import Trainer, TrainerConfig
from robopref.types import ACTION, POINTS

Score = Literal["implicit", "explicit", "combined"]
_LEVELS = "levels"


@dataclass(frozen=True)
class DeformPAMRewardConfig:
    """How candidates are scored by a policy that was tuned on rankings."""

    score: Score = "combined"
    """implicit: how much likelier the tuned policy makes an action; explicit: the ensemble;
    combined: both and how likely the policy before tuning makes it, each brought to one spread over
    the candidates, and weighted."""
    dpo_beta: float = 100.0
    """Scale of the implicit reward."""
    num_noises: int = 20
    """Steps and noises over which it is a mean."""
    least_noisy: float = 0.1
    """Share of the denoising steps that is looked at, from the least noisy one: at the others, what
    makes a primitive good is drowned in noise."""
    shared_noise: bool = True
    """Let all candidates meet the same noise."""

    def __post_init__(self) -> None:
        """Check ranges; the others are those of `ImplicitScorer`."""
        check_choice("score", self.score, get_args(Score))

    @classmethod
    def published(cls) -> "DeformPAMRewardConfig":
        """Return the settings of [1]: 100 draws of a tenth of the steps, each candidate its own."""
        return cls("implicit", 100.0, 100, 0.1, shared_noise=False)

    def build(
        self,
        tuned: Any,
        reference: Any,
        explicit: ActionScorer | None = None,
        *,
        weights: Sequence[float] | None = None,
    ) -> ActionScorer:
        """Return the scorer.

        Args:
            tuned: The policy after tuning: it has `candidate_errors` and `draw_noising`.
            reference: The policy before.
            explicit: The ensemble; left out only where the score is implicit.
            weights: How much each of `parts` counts in the combined one; alike by default.
                `robopref.rewards.score_weights.fit_weights` learns them.

        Raises:
            ValueError: The ensemble is missing, or the policies differ in more than their weights.
        """
        if self.score != "implicit" and explicit is None:
            raise ValueError(f"The score '{self.score}' needs an explicit reward, got none.")
        if self.score == "explicit":
            assert explicit is not None
            return explicit
        if self.score == "implicit":
            return self.build_implicit(tuned, reference)
        assert explicit is not None
        return CombinedScorer(tuple(self.parts(tuned, reference, explicit).values()), weights)

    def parts(self, tuned: Any, reference: Any, explicit: ActionScorer) -> dict[str, ActionScorer]:
        """Return by name what the combined score is made of.

        A few rankings teach less than the demonstrations did, of which the policy before tuning
        knows: the third part is how likely it makes an action.

        Raises:
            ValueError: The policies differ in more than their weights.
        """
        likelihood = LikelihoodScorer(
            reference, num_noises=self.num_noises, least_noisy=self.least_noisy
        )
        implicit = self.build_implicit(tuned, reference)
        return {"implicit": implicit, "explicit": explicit, "likelihood": likelihood}

    def build_implicit(self, tuned: Any, reference: Any) -> ImplicitScorer:
        """Return the implicit reward of a tuned policy, whatever `score` is.

        Raises:
            ValueError: The policies differ in more than their weights.
        """
        return ImplicitScorer(
            tuned, reference, dpo_beta=self.dpo_beta, num_noises=self.num_noises,
            least_noisy=self.least_noisy, shared_noise=self.shared_noise,
        )  # fmt: skip


@dataclass(frozen=True)
class CandidateSizes:
    """What an explicit reward is built for."""

    obs_shapes: dict[str, tuple[int, ...]]
    """Shape of one observation by key."""
    action_dim: int
    """Da."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("action_dim", self.action_dim, 1)


@dataclass(frozen=True)
class CandidateRewardConfig:
    """Settings of `CandidateReward`."""

    num_members: int = 3
    """Networks in the ensemble."""
    encoder: Any = component("robopref.cloud_encoders:CLOUD_ENCODERS", default="tokens")
    """What turns a cloud into tokens."""
    attention: PointAttentionConfig = field(default_factory=PointAttentionConfig)
    """Network that looks at the cloud from the points of an action."""
    is_symmetric: bool = False
    """Whether the points of an action are a set, as those by which two arms hold a cloth."""
    augment_yaw_deg: float = 180.0
    """In training, cloud and candidates are turned together by up to so much, either way."""
    trainer: TrainerConfig = field(
        default_factory=lambda: TrainerConfig(
            num_steps=600, batch_size=16, learning_rate=5e-4, weight_decay=1e-2, warmup_steps=20,
            validation_interval=50, patience=4,
        )
    )  # fmt: skip
    """Training; a batch is of so many rankings."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_members", self.num_members, 1)
        check_between("augment_yaw_deg", self.augment_yaw_deg, 0, 180)

    def build(
        self, obs_shapes: ObsShapes, action_dim: int, generator: torch.Generator | None = None
    ) -> "CandidateReward":
        """Return an untrained reward.

        Raises:
            ValueError: There is no point cloud among the observations, or an action is not made of
                positions.
        """
        with seeded_weights(generator):
            return CandidateReward(self, obs_shapes, action_dim)


class CandidateReward(PretrainedModel):
    """An ensemble that scores actions on a cloud, fitted by the likelihood of rankings.

    Candidates do not see one another: the score of one does not depend on which others there are.
    """

    registry: ClassVar[Registry] = SCORERS
    sizes_class: ClassVar[type[Any]] = CandidateSizes

    def __init__(
        self, config: CandidateRewardConfig, obs_shapes: ObsShapes, action_dim: int
    ) -> None:
        super().__init__()
        check_positions(action_dim)
        self.config = config
        self.obs_shapes: ObsShapes = {POINTS: tuple(obs_shapes.get(POINTS, ()))}
        self.action_dim = action_dim
        encoder = resolve(config, "encoder")
        self.members = nn.ModuleList(
            _Member(encoder.build(obs_shapes, 1), config, action_dim // 3)
            for _ in range(config.num_members)
        )

    def candidate_scores(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "M B N"]:
        """Return every member's score of candidates, for observations (B, 1, ...)."""
        return torch.stack([member(obs, candidates) for member in self.members])

    @torch.no_grad()
    def score(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"]
    ) -> Float[Tensor, "B N"]:
        """Return the members' mean score."""
        return self.candidate_scores(obs, candidates).mean(0)

    @torch.no_grad()
    def uncertainty(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N Tp Da"], /
    ) -> Float[Tensor, "B N"]:
        """Return the deviation of the members' scores."""
        return self.candidate_scores(obs, candidates).std(0, correction=0)

    def forward(
        self, batch: Mapping[str, Tensor], generator: torch.Generator
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return minus the log-likelihood of a batch of rankings, the mean over the members."""
        if self.training and self.config.augment_yaw_deg:
            batch = turned(batch, self.config.augment_yaw_deg, generator)
        levels = batch[_LEVELS]
        candidates = batch[ACTION].view(*levels.shape, *batch[ACTION].shape[1:])
        scores = self.candidate_scores(batch, candidates)
        losses = [plackett_luce_losses(each, levels).mean() for each in scores]
        return torch.stack(losses).mean(), {}

    def fit(
        self,
        rankings: CandidateView,
        *,
        validation: CandidateView | None = None,
        generator: torch.Generator,
        directory: Path | None = None,
    ) -> dict[str, float]:
        """Learn from rankings; with validation, the weights of the best held-out loss are kept.

        Returns:
            How many of the ordered pairs are ordered alike: "accuracy" of training, and
            "validation_accuracy".

        Raises:
            CheckpointError: `directory` holds a checkpoint of another run.
        """

        def validate() -> dict[str, float]:
            assert validation is not None
            loss, _ = self({**_Rankings(validation).gather(slice(None))}, generator)
            return {"loss": float(loss)}

        some = validation is not None and len(validation) > 0
        Trainer(
            self.config.trainer, self, _Rankings(rankings), generator=generator,
            directory=directory, description="fit reward", validate=validate if some else None,
        ).fit()  # fmt: skip
        figures = {"accuracy": self.accuracy(rankings)}
        if validation is not None and some:
            figures["validation_accuracy"] = self.accuracy(validation)
        return figures

    def accuracy(self, rankings: CandidateView) -> float:
        """Return how many of the pairs that were put in an order the mean score orders alike."""
        return rankings.pair_accuracy(scores_of(self, rankings))


class _Member(nn.Module):
    """A cloud's tokens, an action's points that look at them, and a number."""

    def __init__(self, encoder: Any, config: CandidateRewardConfig, num_points: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.attention = PointAttention(
            config.attention, encoder.feature_dim, num_points, is_symmetric=config.is_symmetric
        )
        self.adaptation = nn.Parameter(torch.zeros(self.attention.adaptation_dim))
        self.out = nn.Linear(config.attention.width, 1)

    def forward(
        self, obs: Mapping[str, Tensor], candidates: Float[Tensor, "B N 1 Da"]
    ) -> Float[Tensor, "B N"]:
        tokens = self.encoder(obs)
        context = self.attention.context(tokens[..., :3], tokens[..., 3:])
        points = self.encoder.to_frame(candidates, obs).reshape(*candidates.shape[:2], -1, 3)
        features = self.attention(points, context, self.adaptation.expand(len(tokens), -1))
        score: Tensor = self.out(features.mean(dim=2))[..., 0]
        return score


class _Rankings:
    """Rankings as training items: clouds (B, 1, P, 3), candidates (B K, 1, Da), levels (B, K)."""

    def __init__(self, view: CandidateView) -> None:
        self._points = torch.from_numpy(view.obs[POINTS][:, None])
        self._candidates = torch.from_numpy(view.candidates)
        self._levels = torch.from_numpy(view.levels)

    def __len__(self) -> int:
        return len(self._levels)

    def gather(self, indices: Any) -> dict[str, Tensor]:
        return {
            POINTS: self._points[indices], ACTION: self._candidates[indices].flatten(0, 1),
            _LEVELS: self._levels[indices],
        }  # fmt: skip


def scores_of(scorer: ActionScorer, rankings: CandidateView) -> Float[np.ndarray, "G K"]:
    """Return what a scorer says of the candidates of every ranking."""
    obs = {key: torch.from_numpy(value[:, None]) for key, value in rankings.obs.items()}
    scores = scorer.score(obs, torch.from_numpy(rankings.candidates))
    return scores.cpu().numpy()

"""What PPO learns from a collection of decisions: advantages, and the loss of denoising steps.

Shapes: T decisions of an episode, I environments, D decisions, S random denoising steps, R = D S
rows of steps, B rows of a batch, K steps of sampling, To observation steps, Tp action chunk,
Da action size.

References:
    [1] Ren et al., Diffusion policy policy optimization (DPPO), 2024, arXiv:2409.00588, section 4.
    [2] Shen and Zhang, Policy filtration for RLHF to mitigate noise in reward models (PF-PPO),
        2024, arXiv:2409.06957.
    [3] Wang et al., Pref-GRPO, 2025, arXiv:2508.20751.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from robopref.errors import check_at_least, check_between, check_choice
from robopref.policies.finetune.denoising_mdp import DenoisingSteps, divergence, log_prob
from robopref.policies.finetune.experience import Experience, gae, win_rates
from robopref.seeding import seeded_weights


@dataclass(frozen=True)
class PPOLossConfig:
    """How decisions are valued, and how far the policy may go for them."""

    advantage: Literal["gae", "group"] = "gae"
    """gae: by a value network, for each decision; group: by the share of the episodes from the same
    start that an episode's learned return beats, for all its decisions [3]."""
    group_size: int = 4
    """Episodes from the same start, for `advantage` group."""
    drop_uncertain: float = 0.1
    """Share of the decisions that teach the policy nothing: those of which the reward is least
    certain [2]."""
    advantage_quantile: float = 0.05
    """Advantages beyond this quantile, on either side, are cut off."""
    discount: float = 0.99
    """Worth of the next decision's reward."""
    gae_decay: float = 0.95
    """Lambda of generalised advantage estimation."""
    denoise_discount: float = 0.99
    """Worth of a step for each step of the chain that comes after it."""
    clip_first: float = 0.01
    """Bound of the ratio at the first, most noisy tuned step; it grows exponentially to the last's,
    because a small change early in the chain is a large one at its end. With the bounds of [1], a
    tenth of these, most steps of a small network are clipped at once."""
    clip_last: float = 0.1
    """Bound of the ratio at the last step."""
    kl_weight: float = 0.1
    """Weight of the divergence of each step from the base's."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_choice("advantage", self.advantage, ("gae", "group"))
        check_at_least("group_size", self.group_size, 2)
        for name in ("discount", "gae_decay", "denoise_discount", "drop_uncertain"):
            check_between(name, getattr(self, name), 0, 1)
        check_between("advantage_quantile", self.advantage_quantile, 0, 0.5)
        check_at_least("kl_weight", self.kl_weight, 0)
        if self.drop_uncertain == 1:
            raise ValueError("`drop_uncertain` must be below 1, got 1.")
        if not 0 < self.clip_first <= self.clip_last:
            raise ValueError(
                f"`clip_first` (={self.clip_first}) must be above 0 and not exceed "
                f"`clip_last` (={self.clip_last})."
            )

    def clip(self, place: Int[Tensor, " B"], num_tuned: int, num_steps: int) -> Float[Tensor, " B"]:
        """Return how far the ratio of each step may go from 1."""
        share = (place - (num_steps - num_tuned)) / max(num_tuned - 1, 1)
        return self.clip_first * (self.clip_last / self.clip_first) ** share


@dataclass(frozen=True, eq=False)
class Steps:
    """What an iteration learns from: denoising steps with what their decision was worth.

    Args:
        obs: Observations of the decisions, (D, To, ...) by key.
        before: Where each step went from.
        after: Where it went to.
        place: Which step of the sampler it was.
        log_prob: How likely it was.
        base: Mean of the base's step.
        advantage: How much better the decision was than expected.
        keeps: 1 for decisions that teach the policy, 0 for those of an uncertain reward.
        return_: What the value network is to say; 0 where there is none.
    """

    obs: Mapping[str, Tensor]
    before: Float[Tensor, "R Tp Da"]
    after: Float[Tensor, "R Tp Da"]
    place: Int[Tensor, " R"]
    log_prob: Float[Tensor, " R"]
    base: Float[Tensor, "R Tp Da"]
    advantage: Float[Tensor, " D"]
    keeps: Float[Tensor, " D"]
    return_: Float[Tensor, " D"]

    def decision(self, rows: Int[Tensor, " B"]) -> Int[Tensor, " B"]:
        """Return the decision of each row."""
        return rows // (len(self.place) // len(self.advantage))


class PPOObjective(nn.Module):
    """The loss of denoising steps, and the value network, which reads the base's features.

    Args:
        policy: What is tuned.
        base: What it is held to.
        steps: The denoising steps of both.
        config: The settings.
        generator: Draws the first weights of the value network.
    """

    def __init__(
        self,
        policy: Any,
        base: Any,
        steps: DenoisingSteps,
        config: PPOLossConfig,
        generator: torch.Generator,
    ) -> None:
        super().__init__()
        self.config = config
        self.policy = policy
        # In a list, so that its weights are neither trained nor saved.
        self._base = [base]
        self.steps = steps
        with seeded_weights(generator):
            self.value = nn.Sequential(
                nn.Linear(base.encoder.feature_dim, 128), nn.Mish(),
                nn.Linear(128, 128), nn.Mish(), nn.Linear(128, 1),
            ).to(base.device)  # fmt: skip

    def values(self, obs: Mapping[str, Tensor]) -> Float[Tensor, " D"]:
        """Return what is expected to come after observations (D, To, ...)."""
        with torch.no_grad():
            features = self._base[0].encoder(obs)
        value: Tensor = self.value(features)[:, 0]
        return value

    @torch.no_grad()
    def prepare(self, experience: Experience, random: range) -> Steps:
        """Return what is to be learned from decisions."""
        acted = experience.acted
        obs = {key: value[acted] for key, value in experience.obs.items()}
        before, after = (
            experience.before[acted].flatten(0, 1),
            experience.after[acted].flatten(0, 1),
        )
        num = int(acted.sum())
        place = torch.tensor(list(random), device=before.device).repeat(num)
        means = []
        for policy in (self.policy, self._base[0]):
            condition = policy.encoder(obs).repeat_interleave(len(random), dim=0)
            means.append(self.steps.means(policy, condition, before, place))
        advantage, return_ = self._advantages(experience)
        return Steps(
            obs, before, after, place, log_prob(after, means[0], self.steps.std[place]), means[1],
            advantage, certain(experience.doubt[acted], self.config.drop_uncertain), return_,
        )  # fmt: skip

    def _advantages(self, experience: Experience) -> tuple[Tensor, Tensor]:
        """Return bounded advantages of the decisions, and what their values should be."""
        config, acted = self.config, experience.acted
        if config.advantage == "gae":
            shape = acted.shape
            flat = {key: value.flatten(0, 1) for key, value in experience.obs.items()}
            values, last = self.values(flat).view(shape), self.values(experience.last_obs)
            advantage = gae(
                experience, values, last, discount=config.discount, decay=config.gae_decay
            )
            return_ = (advantage + values)[acted]
        else:
            times = config.discount ** torch.arange(len(acted), device=acted.device)
            returns = (experience.reward * acted * times[:, None]).sum(0)
            advantage = win_rates(returns, config.group_size).expand(acted.shape)
            return_ = torch.zeros_like(advantage[acted])
        return bounded(advantage[acted], config.advantage_quantile), return_

    def forward(
        self, steps: Steps, rows: Int[Tensor, " B"]
    ) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Return the loss of some rows, and figures."""
        config, decision = self.config, steps.decision(rows)
        obs = {key: value[decision] for key, value in steps.obs.items()}
        place, after = steps.place[rows], steps.after[rows]
        std = self.steps.std[place]
        mean = self.steps.means(self.policy, self.policy.encoder(obs), steps.before[rows], place)
        ratio = (log_prob(after, mean, std) - steps.log_prob[rows]).exp()
        num_after = len(self.steps) - 1 - place
        worth = steps.advantage[decision] * config.denoise_discount**num_after
        bound = config.clip(place, self.steps.num_tuned, len(self.steps))
        within = torch.minimum(torch.maximum(ratio, 1 - bound), 1 + bound)
        gain = torch.minimum(ratio * worth, within * worth)
        kl = divergence(mean, steps.base[rows], std).mean()
        loss = config.kl_weight * kl - (gain * steps.keeps[decision]).mean()
        if config.advantage == "gae":
            error = (self.values(obs) - steps.return_[decision]).square().mean()
            loss = loss + 0.5 * error
        clipped = ((ratio - 1).abs() > bound).float().mean()
        return loss, {"kl": kl.detach(), "clipped": clipped}


def certain(doubt: Float[Tensor, " D"], drop: float) -> Float[Tensor, " D"]:
    """Return 0 for the share of the decisions of which the reward is least certain, and 1 else."""
    keeps = torch.ones_like(doubt)
    # Where all are alike, none is to be blamed.
    if doubt.min() < doubt.max():
        keeps[doubt.argsort(descending=True, stable=True)[: int(drop * len(doubt))]] = 0.0
    return keeps


def bounded(advantage: Float[Tensor, " D"], quantile: float) -> Float[Tensor, " D"]:
    """Return advantages with mean 0 and deviation 1, and then those beyond a quantile cut off."""
    standard = (advantage - advantage.mean()) / (advantage.std(correction=0) + 1e-8)
    low, high = (float(standard.quantile(q)) for q in (quantile, 1 - quantile))
    return standard.clamp(low, high)

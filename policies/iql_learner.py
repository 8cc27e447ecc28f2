"""The networks of IQL for M members, and one update of all of them.

All losses of an update are taken at the same weights, so that every forward pass serves all that
need it, and one step of Adam moves value, critics and actor; the authors' code moves the value
first and looks at the moved one. A member shares nothing with the others: its update is the one
that it would have alone.

Shapes: M members, B batch, Dc feature size, Da action size.
Notation of [1]: inverse_temperature -> beta, target_rate -> alpha (of the moving average).

References:
    [1] Kostrikov et al., Offline reinforcement learning with implicit Q-learning, 2021,
        arXiv:2110.06169, eq. 5-7.
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import leaky_relu

from robopref.nn import EnsembleMLP
from robopref.policies.gaussian import LARGEST_LOG_STD
from robopref.policies.iql_data import Batch
from robopref.policies.iql_networks import WrittenOutMLP, flatten_parameters, stack_members

Average = Callable[[Sequence[Tensor]], None]


@dataclass(frozen=True, eq=False)
class Errors:
    """What an update was made from, before it.

    Args:
        advantage: Lower target critic less the value.
        temporal_difference: Both critics less what they are to be.
        weight: How much the actor was to imitate each action.
        standard: Actions less the actor's mean, in its deviations.
        log_std: Logarithms of these.
    """

    advantage: Float[Tensor, "M B 1"]
    temporal_difference: Float[Tensor, "2*M B 1"]
    weight: Float[Tensor, "M B 1"]
    standard: Float[Tensor, "M B Da"]
    log_std: Float[Tensor, "M 1 Da"]

    def figures(self, expectile: float) -> dict[str, float]:
        """Return the losses, means over members and batch."""
        asymmetry = torch.where(self.advantage > 0, expectile, 1 - expectile)
        terms = 0.5 * self.standard.square() + self.log_std + 0.5 * math.log(2 * math.pi)
        losses = {
            "value_loss": (asymmetry * self.advantage.square()).mean(),
            "critic_loss": 2 * self.temporal_difference.square().mean(),
            "actor_loss": (self.weight * terms.sum(-1, keepdim=True)).mean(),
            "advantage": self.advantage.mean(),
            "weight": self.weight.mean(),
        }
        return {name: float(loss) for name, loss in losses.items()}


class IQLLearner(nn.Module):
    """Twin critics, their targets, a value and a Gaussian actor of every member.

    The critics of M members are one ensemble of 2M, all first ones before all second ones.

    Args:
        config: An `IQLConfig`.
        sizes: Dc and Da.
        generators: One a member; draws its first weights.
        clones: Members that imitate all actions alike: behaviour cloning, beside its critics.
        device: Where the weights are.
    """

    inverse_temperature: Tensor

    def __init__(
        self,
        config: Any,
        sizes: tuple[int, int],
        generators: Sequence[torch.Generator],
        *,
        clones: Sequence[bool],
        device: torch.device,
    ) -> None:
        super().__init__()
        self.config = config
        (feature_dim, action_dim), hidden = sizes, config.policy.hidden_sizes

        def stack(num_in: int, num_out: int, copies: int = 1) -> EnsembleMLP:
            return stack_members(
                [*generators] * copies,
                lambda g: EnsembleMLP(1, num_in, hidden, num_out, generator=g),
            ).to(device)

        # The actor first: a member's is the policy that the same generator builds.
        self.actor = stack(feature_dim, action_dim)
        self.log_std = nn.Parameter(torch.zeros(len(generators), 1, action_dim, device=device))
        self.value = stack(feature_dim, 1)
        self.critic = stack(feature_dim + action_dim, 1, copies=2)
        self.target = copy.deepcopy(self.critic)
        scale = torch.full((len(generators), 1, 1), float(config.inverse_temperature))
        # Of an action's advantage every power to 0 is 1.
        scale[torch.tensor(clones)] = 0.0
        self.register_buffer("inverse_temperature", scale.to(device))
        self._make_flat()

    def _make_flat(self) -> None:
        """Lay all weights into vectors: the critics' first, in the order of the targets'."""
        critic, value, actor, target = (
            list(network.parameters())
            for network in (self.critic, self.value, self.actor, self.target)
        )
        values = flatten_parameters([*critic, *value])
        actors = flatten_parameters([*actor, self.log_std])
        targets = flatten_parameters(target)
        for parameter in target:
            parameter.requires_grad_(False).grad = None
        # In a tuple, so that the vectors are not saved beside their parts.
        self._flat = (values, actors)
        self._targets = targets.detach()
        self._followed = values.detach()[: len(self._targets)]
        self._run = {
            name: WrittenOutMLP(getattr(self, name), bf16=self.config.mixed_precision == "bf16")
            for name in ("critic", "target", "value", "actor")
        }
        self.optimizer = torch.optim.Adam(
            [{"params": [values]}, {"params": [actors]}], lr=self.config.learning_rate, fused=True
        )

    @torch.no_grad()
    def update(
        self, batch: Batch, *, actor_learning_rate: float, average: Average | None = None
    ) -> Errors:
        """Move all weights once, and return what that was made from.

        Args:
            batch: Transitions of every member.
            actor_learning_rate: That of this step; the others have a fixed one.
            average: Makes gradients those of a batch of which other processes have a part.
        """
        errors = self.compute_gradients(batch)
        if average is not None:
            average([values.grad for values in self._flat if values.grad is not None])
        self.optimizer.param_groups[1]["lr"] = actor_learning_rate
        self.optimizer.step()
        self._targets.lerp_(self._followed, self.config.target_rate)
        return errors

    def compute_gradients(self, batch: Batch) -> Errors:
        """Write the gradients of all losses, each member's its own, to `grad` of the weights."""
        size = batch.action.shape[1]
        obs = batch.features[:, :size]
        acted = _twice(torch.cat([obs, batch.action], dim=-1))
        low = torch.minimum(*self._run["target"].forward(acted)[0].chunk(2))
        value, value_inputs = self._run["value"].forward(batch.features)
        advantage = low - value[:, :size]
        aim = torch.addcmul(
            batch.reward, batch.continues, value[:, size:], value=self.config.discount
        )
        difference = self._learn_critic(acted, aim)
        # The slope of the expectile's loss: that of a square, other on each side of 0.
        high = self.config.expectile
        pull = leaky_relu(advantage, (1 - high) / high).mul_(-2 * high / size)
        self._run["value"].backward([each[:, :size] for each in value_inputs], pull)
        weight = (self.inverse_temperature * advantage).exp_().clamp_(max=self.config.max_weight)
        standard, log_std = self._learn_actor(obs, batch.action, weight)
        return Errors(advantage, difference, weight, standard, log_std)

    def _learn_critic(self, acted: Tensor, aim: Tensor) -> Tensor:
        """Write the gradient of the squared error of both critics, and return the error."""
        predicted, inputs = self._run["critic"].forward(acted)
        difference = predicted - _twice(aim)
        self._run["critic"].backward(inputs, difference * (2 / aim.shape[1]))
        return difference

    def _learn_actor(self, obs: Tensor, action: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Write the gradient of the weighted negative log-density; return standardised actions."""
        low, high = self.config.policy.min_log_std, LARGEST_LOG_STD
        outputs, inputs = self._run["actor"].forward(obs)
        mean = outputs.tanh()
        log_std = self.log_std.detach().clamp(low, high)
        precision = log_std.neg().exp()
        standard = (action - mean).mul_(precision)
        share = weight / obs.shape[1]
        weighted = share * standard
        self._run["actor"].backward(inputs, weighted * precision * (mean.square() - 1))
        to_log_std = self.log_std.grad
        assert to_log_std is not None
        torch.sum(share - weighted * standard, 1, keepdim=True, out=to_log_std)
        # Held at a bound, the spread has no gradient, as `clamp` has none.
        to_log_std.mul_(log_std == self.log_std)
        return standard, log_std


def _twice(x: Float[Tensor, "M B I"]) -> Float[Tensor, "2*M B I"]:
    """Return `x` for the first and for the second critics; `repeat` takes five times as long."""
    return torch.cat([x, x])

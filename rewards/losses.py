"""The Bradley-Terry model of preferences, as a probability and as a loss.

Shapes: B pairs; leading axes such as M members are free.
Notation: code name -> symbol in [1]: return_a, return_b -> sum of r-hat over a segment,
prefers_b -> mu(2).

References:
    [1] Christiano et al., Deep reinforcement learning from human preferences, 2017,
        arXiv:1706.03741, section 2.2.3.
    [2] Patrini et al., Making deep neural networks robust to label noise: a loss correction
        approach, 2017, arXiv:1609.03683.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, logsigmoid


def preference_probability(
    return_a: Float[Tensor, "*B"], return_b: Float[Tensor, "*B"], *, temperature: float = 1.0
) -> Float[Tensor, "*B"]:
    r"""Return the probability that b is preferred, $\sigma((R_b - R_a) / \tau)$ ([1], eq. 1).

    Args:
        return_a: Return of the first segment.
        return_b: Return of the second.
        temperature: Difference of returns that makes the odds e : 1.

    Example:
        >>> preference_probability(torch.tensor([1.0]), torch.tensor([1.0]))
        tensor([0.5000])
    """
    return torch.sigmoid((return_b - return_a) / temperature)


def bradley_terry_loss(
    return_a: Float[Tensor, "*M B"],
    return_b: Float[Tensor, "*M B"],
    prefers_b: Float[Tensor, " B"],
    *,
    weight: Float[Tensor, "*#M B"] | None = None,
    temperature: float = 1.0,
    mistake_rate: float = 0.0,
) -> Float[Tensor, "*M"]:
    r"""Return the weighted mean cross-entropy of the pairs, one value for each leading index.

    Cross-entropy of $\sigma((R_b - R_a) / \tau)$ against `prefers_b` ([1], the loss of section
    2.2.3), computed from the logits, so that it stays finite for any difference. A tie is the soft
    label 0.5 and pulls the two returns together.

    With a mistake rate $\epsilon$ the probability is that of the answer instead of that of the
    better item, $\epsilon + (1 - 2 \epsilon) \sigma$: the forward correction of [2] for flips that
    are as likely one way as the other. No single answer then pulls without bound.

    Args:
        return_a: Return of the first segment of each pair.
        return_b: Return of the second.
        prefers_b: Probability that b is preferred, in [0, 1]; 0.5 is a tie.
        weight: Factor of each pair's loss, of mean 1 over all pairs; None stands for ones. The
            sum is divided by B and not by the weights, so that a batch stays an unbiased sample.
        temperature: Difference of returns that makes the odds e : 1.
        mistake_rate: Share of the answers that are taken to be turned around, below 0.5.
    """
    logits = (return_b - return_a) / temperature
    target = prefers_b.expand_as(logits)
    if mistake_rate:
        chosen_b, chosen_a = (_log_chosen(x, mistake_rate) for x in (logits, -logits))
        loss = -(target * chosen_b + (1 - target) * chosen_a)
    else:
        loss = binary_cross_entropy_with_logits(logits, target, reduction="none")
    return (loss if weight is None else loss * weight).mean(-1)


def _log_chosen(logits: Float[Tensor, "*B"], mistake_rate: float) -> Float[Tensor, "*B"]:
    """Return the log-probability that an item is chosen which is better with these logits."""
    by_mistake = torch.full_like(logits, math.log(mistake_rate))
    return torch.logaddexp(by_mistake, math.log1p(-2 * mistake_rate) + logsigmoid(logits))


def smooth_labels(prefers_b: Float[Tensor, " B"], smoothing: float) -> Float[Tensor, " B"]:
    """Return labels drawn towards a tie, by the share `smoothing` of the way.

    Example:
        >>> smooth_labels(torch.tensor([0.0, 0.5, 1.0]), 0.2)
        tensor([0.1000, 0.5000, 0.9000])
    """
    return (1 - smoothing) * prefers_b + smoothing / 2


@dataclass(frozen=True, eq=False)
class PairBatch:
    """Pairs as they reach the loss: places among segments, and what was answered.

    Args:
        a: Place of the first segment of each pair.
        b: Place of the second.
        prefers_b: Probability that b is preferred.
        weight: Factor of each pair's loss, of each member or of all.
        temperature: Difference of returns that makes the odds e : 1.
        mistake_rate: Share of the answers that are taken to be turned around.
    """

    a: Int[Tensor, " B"]
    b: Int[Tensor, " B"]
    prefers_b: Float[Tensor, " B"]
    weight: Float[Tensor, "#M B"]
    temperature: float
    mistake_rate: float

    def __len__(self) -> int:
        """Return B."""
        return len(self.a)

    def losses(
        self, return_a: Float[Tensor, "*M B"], return_b: Float[Tensor, "*M B"]
    ) -> Float[Tensor, "*M"]:
        """Return every member's loss for the returns of the segments; further axes come first."""
        return bradley_terry_loss(
            return_a, return_b, self.prefers_b, weight=self.weight, temperature=self.temperature,
            mistake_rate=self.mistake_rate,
        )  # fmt: skip

"""What a ranking of clips says about the distances between them.

RAPL reads a triplet (best, middle, worst) as: the best is nearer to the middle than to the worst.
More generally, of two items that both lost against a third, the better one is nearer to that
anchor. And every item is nearer to what people prefer than the items it beat. An item against all
that it beat is a stage of Plackett-Luce; two items are the case of Bradley-Terry.

Shapes: B comparisons, M members, G groups.
"""

from collections import defaultdict
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from robopref.preferences.preference import PairwiseView

Likelihood = Literal["log", "linear"]
CLEAR = 0.25
"""How far from a tie a probability is that names a winner; what is nearer is compared by pairs."""


@dataclass(frozen=True, eq=False)
class Comparisons:
    """Pairs of items, with the ranking that each comes from and what both lost against.

    Args:
        a: Place of the first item among the segments.
        b: Place of the second.
        anchor: Place of an item of the ranking that is better than both; -1 for the pair itself,
            which is judged by its distance from preferred clips.
        ranking: Number of the ranking.
        pair: Number of the pair that it comes from.
    """

    a: Int[np.ndarray, " B"]
    b: Int[np.ndarray, " B"]
    anchor: Int[np.ndarray, " B"]
    ranking: Int[np.ndarray, " B"]
    pair: Int[np.ndarray, " B"]


def find_rankings(preferences: PairwiseView) -> Int[np.ndarray, " N"]:
    """Return the number of the ranking that each pair comes from.

    Pairs of a ranking stand together in a view and share items with one another.
    """
    numbers = np.zeros(len(preferences), np.int64)
    items: set[int] = set()
    seen: set[tuple[int, int]] = set()
    for i, pair in enumerate(zip(preferences.a.tolist(), preferences.b.tolist(), strict=True)):
        key = (min(pair), max(pair))
        starts = not items & set(pair) or key in seen
        numbers[i] = numbers[i - 1] + starts if i else 0
        items = set(pair) if starts else items | set(pair)
        seen = {key} if starts else seen | {key}
    return numbers


def find_comparisons(preferences: PairwiseView) -> Comparisons:
    """Return all comparisons: each pair by itself, and by each item better than both."""
    ranking = find_rankings(preferences)
    beaten_by: dict[tuple[int, int], set[int]] = defaultdict(set)
    for number, a, b, p in _rows(preferences, ranking):
        if abs(p - 0.5) > CLEAR:
            winner, loser = (b, a) if p > 0.5 else (a, b)
            beaten_by[number, loser].add(winner)
    rows = []
    for pair, (number, a, b, _) in enumerate(_rows(preferences, ranking)):
        better = beaten_by[number, a] & beaten_by[number, b]
        rows += [(a, b, anchor, number, pair) for anchor in (-1, *sorted(better))]
    columns = np.array(rows, np.int64).reshape(-1, 5).T
    return Comparisons(*columns)


def _rows(preferences: PairwiseView, ranking: np.ndarray) -> list[tuple[int, int, int, float]]:
    columns = (ranking, preferences.a, preferences.b, preferences.prefers_b)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def ranking_loss(
    score_a: Float[Tensor, "M B"],
    score_b: Float[Tensor, "M B"],
    prefers_b: Float[Tensor, " B"],
    group: Int[Tensor, " B"],
    *,
    smoothing: float = 0.0,
    likelihood: Likelihood = "log",
) -> Float[Tensor, "M B"]:
    """Return the loss of each comparison, of every member.

    Comparisons of a group that the same item won are one choice among all of its items
    (Plackett-Luce); its loss is shared by them. Give each comparison a group of its own for
    Bradley-Terry. Ties and doubtful answers are compared by pairs: cross-entropy at their
    probability.

    Args:
        score_a: Score of the first item, such as a distance less than 0.
        score_b: Score of the second.
        prefers_b: Probability that the second is better; 0.5 for a tie.
        group: Number of the winner in its ranking, below B.
        smoothing: Share of the way towards a tie by which answers are doubted.
        likelihood: log: minus the logarithm of the probability of the answer; linear: 1 less it,
            as RAPL's code has it, which forgives comparisons that are very wrong.
    """
    logits = score_b - score_a
    target = ((1 - smoothing) * prefers_b + smoothing / 2).expand_as(logits)
    if likelihood == "linear":
        chosen = torch.sigmoid(logits)
        tied = (prefers_b - 0.5).abs() <= CLEAR
        off = 1 - target * chosen - (1 - target) * (1 - chosen)
        return torch.where(tied, (target - chosen).square(), off)
    by_pair = binary_cross_entropy_with_logits(logits, target, reduction="none")
    clear = (prefers_b - 0.5).abs() > CLEAR
    margin = torch.where(prefers_b > 0.5, logits, -logits)
    confidence = (target - 0.5).abs() + 0.5
    right = _choice_loss(margin, clear, group)
    wrong = torch.nn.functional.softplus(margin)
    return torch.where(clear, confidence * right + (1 - confidence) * wrong, by_pair)


def _choice_loss(
    margin: Float[Tensor, "M B"], clear: Tensor, group: Int[Tensor, " B"]
) -> Float[Tensor, "M B"]:
    """Return log(1 + sum of e^-margin over the group), shared evenly by its comparisons."""
    num = margin.shape[1]
    worse = torch.where(clear, -margin, -torch.inf)
    index = group.expand_as(worse)
    top = torch.zeros_like(worse).scatter_reduce(1, index, worse.detach(), "amax")
    excess = torch.where(clear, (worse - top.gather(1, index)).exp(), 0.0)
    total = torch.zeros_like(worse).scatter_add(1, index, excess)
    loss = top + (total + (-top).exp()).log()
    count = torch.zeros(num, device=margin.device).scatter_add(0, group, clear.to(torch.float32))
    return (loss / count.clamp_min(1)).gather(1, index)

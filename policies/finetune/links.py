"""Links: from the margin of the implicit rewards of a pair to its loss.

The margin is positive where the pair is ordered as it was judged. All but "ipo" are decreasing, so
that more margin is never worse.

Shapes: B pairs.

References:
    [1] Rafailov et al., Direct preference optimization, 2023, arXiv:2305.18290, eq. 7.
    [2] Azar et al., A general theoretical paradigm to understand learning from human preferences,
        2023, arXiv:2310.12036, eq. 17.
    [3] Zhao et al., SLiC-HF, 2023, arXiv:2305.10425, eq. 1.
    [4] Chen et al., DeformPAM, 2024, arXiv:2410.11584; its public code takes the ramp.
"""

from collections.abc import Callable
from typing import Literal, get_args

from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

LinkName = Literal["log-sigmoid", "ipo", "hinge", "ramp"]

Link = Callable[[Float[Tensor, " B"]], Float[Tensor, " B"]]


def log_sigmoid(margin: Tensor) -> Tensor:
    """Return -log sigmoid(margin), eq. 7 of [1]: bad orders are pushed without bound."""
    return -logsigmoid(margin)


def ipo(margin: Tensor) -> Tensor:
    """Return (margin - 1/2)^2, eq. 17 of [2]: a margin is enough, and more of it is worse."""
    return (margin - 0.5).square()


def hinge(margin: Tensor) -> Tensor:
    """Return max(0, 1 - margin), eq. 1 of [3]."""
    return (1 - margin).clamp_min(0)


def ramp(margin: Tensor) -> Tensor:
    """Return sigmoid(-margin): bounded, so that what is ordered very badly is given up [4]."""
    return (-margin).sigmoid()


LINKS: dict[LinkName, Link] = dict(
    zip(get_args(LinkName), (log_sigmoid, ipo, hinge, ramp), strict=True)
)

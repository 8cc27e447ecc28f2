"""What an arm was asked for and sent in one step of a policy, for the data that is recorded.

Shapes: J joints.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from robopref.errors import check_at_least
from robopref.hardware.records import text_of
from robopref.hardware.verdicts import Decision

DECISIONS = ("pass", *Decision)
"""What the supervisor did, from the weakest to the strongest."""
FILTERS = (
    "", "finite", "mode", "freshness", "tracking", "first-command", "deadman", "joint-limits",
    "workspace", "speed", "tool-speed", "rate", "effort", "budget", "request",
    "self-collision",
)  # fmt: skip
"""What may change a command; new ones come last, since data has their places."""


@dataclass(frozen=True, eq=False)
class StepRecord:
    """One step of a policy, which is several periods of the control loop.

    Args:
        asked: Joint positions that were asked for last [rad], (J,).
        sent: Joint positions that were sent last [rad], (J,).
        measured: Joint positions at the end of the step [rad], (J,).
        decision: The strongest that the supervisor did in any period.
        filter: What did it.
        late_s: Greatest lateness of a period [s].
        step_s: How long the step took [s]; longer than at full speed where the arm is slow.
    """

    asked: Float[np.ndarray, " J"]
    sent: Float[np.ndarray, " J"]
    measured: Float[np.ndarray, " J"]
    decision: str
    filter: str
    late_s: float
    step_s: float

    def columns(self) -> Mapping[str, np.ndarray]:
        """Return it as columns of an episode; decision and filter are places in their tables."""
        return {
            "safety.asked": self.asked.astype(np.float32),
            "safety.sent": self.sent.astype(np.float32),
            "safety.measured": self.measured.astype(np.float32),
            "safety.decision": np.array([DECISIONS.index(self.decision)], np.int32),
            "safety.filter": np.array([FILTERS.index(self.filter)], np.int32),
            "safety.late_s": np.array([self.late_s], np.float32),
            "safety.step_s": np.array([self.step_s], np.float32),
        }


def record_step(
    outcomes: Sequence[np.void],
    measured: Sequence[float],
    last: StepRecord | None,
    step_s: float,
) -> StepRecord:
    """Return the record of the periods of one step.

    Args:
        outcomes: What became of each period's command; fields of `Records.outcomes`.
        measured: Where the joints are [rad].
        last: The step before, which stands in where nothing was asked or sent.
        step_s: How long it took [s].
    """
    place = np.array(measured, float)
    strongest = max(outcomes, key=_strength, default=None)
    return StepRecord(
        _newest(outcomes, "asked", place if last is None else last.asked),
        _newest(outcomes, "sent", place if last is None else last.sent),
        place,
        DECISIONS[0] if strongest is None else DECISIONS[_strength(strongest)],
        "" if strongest is None else text_of(strongest["filter"]),
        max((float(outcome["late_s"]) for outcome in outcomes), default=0.0),
        step_s,
    )


def join_records(records: Sequence[StepRecord]) -> StepRecord:
    """Return the record of several steps that were one action.

    Raises:
        ValueError: There are none.
    """
    check_at_least("len(records)", len(records), 1)
    strongest = max(records, key=lambda each: DECISIONS.index(each.decision))
    return replace(
        records[-1],
        decision=strongest.decision,
        filter=strongest.filter,
        late_s=max(each.late_s for each in records),
        step_s=sum(each.step_s for each in records),
    )


def _strength(outcome: np.void) -> int:
    decision = text_of(outcome["decision"])
    return DECISIONS.index(decision) if decision else 0


def _newest(
    outcomes: Sequence[np.void], name: str, otherwise: Float[np.ndarray, " J"]
) -> Float[np.ndarray, " J"]:
    finite = [np.array(o[name]) for o in outcomes if np.isfinite(o[name]).all()]
    return finite[-1] if finite else otherwise

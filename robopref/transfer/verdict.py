"""In plain words: whether a transfer can be trusted, as far as its own figures and answers tell."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from robopref.transfer.accuracy import Accuracy

LEAST_AGREEMENT, GOOD_AGREEMENT = 0.5, 0.8
"""Between the six Meta-World tasks of the benchmark, alignments by distances alone agreed with each
other by at most 0.31, and ordered 16 to 86 % of the pairs right; fused ones by 0.82 and more, with
77 to 92 %, and bootstraps of shared features by 0.96 and more, with 84 to 96 %."""
MOST_WRONG_WAY = 0.25
GOOD_MEANING = 0.6
"""Below it alignments were right about half of the time, above it nearly all were more often."""
LEAST_FORETOLD, GOOD_FORETOLD = 0.55, 0.7
"""Of people's answers about robomimic's Lift 44 to 49 % were foretold, and from there 32 and 15 %
of those about Can and Square; of these themselves 76 to 82 and 97 to 99 %."""
LEAST_EXPECTED = 0.65
"""With less, a transfer says itself that it is little better than chance."""
GOOD_ACCURACY = 0.75
"""With less, more than one transferred label in four is wrong."""
FEWEST_PAIRS = 5
"""Known pairs, below which an accuracy decides nothing."""

NAMES = {
    "expected_accuracy": ("expected accuracy",
        "share of pairs ordered right, if the probabilities are right themselves"),
    "wrong_way": ("wrong way",
        "share of votes that order the target the other way round: the ambiguity of the sign"),
    "agreement": ("agreement", "mean correlation of a vote with the others"),
    "abstained": ("abstained", "share of pairs about which nothing is said"),
    "across": ("across the sources",
        "share of each source's answers that the other sources foretell"),
    "meaning": ("meaning",
        "whether what goes with being preferred in the source does so here: 1 so, -1 the opposite"),
    "source": ("source foretold",
        "share of the source's answers that a reward on features foretells without seeing them"),
}  # fmt: skip
"""What each figure that needs no truth is called, and what it says."""

Level = Literal["trust", "care", "distrust"]


@dataclass(frozen=True)
class Verdict:
    """Whether to train on what was transferred.

    Args:
        level: trust it, use it with care, or do not.
        text: Why, in words for the user.
    """

    level: Level
    text: str


def judge(diagnosis: Mapping[str, float], measured: Sequence[Accuracy]) -> Verdict:
    """Return the verdict: by what is known of the target, or else by the votes alone.

    Nothing in the data tells that what is preferred has not changed, so that a transfer without any
    answer about the target is never trusted; enough answers outweigh every other figure.

    Args:
        diagnosis: `Transferred.diagnose`, the meaning, and what is foretold of the source.
        measured: Accuracies of the method that was chosen.
    """
    known = [each for each in measured if each.num >= FEWEST_PAIRS]
    found = " and ".join(
        f"{each.accuracy:.0%} of the pairs that {each.truth} decide" for each in known
    )
    if known and all(each.interval.low >= GOOD_ACCURACY for each in known):
        return Verdict("trust", f"It can be trusted: it foretells {found}.")
    for each in known:
        if each.interval.high < 0.5:
            return Verdict(
                "distrust",
                f"Do not trust it: {each.truth} say the opposite more often than not.",
            )
    contradiction = _contradiction(diagnosis)
    if contradiction is not None:
        return contradiction
    if not known:
        return (
            _empty_source(diagnosis)
            or _doubt(diagnosis)
            or Verdict(
                "care",
                "Use it with care: the votes agree, but nothing in the data tells whether what is "
                "preferred in the source is preferred here too. A few answers about the target do.",
            )
        )
    for each in known:
        if each.interval.low < 0.5:
            return Verdict(
                "care",
                f"Use it with care: as far as {each.truth} tell, it may be no better than chance. "
                "More answers about the target decide.",
            )
    if any(each.accuracy < GOOD_ACCURACY for each in known):
        return Verdict(
            "care",
            f"Use it with care: it foretells {found}. That is better than chance, but many labels "
            "are wrong; answers about the target help most, and so does a robust reward.",
        )
    return _doubt(diagnosis) or Verdict(
        "trust", f"It can be trusted: it foretells {found}, and the votes agree."
    )


def _empty_source(diagnosis: Mapping[str, float]) -> Verdict | None:
    """Return a warning that there is hardly anything to carry over."""
    if diagnosis["source"] < LEAST_FORETOLD:
        return Verdict(
            "distrust",
            f"Do not trust it: a reward on features foretells {diagnosis['source']:.0%} of the "
            "source's own answers. What was preferred there is not in the features, or the "
            "answers contradict each other.",
        )
    across = diagnosis.get("across", math.nan)
    if across < LEAST_FORETOLD:
        return Verdict(
            "distrust",
            f"Do not trust it: the sources foretell {across:.0%} of each other's answers, and can "
            "hardly foretell another task's. What was preferred is not in the features, or not "
            "the same everywhere.",
        )
    return None


def _contradiction(diagnosis: Mapping[str, float]) -> Verdict | None:
    if diagnosis["meaning"] < 0:
        return Verdict(
            "distrust",
            "Do not trust it: as carried over, the target's features mean the opposite of what "
            f"they mean in the source (meaning {diagnosis['meaning']:.2f}), as when an alignment "
            "finds the mirror image. Answer a few queries about the target, or take a method that "
            "compares features.",
        )
    agreement, wrong_way = diagnosis["agreement"], diagnosis["wrong_way"]
    if wrong_way > MOST_WRONG_WAY or agreement < LEAST_AGREEMENT:
        return Verdict(
            "distrust",
            f"Do not trust it: the votes contradict each other (agreement {agreement:.2f}, "
            f"{wrong_way:.0%} the wrong way round), whatever the expected accuracy. Answer a few "
            "queries about the target; more answers about the source may help as well and, where "
            "distances alone are aligned, a method that compares features.",
        )
    return None


def _doubt(diagnosis: Mapping[str, float]) -> Verdict | None:
    agreement, wrong_way = diagnosis["agreement"], diagnosis["wrong_way"]
    if math.isnan(agreement):
        return Verdict(
            "care",
            "Use it with care: there is one vote only, which nothing can agree with. Answer a few "
            "queries about the target to know more.",
        )
    reasons = []
    if agreement < GOOD_AGREEMENT:
        reasons.append(f"the votes agree by {agreement:.2f} only")
    if diagnosis["meaning"] < GOOD_MEANING:
        reasons.append(f"some features change their meaning ({diagnosis['meaning']:.2f})")
    if math.isnan(diagnosis["source"]):
        reasons.append("the source has too few answers, or no features, to foretell them by")
    if diagnosis["source"] < GOOD_FORETOLD:
        reasons.append(f"only {diagnosis['source']:.0%} of the source's own answers are foretold")
    if diagnosis.get("across", math.nan) < GOOD_FORETOLD:
        reasons.append(
            f"the sources foretell only {diagnosis['across']:.0%} of each other's answers"
        )
    if wrong_way > 0:
        reasons.append(f"{wrong_way:.0%} of the votes order the target the other way round")
    if diagnosis["expected_accuracy"] < LEAST_EXPECTED:
        reasons.append("it expects to be little better than chance")
    if diagnosis["abstained"] > 0.5:
        reasons.append("it says nothing about most pairs")
    if not reasons:
        return None
    return Verdict(
        "care", f"Use it with care: {', and '.join(reasons)}. Answers about the target help most."
    )

"""Queries, rankings, teachers, strategies, and how answers are kept. Imports no torch."""

from robopref.preferences.preference import PairwiseView, Preference
from robopref.preferences.query import ActionCandidate, Item, Query
from robopref.preferences.ranking import Answer, Ranking
from robopref.registry import Registry

TEACHERS = Registry("teacher", "robopref.teachers")
_SCRIPTED = "robopref.preferences.teachers"
TEACHERS.register(
    "scripted", f"{_SCRIPTED}:ScriptedTeacherConfig", "Always right by a measure (the oracle)."
)
TEACHERS.register(
    "mistake", f"{_SCRIPTED}:MistakeTeacherConfig", "Turns one comparison in ten around."
)
TEACHERS.register(
    "noisy", f"{_SCRIPTED}:NoisyTeacherConfig", "The closer two items, the more random."
)
TEACHERS.register(
    "skip", f"{_SCRIPTED}:SkipTeacherConfig", "Passes on queries in which every item is poor."
)
TEACHERS.register(
    "myopic", f"{_SCRIPTED}:MyopicTeacherConfig", "Remembers the end better than the beginning."
)
TEACHERS.register("equal", f"{_SCRIPTED}:EqualTeacherConfig", "Calls close items equal.")
TEACHERS.register(
    "human-like",
    f"{_SCRIPTED}:HumanLikeTeacherConfig",
    "Skips and errs more the closer two items are, as people do.",
)
TEACHERS.register(
    "terminal", "robopref.preferences.terminal:TerminalTeacherConfig", "A person at the terminal."
)
TEACHERS.register(
    "web", "robopref.preferences.web:WebTeacherConfig", "People at a browser, as many as come."
)

STRATEGIES = Registry("query strategy", "robopref.strategies")
_STRATEGIES = "robopref.preferences.strategies"
STRATEGIES.register("uniform", f"{_STRATEGIES}:UniformConfig", "Pairs drawn at random.")
STRATEGIES.register(
    "disagreement", f"{_STRATEGIES}:DisagreementConfig", "Where the reward's members disagree most."
)
STRATEGIES.register(
    "information-gain",
    f"{_STRATEGIES}:InformationGainConfig",
    "Whose answer tells most about the reward (BALD).",
)
STRATEGIES.register(
    "entropy", f"{_STRATEGIES}:EntropyConfig", "Where the reward is least sure of the answer."
)
_DIVERSE = "robopref.preferences.diverse"
STRATEGIES.register(
    "coverage", f"{_DIVERSE}:CoverageConfig", "Pairs spread over the pool (greedy k-centre)."
)
STRATEGIES.register(
    "contrast",
    f"{_DIVERSE}:ContrastConfig",
    "Pairs that differ more than most, spread over the pool.",
)
STRATEGIES.register(
    "batch-diverse",
    f"{_DIVERSE}:BatchDiverseConfig",
    "Disagreement, but no two queries alike (k-medoids).",
)
STRATEGIES.register(
    "matched-start",
    f"{_DIVERSE}:MatchedStartConfig",
    "Pairs that start alike, so that they differ only in what followed.",
)
STRATEGIES.register(
    "triplets",
    "robopref.preferences.triplets:TripletsConfig",
    "Three to rank, whose order tells most about the reward.",
)

__all__ = [
    "STRATEGIES",
    "TEACHERS",
    "ActionCandidate",
    "Answer",
    "Item",
    "PairwiseView",
    "Preference",
    "Query",
    "Ranking",
]

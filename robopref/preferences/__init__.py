"""Queries, rankings, and how answers are kept. Imports no torch."""

from robopref.preferences.preference import PairwiseView, Preference
from robopref.preferences.query import ActionCandidate, Query
from robopref.preferences.ranking import Answer, Ranking

__all__ = ["ActionCandidate", "Answer", "PairwiseView", "Preference", "Query", "Ranking"]

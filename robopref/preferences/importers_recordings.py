"""Which imported segments are windows of one recording: they have a step in common.

A source that cuts segments from few recordings cuts them with overlap, and an episode for each
segment hides it: held out by episodes alone, training and test share steps.
"""

from collections.abc import Sequence
from dataclasses import replace

from robopref.data.episode import Episode

RECORDING = "recording"
"""Key of an episode's metadata: the id of the first imported segment of the same recording."""


def name_recordings(episodes: Sequence[Episode]) -> list[Episode]:
    """Return the episodes, each with the recording that it is a window of.

    Two are of one recording if they share a step (an observation with its action), or if a chain of
    others connects them. Windows of one recording that do not touch cannot be told apart from
    windows of two.
    """
    parents = list(range(len(episodes)))
    owners: dict[tuple[bytes, bytes], int] = {}
    for number, episode in enumerate(episodes):
        for state, action in zip(episode.state, episode.action, strict=False):
            owner = owners.setdefault((state.tobytes(), action.tobytes()), number)
            first, second = _root(parents, owner), _root(parents, number)
            parents[max(first, second)] = min(first, second)
    names = [episodes[_root(parents, number)].id for number in range(len(episodes))]
    return [
        replace(episode, metadata={**episode.metadata, RECORDING: name})
        for episode, name in zip(episodes, names, strict=True)
    ]


def _root(parents: list[int], number: int) -> int:
    while parents[number] != number:
        parents[number] = parents[parents[number]]
        number = parents[number]
    return number

"""Preference sets of other projects become an episode data set and a preference store.

Each distinct segment of the source becomes one episode, whose identity is made of its content, and
each label one answered query. Readers know one source each and state its label convention; they
return comparisons, which say who won and carry no label.

A source that gives as many observations as actions lacks the observation after the last action.
The last one known is repeated there and `metadata["repeated"]` names it, as for robomimic files;
the segment that is compared ends before it.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from robopref.data.episode import UNKNOWN, Episode
from robopref.data.folders import check_is_free, new_folder
from robopref.data.hashing import content_id
from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, check_above, check_choice
from robopref.preferences.importers_comparison import Clip, Comparison
from robopref.preferences.importers_recordings import RECORDING, name_recordings
from robopref.preferences.preference import Preference
from robopref.preferences.query import Query
from robopref.preferences.ranking import Ranking
from robopref.preferences.store import PreferenceStore
from robopref.seeding import derive_uuid
from robopref.types import STATE

SOURCES = ("imitation", "preference-transformer", "uni-rlhf")
DEFAULT_DB = "preferences.sqlite"
_ROBOMIMIC_FPS = 20.0  # The control frequency of robomimic's data sets.
_ROBOMIMIC_NAME = re.compile(r"(can|lift|square)_(ph|mh)_(train|eval)\w*")


@dataclass(frozen=True)
class Source:
    """What to import, and what the source does not say itself.

    Raises:
        ValueError: The format is unknown or `fps` is not positive.
    """

    path: Path
    """File with the labels."""
    format: str | None = None
    """One of `SOURCES`; by default what the file looks like."""
    data: Path | None = None
    """Uni-RLHF: the HDF5 file that the labels point into."""
    options: tuple[str, ...] = ("first", "second", "tie")
    """Uni-RLHF's label.csv: what the options of the question mean, in their order."""
    env: str | None = None
    """Environment; by default what the file's name says."""
    fps: float | None = None
    """Steps a second [Hz]; by default what the file's name says."""
    annotator: str = "human"
    """Who answered."""
    criterion: str = "overall"
    """By what the segments were compared."""

    def __post_init__(self) -> None:
        """Check names and ranges."""
        if self.format is not None:
            check_choice("format", self.format, SOURCES)
        if self.fps is not None:
            check_above("fps", self.fps, 0)

    def resolved_env(self) -> tuple[str, float]:
        """Return the environment and its rate, as given or as the file's name says.

        Raises:
            DataError: It was not given, and the name does not say it.
        """
        named = _ROBOMIMIC_NAME.fullmatch(self.path.stem)
        env = self.env or (f"robomimic/{named[1]}" if named else None)
        fps = self.fps or (_ROBOMIMIC_FPS if named else None)
        if env is None:
            raise DataError(
                f"The name of '{self.path}' does not say of which environment it is. Give `env` "
                "(--env), such as 'metaworld/drawer-open-v3'."
            )
        if fps is None:
            raise DataError(
                f"'{self.path}' does not say how many steps it has a second. Give `fps` (--fps)."
            )
        return env, fps


def read_comparisons(source: Source) -> list[Comparison]:
    """Read all of a source, so that what is wrong with it shows before anything is written.

    Raises:
        FileNotFoundError: There is no such file.
        DataError: It is of no known format, damaged, or lacks something.
    """
    if not source.path.is_file():
        raise FileNotFoundError(f"No file at '{source.path}'.")
    name = source.format or _format_of(source.path)
    if name == "uni-rlhf":
        from robopref.preferences.importers_uni_rlhf import read_uni_rlhf

        return read_uni_rlhf(source.path, source.data, source.options)
    if source.data is not None:
        raise ValueError(f"`data` goes with the format 'uni-rlhf', not with '{name}'.")
    from robopref.preferences.importers_npz import read_imitation, read_preference_transformer

    read = read_imitation if name == "imitation" else read_preference_transformer
    return read(source.path)


@dataclass(frozen=True, eq=False)
class PreferenceSet:
    """Episodes, and answered queries about them.

    Args:
        episodes: One for each distinct segment.
        preferences: The answers, in the order of the source.
        fps: Steps a second [Hz].
        num_left_out: Pairs of a segment with itself, which say nothing and are no query.
    """

    episodes: Sequence[Episode]
    preferences: Sequence[Preference]
    fps: float
    num_left_out: int = 0

    def notes(self) -> list[str]:
        """Return what a user should know about the set, in words."""
        notes = [
            (self.num_left_out, "pairs compare a segment with itself and were left out"),
            (
                sum("crosses_end" in episode.metadata for episode in self.episodes),
                "segments run over the end of an episode, as the source sampled them",
            ),
        ]
        ties = sum(p.ranking == Ranking.tie() for p in self.preferences)
        recordings = {episode.metadata[RECORDING] for episode in self.episodes}
        return [
            f"{ties} of {len(self.preferences)} answers are ties.",
            f"The segments are of {len(recordings)} recordings at most: those that share steps are "
            "windows of one.",
            *(f"{num} {text}." for num, text in notes if num),
        ]

    @classmethod
    def from_source(cls, source: Source) -> "PreferenceSet":
        """Read a source.

        Raises:
            FileNotFoundError: There is no such file.
            DataError: It cannot be read, or compares nothing.
        """
        comparisons = read_comparisons(source)
        env, fps = source.resolved_env()
        episodes: dict[str, Episode] = {}
        preferences: list[Preference] = []
        times_asked: Counter[tuple[str, ...]] = Counter()
        for number, comparison in enumerate(comparisons):
            pair = [_episode(clip, source, env, fps) for clip in (comparison.a, comparison.b)]
            for episode in pair:
                episodes.setdefault(episode.id, episode)
            if pair[0].id != pair[1].id:
                where = f"pair {number} of {source.path.name}"
                preferences.append(_preference(comparison, pair, source, where, times_asked))
        if not preferences:
            raise DataError(f"'{source.path}' compares no two different segments.")
        num_left_out = len(comparisons) - len(preferences)
        return cls(name_recordings(list(episodes.values())), preferences, fps, num_left_out)

    def save(self, out: Path, db: str | None = None) -> tuple[int, int]:
        """Write the set; return how many episodes and answers were new.

        A new data set appears complete or not at all, with its answers where `db` is None. What is
        there already is added to, and adding the same again changes nothing, so that an
        interrupted import may be repeated.

        Args:
            out: Folder of the data set; made if missing.
            db: Preference store; None for `preferences.sqlite` in the folder.

        Raises:
            DataError: What is there does not fit, or cannot be written.
        """
        if db is not None and Path(db).exists():
            PreferenceStore(db, create=False).close()  # Refused before anything is written.
        if (out / "meta" / "info.json").is_file():
            episodes = EpisodeStore.open(out)
            new = episodes.add_all(self.episodes)
            return new, self._add_answers(db or str(out / DEFAULT_DB), episodes)
        check_is_free(out)
        with new_folder(out) as partial:
            episodes = EpisodeStore.create(partial, fps=self.fps)
            new = episodes.add_all(self.episodes)
            episodes.compact()
            if db is None:
                return new, self._add_answers(str(partial / DEFAULT_DB), episodes)
        return new, self._add_answers(db, EpisodeStore.open(out))

    def _add_answers(self, db: str, episodes: EpisodeStore) -> int:
        with PreferenceStore(db) as store:
            queries = {preference.query.id: preference.query for preference in self.preferences}
            store.add_queries(queries.values(), cut_hash=episodes.content_hash)
            return sum(store.answer(preference) for preference in self.preferences)


def _format_of(path: Path) -> str:
    if path.suffix in (".csv", ".json"):
        return "uni-rlhf"
    if path.suffix == ".npz":
        from robopref.preferences.importers_npz import npz_format

        return npz_format(path)
    raise DataError(f"'{path}' looks like no known format. Give `format`: one of {list(SOURCES)}.")


def _episode(clip: Clip, source: Source, env: str, fps: float) -> Episode:
    state, num_steps = clip.state, len(clip.action)
    metadata = {**clip.metadata, "source": source.path.name}
    if len(state) == num_steps:
        state = np.concatenate([state, state[-1:]])
        metadata["repeated"] = [STATE]
    metadata[UNKNOWN] = ["success"] if clip.reward is not None else ["reward", "success"]
    reward = np.zeros(num_steps, np.float32) if clip.reward is None else clip.reward
    return Episode(
        id=content_id(clip.action, state), obs={STATE: state}, action=clip.action,
        reward=reward, success=np.zeros(num_steps, bool), terminated=False, truncated=True,
        env=env, task=env.partition("/")[2] or env, seed=0, fps=fps, metadata=metadata,
    )  # fmt: skip


def _preference(
    comparison: Comparison,
    pair: Sequence[Episode],
    source: Source,
    where: str,
    times_asked: "Counter[tuple[str, ...]]",
) -> Preference:
    """Return the answer, with ids that are the same whenever the same is imported."""
    annotator = "-".join(filter(None, (source.annotator, comparison.annotator)))
    criterion = "-".join(filter(None, (source.criterion, comparison.question)))
    ids = [episode.id for episode in pair]
    # Sources ask a pair twice now and then; that is another query.
    times = times_asked[*ids, annotator, criterion]
    times_asked[*ids, annotator, criterion] += 1
    query_id = derive_uuid(0, "imported query", *ids, times)
    segments = tuple(Segment(episode.id, 0, len(episode)) for episode in pair)
    return Preference(
        derive_uuid(0, "imported answer", query_id, annotator, criterion),
        Query(query_id, segments, "imported", where),
        comparison.ranking,
        annotator=annotator,
        criterion=criterion,
        confidence=comparison.confidence,
    )

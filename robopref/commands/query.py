"""`robopref query`: choose pairs of segments worth asking about."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands import following
from robopref.config import component, resolve
from robopref.errors import check_at_least

if TYPE_CHECKING:
    from robopref.data.store import EpisodeStore
    from robopref.preferences.pool import CandidatePool
    from robopref.preferences.query import Query


@dataclass(frozen=True)
class QueryCommand:
    """Choose pairs of segments worth asking about, and put them into a preference store.

    No pair is asked twice: what the store holds already is left out.

    Example:
        robopref query --data runs/reach --db runs/reach/preferences.sqlite --num 5
    """

    data: Path
    """Data set whose episodes are compared."""
    db: str
    """Preference store: a SQLite file, made if missing, or a URL like postgresql://user@host/name."""
    strategy: Any = component("robopref.preferences:STRATEGIES", default="uniform")
    """How the pairs are chosen."""
    num: int = 10
    """How many queries."""
    reward: Path | None = None
    """Run of a reward; strategies that look for disagreement need it after the first batch."""
    segment_length: int | None = 50
    """Steps of a segment; None compares whole episodes."""
    num_segments: int = 300
    """Segments drawn from the data set, from which the pairs are made."""
    seed: int = 0
    """Decides what is drawn."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num", self.num, 1)
        check_at_least("num_segments", self.num_segments, 2)
        if self.segment_length is not None:
            check_at_least("segment_length", self.segment_length, 1)

    def run(self) -> None:
        """Choose, store, and print what was chosen and why."""
        from robopref.data.store import EpisodeStore
        from robopref.labeling.clips import check_can_be_shown
        from robopref.preferences.store import PreferenceStore
        from robopref.seeding import make_rng

        episodes = EpisodeStore.open(self.data)
        check_can_be_shown(episodes)
        strategy = resolve(self, "strategy").build()
        reward = self._load_reward()
        asked = self._asked()
        # Another batch is another draw, and the same batch after a kill is the same draw.
        rng = make_rng(self.seed, "query", len(asked))
        queries = strategy.propose(self._pool(episodes, asked, rng), reward, self.num, rng)
        context = {"data": str(self.data), "seed": self.seed}
        # Made only now: what is refused leaves no store behind.
        with PreferenceStore(self.db) as store:
            store.add_queries(queries, cut_hash=episodes.content_hash, context=context)
        for query in queries:
            sides = " against ".join(
                f"{s.episode_id[:8]} steps {s.start}-{s.start + s.length}" for s in query.items
            )
            print(f"{query.id[:8]}  {sides}\n          {query.reason}")
        print(f"Stored {len(queries)} queries in {self.db}.")
        self._warn([row.length for row in episodes.rows])
        print(f"Next:   {following.answer(self.data, self.db)}")

    def _warn(self, lengths: list[int]) -> None:
        """Say where so few episodes can be compared that the same ones come again and again."""
        shortest = self.segment_length or 0
        num = sum(length >= shortest for length in lengths)
        if num * (num - 1) // 2 >= self.num:
            return
        long = "" if num == len(lengths) else f" that have {shortest} steps"
        print(
            f"Note: there are only {num} episodes{long}, so that the same ones are compared again. "
            "Record more, or ask for shorter segments (--segment-length)."
        )

    def _asked(self) -> "list[Query]":
        from robopref.preferences.store import PreferenceStore

        try:
            with PreferenceStore(self.db, create=False) as store:
                return store.queries()
        except FileNotFoundError:
            return []

    def _load_reward(self) -> Any:
        if self.reward is None:
            return None
        from robopref.align.actors import find_saved
        from robopref.rewards.serialization import load_reward

        return load_reward(find_saved(self.reward, "reward"))

    def _pool(self, episodes: "EpisodeStore", asked: "list[Query]", rng: Any) -> "CandidatePool":
        from robopref.data.episode import batch_segments
        from robopref.data.segment import Segment
        from robopref.preferences.pool import CandidatePool, sample_segments

        lengths = {row.episode_id: row.length for row in episodes.rows}
        if self.segment_length is None:
            chosen = rng.permutation(list(lengths))[: self.num_segments]
            segments = [Segment(str(i), 0, lengths[str(i)]) for i in chosen]
        else:
            segments = sample_segments(lengths, self.segment_length, self.num_segments, rng)
        batch = batch_segments([episodes.cut(segment) for segment in segments])
        return CandidatePool.build(segments, batch, rng=rng, asked=asked)

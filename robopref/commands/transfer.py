"""`robopref transfer`: use answers about one task on another."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robopref.commands import following
from robopref.config import component, resolve
from robopref.errors import DataError, check_at_least, check_between

if TYPE_CHECKING:
    from robopref.preferences.query import Query
    from robopref.transfer.loading import Loaded
    from robopref.transfer.workflow import Outcome


MOST_SEGMENTS = 2000
"""Of the target; two gigabytes are kept then."""


@dataclass(frozen=True)
class TransferCommand:
    """Carry answers about one or several tasks over to another task, and say how far to trust that.

    Prints how accurate it is where the truth is known, and what can be known without, before it
    writes a preference store with soft answers, on which every reward trains, and a report. With
    --num-queries, it chooses what to ask about the target; answer that, and transfer again.

    Example:
        robopref transfer --source runs/reach --source-db runs/reach/preferences.sqlite --target \
            runs/door --target-db runs/door/preferences.sqlite --num-queries 5
    """

    source: tuple[Path, ...]
    """Data sets that were answered about, one or more."""
    source_db: tuple[str, ...]
    """Preference store of each of them, in the same order."""
    target: Path
    """Data set of the task to carry the answers over to."""
    target_db: str | None = None
    """Preference store with people's answers about the target, which are used, and for the queries
    to ask about it; made if missing."""
    out: Path = Path("runs/transfer")
    """Folder for the answers (preferences.sqlite), the report and figures.json; must not be there
    yet."""
    method: Any = component("robopref.rewards:TRANSFERS", default="shared-features")
    """How answers are carried over."""
    criterion: str = "overall"
    """By what the items were compared."""
    num_queries: int = 0
    """Queries to choose about the target, and to put into its store."""
    num_segments: int = 200
    """Segments drawn from the target, from which pairs are made."""
    segment_length: int | None = None
    """Steps of a target's segment; None for as many as in the answers."""
    num_pairs: int = 1000
    """Pairs to keep as answers."""
    least_confidence: float = 0.5
    """Leaves out pairs whose more probable order is less probable than this."""
    seed: int = 0
    """Decides everything random."""

    def __post_init__(self) -> None:
        """Check ranges."""
        check_at_least("num_queries", self.num_queries, 0)
        # Of each segment with each other one something is kept, by every vote.
        check_between("num_segments", self.num_segments, 4, MOST_SEGMENTS)
        check_at_least("num_pairs", self.num_pairs, 1)
        check_between("least_confidence", self.least_confidence, 0.5, 1)
        if self.segment_length is not None:
            check_at_least("segment_length", self.segment_length, 1)
        if not self.source or len(self.source) != len(self.source_db):
            raise ValueError(
                f"`source` and `source_db` must be as many, at least one, got {len(self.source)} "
                f"and {len(self.source_db)}."
            )
        if self.num_queries and self.target_db is None:
            raise ValueError(
                f"`num_queries` (={self.num_queries}) needs a store for the queries. Give one with "
                "--target-db; it is made if missing."
            )
        if self.target.resolve() in {source.resolve() for source in self.source}:
            raise ValueError(
                f"'{self.target}' is a source and the target: answers about a data set need no "
                "transfer to it. Train on them."
            )

    def run(self) -> None:
        """Transfer, print what is known of it, then write."""
        from robopref.align.run import CONFIG, save_figures
        from robopref.config import save_yaml
        from robopref.data.folders import new_folder
        from robopref.transfer.answers import (
            check_is_free,
            choose_queries,
            make_answers,
            write_answers,
        )
        from robopref.transfer.report import write_report
        from robopref.transfer.workflow import transfer

        check_is_free(self.out)
        if self.num_queries:
            self._check_can_ask()
        sources, target = self._load()
        config = resolve(self, "method")
        outcome = transfer(config, sources, target, seed=self.seed)
        print_outcome(outcome)
        made = make_answers(
            outcome, self.num_pairs, least_confidence=self.least_confidence,
            criterion=self.criterion, seed=self.seed,
        )  # fmt: skip
        queries: list[Query] = []
        if self.num_queries:
            queries = choose_queries(config.build(), outcome, self.num_queries, seed=self.seed)
        following = self._next(outcome, bool(queries))
        check_is_free(self.out)  # Once more: all this took a while.
        with new_folder(self.out) as folder:
            write_answers(folder / "preferences.sqlite", outcome, made)
            write_report(folder / "report.html", outcome, following)
            save_yaml(self, folder / CONFIG)
            save_figures(outcome.figures(), folder / "figures.json")
            self._store(queries, outcome)
        own = len(target.preferences)
        more = f", beside {own} that people gave" if own else ""
        print(f"\n{len(made)} answers{more}: {self.out / 'preferences.sqlite'}")
        if queries:
            print(f"{len(queries)} queries to ask about the target: {self.target_db}")
        print(f"Report: {self.out / 'report.html'}")
        if outcome.verdict.level != "trust" and _is_hidden(outcome):
            print(f"Note: nothing of {self.target} can be shown, so nobody can be asked about it.")
        print(f"Next:   {following}")

    def _check_can_ask(self) -> None:
        """Refuse to choose what nobody can be shown, before anything takes its time.

        Raises:
            DataError: Nothing of the target can be shown.
        """
        from robopref.data.store import EpisodeStore
        from robopref.labeling.clips import NothingToShowError, check_can_be_shown

        try:
            check_can_be_shown(EpisodeStore.open(self.target))
        except NothingToShowError as error:
            raise DataError(
                f"{error} Without --num-queries, answers are carried over to it all the same."
            ) from None

    def _load(self) -> "tuple[list[Loaded], Loaded]":
        from robopref.seeding import make_rng
        from robopref.transfer.loading import Place, load_source, load_target

        sources = [
            load_source(
                Place(data, db, self.criterion), make_rng(self.seed, "transfer", "source", number)
            )
            for number, (data, db) in enumerate(zip(self.source, self.source_db, strict=True))
        ]
        target = load_target(
            Place(self.target, self._known_db(), self.criterion),
            make_rng(self.seed, "transfer", "target"),
            num_segments=self.num_segments,
            length=self.segment_length,
            like=sources[0],
        )
        return sources, target

    def _known_db(self) -> str | None:
        """Return the target's store unless it is still to be made, for the queries."""
        from robopref.preferences.store import PreferenceStore

        if self.target_db is None or not self.num_queries:
            return self.target_db
        try:
            PreferenceStore(self.target_db, create=False).close()
        except FileNotFoundError:
            return None
        return self.target_db

    def _store(self, queries: "list[Query]", outcome: "Outcome") -> None:
        from robopref.preferences.store import PreferenceStore

        if not queries or self.target_db is None:
            return
        episodes = outcome.target.episodes
        context = {"data": str(episodes.root), "seed": self.seed}
        with PreferenceStore(self.target_db) as store:
            store.add_queries(queries, cut_hash=episodes.content_hash, context=context)

    def _next(self, outcome: "Outcome", asks: bool) -> str:
        if asks and self.target_db is not None:
            return following.answer(self.target, self.target_db, criterion=self.criterion)
        if outcome.verdict.level != "trust" and not _is_hidden(outcome):
            return self._ask()
        return following.train_reward(self.target, self.out / "preferences.sqlite", self.criterion)

    def _ask(self) -> str:
        """Return how to transfer once more and ask about the target."""
        out = following.free_folder(self.out.with_name(f"{self.out.name}-asking"))
        return following.command(
            "transfer", "--source", *self.source, "--source-db", *self.source_db,
            "--target", self.target,
            "--target-db", self.target_db or self.target / "preferences.sqlite",
            *following.by(self.criterion), "--num-queries", 10, "--out", out,
        )  # fmt: skip


def _is_hidden(outcome: "Outcome") -> bool:
    """Return whether nobody can be shown anything of the target."""
    from robopref.data.schema import can_be_shown

    return not can_be_shown(outcome.target.episodes.features)


def print_outcome(outcome: "Outcome") -> None:
    """Print accuracies where the truth is known, the diagnosis, and the verdict."""
    from rich.console import Console
    from rich.table import Table

    from robopref.transfer.report import accuracy_row, diagnosis_rows

    console = Console()
    if outcome.measured:
        rows = [accuracy_row(each) for each in outcome.measured]
        table = Table(box=None, pad_edge=False)
        for name, head in COLUMNS.items():
            table.add_column(head, justify="left" if name in ("method", "truth") else "right")
        for row in rows:
            table.add_row(*(row[name] for name in COLUMNS))
        console.print(table)
    else:
        print("Nobody knows the truth about the target: no accuracy can be measured.")
    for note in outcome.notes:
        console.print(f"Note: {note}", highlight=False, soft_wrap=True)
    table = Table(box=None, pad_edge=False, show_header=False)
    for row in diagnosis_rows(outcome):
        table.add_row(row["name"], row["value"], row["what"])
    console.print("", table, "")
    console.print(outcome.verdict.text, highlight=False, soft_wrap=True, markup=False)


COLUMNS = {
    "method": "method", "truth": "truth", "num": "pairs", "accuracy": "accuracy",
    "ece": "ECE", "coverage": "at 90 %",
}  # fmt: skip
"""What the table of accuracies shows; the last is the share of pairs of which 90 % are right."""

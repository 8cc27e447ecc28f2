"""`robopref answer`: a person answers queries on the terminal."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robopref.commands import following
from robopref.errors import DataError

if TYPE_CHECKING:
    from robopref.data.store import EpisodeStore
    from robopref.labeling.clips import ClipMaker
    from robopref.preferences.preference import Preference
    from robopref.preferences.query import Query
    from robopref.preferences.store import PreferenceStore
    from robopref.preferences.terminal import Request


@dataclass(frozen=True)
class AnswerCommand:
    """Answer waiting queries: clips are written as video files, and the better one is asked for.

    Each answer is on disk before the next query is shown; stop whenever you like and go on later.

    Example:
        robopref answer --data runs/reach --db runs/reach/preferences.sqlite --annotator anna
    """

    data: Path
    """Data set that the queries are about."""
    db: str
    """Preference store: a SQLite file, or a URL like postgresql://user@host/name."""
    annotator: str = "person"
    """Name under which the answers are kept."""
    criterion: str = "overall"
    """By what the clips are compared; each criterion is asked and kept on its own."""
    out: Path = Path("runs/answer")
    """Folder for the clips."""
    width: int = 320
    """Width of a clip [pixels]; even."""
    height: int = 240
    """Height of a clip [pixels]; even."""
    camera: str | None = None
    """Camera of the environment or of the data set; None for the usual one."""

    def run(self) -> None:
        """Ask until nothing is pending or the person stops."""
        from robopref.data.schema import can_be_shown
        from robopref.data.store import EpisodeStore
        from robopref.labeling.clips import ClipMaker
        from robopref.preferences.store import PreferenceStore

        episodes = EpisodeStore.open(self.data)
        clips = ClipMaker(
            episodes, self.out, width=self.width, height=self.height, camera=self.camera
        )
        with PreferenceStore(self.db, create=False) as store:
            session = AnswerSession(store, episodes, clips, self)
            try:
                session.run()
            finally:
                clips.close()
            labels = store.num_labels(self.criterion)
            decided = store.num_decided(self.criterion)
            left = len(session.pending())
        shows = can_be_shown(episodes.features)
        for line in session.notes():
            print(line)
        ties = following.only_ties(labels, decided)
        print(f"Labels by '{self.criterion}' in {self.db}: {labels}.{ties} Queries left: {left}.")
        print(f"Next:   {self._next(decided, left, shows)}")

    def _next(self, decided: int, left: int, shows: bool) -> str:
        if left:
            return following.answer(
                self.data, self.db, annotator=self.annotator, criterion=self.criterion
            )
        if decided:
            return following.train_reward(self.data, self.db, self.criterion)
        if shows:
            return following.command("query", "--data", self.data, "--db", self.db)
        return following.command("data info", "--data", self.data)


class AnswerSession:
    """One sitting of one annotator."""

    def __init__(
        self,
        store: "PreferenceStore",
        episodes: "EpisodeStore",
        clips: "ClipMaker",
        settings: AnswerCommand,
    ) -> None:
        from robopref.preferences.terminal import Person, TerminalTeacher, TerminalTeacherConfig

        self.store = store
        self.episodes = episodes
        self.clips = clips
        self.passed: dict[str, str] = {}
        self.who = (settings.annotator, settings.criterion)
        config = TerminalTeacherConfig(settings.annotator, settings.criterion)
        self.teacher = TerminalTeacher(config, Person(self._show, read_line))

    def run(self) -> None:
        """Ask the pending queries, oldest first; one that was undone comes back at once."""
        from robopref.labeling.clips import NothingToShowError
        from robopref.preferences.terminal import Request

        while pending := self.pending(limit=1):
            try:
                reply = self.teacher.reply(pending[0])
            except NothingToShowError as error:
                self.passed[pending[0].id] = str(error)
                continue
            if reply is Request.QUIT:
                return
            self._take(reply)

    def pending(self, limit: int | None = None) -> "list[Query]":
        """Return what is still to be answered, but for what cannot be shown."""
        most = None if limit is None else limit + len(self.passed)
        waiting = self.store.pending(*self.who, limit=most)
        return [query for query in waiting if query.id not in self.passed][:limit]

    def notes(self) -> list[str]:
        """Return what there is to say of the queries that were passed over."""
        if not self.passed:
            return []
        num, first = len(self.passed), next(iter(self.passed.values()))
        were = "1 query was" if num == 1 else f"{num} queries were"
        return [f"{were} passed over, for which there is nothing to show. {first}"]

    def _take(self, reply: "Preference | Request") -> None:
        from robopref.preferences.preference import Preference

        if isinstance(reply, Preference):
            self.store.answer(reply)
            return
        annotator, criterion = self.who
        answers = self.store.preferences(criterion, annotator)
        if answers:
            self.store.undo(answers[-1].id)
        print("Your last answer is taken back." if answers else "There is nothing to undo.")

    def _show(self, query: "Query") -> None:
        changed = self.store.verify(self.episodes.content_hash, [query.id])
        if changed:
            raise DataError(
                f"Query '{query.id}' cannot be shown from '{self.episodes.root}': "
                f"{changed[0].problem}. Give the data set from which it was chosen."
            )
        paths = self.clips.write(query)
        left = len(self.pending())
        print(f"\n{left} to answer. By '{self.who[1]}', which is better? {query.reason}")
        for place, path in enumerate(paths, start=1):
            print(f"  {place}: {path}")


def read_line(prompt: str) -> str | None:
    """Return the line that is typed after `prompt`, or None at the end of input or Ctrl-C."""
    try:
        return input(prompt)
    except (EOFError, KeyboardInterrupt):
        print()
        return None

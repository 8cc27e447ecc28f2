"""`robopref data import-preferences`: read preference sets of other projects."""

from dataclasses import dataclass
from pathlib import Path

from robopref.commands import following


@dataclass(frozen=True)
class ImportPreferencesCommand:
    """Read a preference set of another project: segments become episodes, labels become answers.

    Formats: "preference-transformer" (npz of Preference Transformer and IPL), "imitation" (npz),
    "uni-rlhf" (label.csv or JSON, with --data). Each has its own label convention, which the
    import knows. Importing the same again adds nothing.

    Example:
        robopref data import-preferences --source a.npz --env metaworld/reach-v3 --fps 80 --out a
    """

    source: Path
    """File with the labels."""
    out: Path
    """Data set for the segments; made if missing."""
    db: str | None = None
    """Preference store: a SQLite file, or a URL of a database; None for OUT/preferences.sqlite."""
    format: str | None = None
    """By default what the file looks like."""
    data: Path | None = None
    """uni-rlhf: the HDF5 file, in D4RL's form, that the labels point into."""
    options: tuple[str, ...] = ("first", "second", "tie")
    """uni-rlhf, label.csv: what the options of the question mean, in their order: "first",
    "second", "tie" or "cannot-tell"."""
    env: str | None = None
    """Environment, as "<adapter>/<task>"; known from the names of robomimic's sets."""
    fps: float | None = None
    """Steps a second [Hz]; known from the names of robomimic's sets."""
    annotator: str = "human"
    """Who answered."""
    criterion: str = "overall"
    """By what the segments were compared."""

    def run(self) -> None:
        """Read all, write, and print what was added."""
        from robopref.preferences.importers import DEFAULT_DB, PreferenceSet, Source

        source = Source(
            self.source, self.format, self.data, self.options, self.env, self.fps,
            self.annotator, self.criterion,
        )  # fmt: skip
        preferences = PreferenceSet.from_source(source)
        num_episodes, num_answers = preferences.save(self.out, self.db)
        db = self.db or self.out / DEFAULT_DB
        print(f"Imported {num_episodes} segments to {self.out} and {num_answers} answers to {db}.")
        known = len(preferences.episodes) - num_episodes, len(preferences.preferences) - num_answers
        if any(known):
            print(f"Note: {known[0]} segments and {known[1]} answers were there already.")
        for line in preferences.notes():
            print(f"Note: {line}")
        print(f"Next:   {following.train_reward(self.out, db, self.criterion)}")

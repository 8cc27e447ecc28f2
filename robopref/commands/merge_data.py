"""`robopref data merge`: bring the episodes of several data sets together."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tyro.conf import UseAppendAction

from robopref.commands import following
from robopref.errors import DataError

if TYPE_CHECKING:
    from robopref.data.store import EpisodeStore


@dataclass(frozen=True)
class MergeCommand:
    """Bring the episodes of several data sets together in one, such as those of two policies.

    A new data set appears complete or not at all. Merging the same again adds nothing, so an
    interrupted merge may be repeated. Episodes keep their ids: answers about them stay valid.

    Example:
        robopref data merge --data runs/demo/evaluation/base --data runs/demo/evaluation/aligned \
            --out runs/compared
    """

    data: UseAppendAction[tuple[Path, ...]]
    """Folder of a data set."""
    out: Path
    """Data set that gets the episodes; made if missing."""

    def __post_init__(self) -> None:
        """Check that there is something to merge."""
        if not self.data:
            raise ValueError("`data` must name at least one data set.")

    def run(self) -> None:
        """Merge, and print how much was new, and who acts."""
        from robopref.data.folders import check_is_free, new_folder
        from robopref.data.store import EpisodeStore
        from robopref.labeling.comparison import policy_of

        sources = [EpisodeStore.open(path) for path in self.data]
        there = (self.out / "meta" / "info.json").is_file()
        targets = [EpisodeStore.open(self.out)] if there else []
        _check_ids([*targets, *sources])
        if there:
            added = [targets[0].merge(source) for source in sources]
        else:
            check_is_free(self.out)
            with new_folder(self.out) as partial:
                made = EpisodeStore.create(partial, fps=sources[0].fps)
                added = [made.merge(source) for source in sources]
        store = targets[0] if there else EpisodeStore.open(self.out)
        for source, new in zip(sources, added, strict=True):
            print(f"{new} of the {len(source)} episodes of {source.root} are new.")
        print(f"{store.root} has {len(store)} episodes.")
        policies = Counter(map(policy_of, store.rows))
        for policy, num in sorted(policies.items()):
            print(f"  {policy or 'unnamed'}: {num} episodes")
        # The page "Compare" asks about pairs of policies; others would only stand between them.
        several = len([policy for policy in policies if policy]) > 1
        blindly = ["--first-queries", 0, "--learner", "none"] if several else []
        print(f"Next:   {following.command('label', '--data', self.out, *blindly)}")


def _check_ids(stores: "list[EpisodeStore]") -> None:
    """Refuse episodes that share an id and differ, before anything is written.

    Raises:
        DataError: There are some.
    """
    known: dict[str, tuple[str, Path]] = {}
    for store in stores:
        for row in store.rows:
            content, root = known.setdefault(row.episode_id, (row.content_hash, store.root))
            if content != row.content_hash:
                raise DataError(
                    f"'{root}' and '{store.root}' have different episodes with the id "
                    f"'{row.episode_id}', and one data set cannot hold both. Evaluations with "
                    "equal --seed share ids unless they are named: record one again with --name "
                    "NAME and another --out."
                )

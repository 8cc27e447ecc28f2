"""`robopref data upgrade-preferences`: bring a preference store up to date."""

from dataclasses import dataclass

from robopref.commands import following


@dataclass(frozen=True)
class UpgradePreferencesCommand:
    """Bring a preference store that an older robopref made up to date, in place.

    A SQLite file is first copied beside itself, to a name that ends in .bak. A database on a server
    is upgraded in one transaction and not copied; dump it first if you want a copy.

    Example:
        robopref data upgrade-preferences --db runs/demo/preferences.sqlite
    """

    db: str
    """Preference store: a SQLite file, or a URL like postgresql://user@host/name."""

    def run(self) -> None:
        """Upgrade, and print from which version and where the copy is."""
        from robopref.preferences.schema import SCHEMA_VERSION
        from robopref.preferences.store import PreferenceStore
        from robopref.preferences.upgrade import upgrade_store

        done = upgrade_store(self.db)
        if done.before == SCHEMA_VERSION:
            print(f"{self.db} is of version {SCHEMA_VERSION}; there is nothing to upgrade.")
        else:
            print(f"{self.db} is upgraded from version {done.before} to {SCHEMA_VERSION}.")
        if done.copy is not None:
            print(f"As it was, it is kept in {done.copy}.")
        with PreferenceStore(self.db, create=False) as store:
            data = following.answered_data(store, self.db)
        if data is not None:
            print(f"Next:   {following.answer(data, self.db)}")

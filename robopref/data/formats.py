"""The formats of other projects, by name: what reads them and what writes them."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from robopref.data.episode import Episode
from robopref.data.robomimic_format import SimulatorFile
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, check_choice

WRITTEN = ("minari", "robomimic")
"""What `write_episodes` writes."""
FORMATS = ("diffusion-policy", *WRITTEN)
"""What `read_episodes` reads."""
_ZARR = (".zarr", ".zarr.zip")
_SUFFIXES = (".hdf5", ".h5")


def format_of(path: Path, name: str | None, known: Sequence[str] = FORMATS) -> str:
    """Return the format called `name`, or else the one that `path` looks like.

    Args:
        path: A file or folder to read or write.
        name: What the user calls it, if anything.
        known: The formats that it may be in.

    Raises:
        ValueError: There is no such format.
        DataError: The path looks like none.

    Example:
        >>> format_of(Path("lift/ph/low_dim.hdf5"), None), format_of(Path("door-human-v2"), None)
        ('robomimic', 'minari')
    """
    if name is not None:
        check_choice("format", name, known)
        return name
    if path.name.endswith(_ZARR) and "diffusion-policy" in known:
        return "diffusion-policy"
    if path.suffix in _SUFFIXES:
        return "robomimic"
    if path.is_dir() or not path.suffix:
        return "minari"
    raise DataError(f"'{path}' looks like no known format. Give `format`: one of {list(known)}.")


def read_episodes(
    path: Path, name: str, *, filter_key: str | None = None, fps: float | None = None
) -> Iterator[Episode]:
    """Yield the episodes of a file or folder in the format `name`.

    Args:
        path: Where they are.
        name: One of `FORMATS`.
        filter_key: robomimic only: takes the demonstrations of this mask.
        fps: Steps a second [Hz], where the file does not say.

    Raises:
        FileNotFoundError: There is nothing at `path`.
        DataError: It is of another format, or damaged.
        ValueError: A filter key for a format that has none.
    """
    if name == "robomimic":
        from robopref.data.robomimic_hdf5 import read_robomimic

        return read_robomimic(path, filter_key=filter_key, fps=fps)
    if filter_key is not None:
        raise ValueError(f"`filter_key` goes with the format 'robomimic', not with '{name}'.")
    if name == "diffusion-policy":
        from robopref.data.replay_buffer import read_replay_buffer

        return read_replay_buffer(path, fps=fps)
    from robopref.data.minari import read_minari

    return read_minari(path, fps=fps)


def write_episodes(
    store: EpisodeStore, path: Path, name: str, *, simulator: SimulatorFile | None = None
) -> int:
    """Write all episodes of `store` in the format `name`; return their number.

    Args:
        store: What to write.
        path: Where to.
        name: One of `WRITTEN`.
        simulator: robomimic only: what made the episodes.

    Raises:
        DataError: The store is empty or damaged.
        FileExistsError: There is something at `path`.
    """
    if name == "robomimic":
        from robopref.data.robomimic_writer import write_robomimic

        return write_robomimic(store, path, simulator=simulator)
    from robopref.data.minari import write_minari

    return write_minari(store, path)

"""An import brings all episodes of a source into a data set, or none."""

from pathlib import Path

import h5py
import pytest

from robopref import cli
from robopref.data.importing import Imported, import_episodes
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from tests.data.robomimic_files import write_like_robomimic

SOURCE = Path("x.hdf5")


def broken(episodes, error):
    yield from episodes
    raise error


@pytest.fixture
def episodes(make_episode):
    return [make_episode(i) for i in range(3)]


@pytest.mark.parametrize("error", [DataError("bad"), KeyboardInterrupt()])
def test_a_new_data_set_is_complete_or_absent(tmp_path, episodes, error):
    out = tmp_path / "deep" / "out"
    with pytest.raises(type(error)):
        import_episodes(broken(episodes[:2], error), out, SOURCE)
    assert list(out.parent.iterdir()) == []
    assert import_episodes(iter(episodes), out, SOURCE) == Imported(3, 0, 0, 3)
    assert EpisodeStore.open(out).validate() == []
    assert list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize("error", [DataError("bad"), KeyboardInterrupt()])
def test_a_data_set_that_is_there_is_unharmed(tmp_path, store, episodes, error):
    store.add(episodes[0])
    before = {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    with pytest.raises(type(error)):
        import_episodes(broken(episodes, error), store.root, SOURCE)
    assert before == {path: path.read_bytes() for path in store.root.rglob("*") if path.is_file()}
    assert list(tmp_path.iterdir()) == [store.root]
    assert import_episodes(iter(episodes), store.root, SOURCE) == Imported(2, 1, 0, 3)
    assert import_episodes(iter(episodes), store.root, SOURCE) == Imported(0, 3, 0, 3)
    assert EpisodeStore.open(store.root).validate() == []


def test_another_episode_with_the_id_of_one_that_is_there(store, episodes, make_episode):
    store.add(episodes[2])
    other = make_episode(9, id=episodes[2].id)
    with pytest.raises(DataError, match="has another episode with the id"):
        import_episodes(iter([*episodes[:2], other]), store.root, SOURCE)
    assert EpisodeStore.open(store.root).ids == [episodes[2].id]


def test_what_cannot_be_written_to(tmp_path, episodes):
    letter = tmp_path / "letter.txt"
    letter.write_text("mine")
    with pytest.raises(DataError, match="holds files already"):
        import_episodes(iter(episodes), tmp_path, SOURCE)
    assert list(tmp_path.iterdir()) == [letter]
    with pytest.raises(DataError, match=r"'x\.hdf5' holds no episodes"):
        import_episodes(iter([]), tmp_path / "out", SOURCE)
    assert list(tmp_path.iterdir()) == [letter]


def test_the_command_on_a_damaged_file_and_on_one_with_demonstrations_twice(tmp_path, capsys):
    source, out = tmp_path / "x.hdf5", tmp_path / "out"
    write_like_robomimic(source, num=3)
    words = ["data", "import", "--source", str(source), "--out", str(out)]
    with h5py.File(source, "a") as file:
        file.move("data/demo_1/obs", "data/demo_1/gone")
    assert cli.main(words) == 2
    assert capsys.readouterr().err == (
        f"Error: '{source}', demo_1: it has no 'obs'. Extract observations with robomimic first.\n"
    )
    assert list(tmp_path.iterdir()) == [source]
    with h5py.File(source, "a") as file:
        del file["data/demo_1"]
        file.copy("data/demo_0", "data/demo_1")
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"Imported 2 episodes from {source}; {out} has 2.",
        f"Note: 1 episodes of {source} equal another one of it and were kept once.",
    ]
    assert cli.main(words) == 0
    assert capsys.readouterr().out.splitlines()[:2] == [
        f"Imported 0 episodes from {source}; {out} has 2.",
        f"Note: 2 episodes of {source} were there already.",
    ]

"""`robopref data ...` as users run it: what it prints, and its errors with exit code 2."""

import json
import re

import h5py
import numpy as np
import pytest

from robopref import cli
from robopref.data.store import EpisodeStore


@pytest.fixture
def filled(store, make_episode):
    for i in range(4):
        store.add(make_episode(i, steps=5 + i, success=np.full(5 + i, i > 0)))
    return store


@pytest.fixture
def robopref(capsys):
    """Return a function that runs the command line and gives exit code, output and errors."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


def squeezed(text: str) -> list[str]:
    return [" ".join(line.split()) for line in text.splitlines()]


def test_a_merge_makes_a_new_data_set_complete_or_not_at_all(
    filled, make_episode, tmp_path, robopref
):
    out, sources = tmp_path / "new" / "out", [filled.root]
    for name, changes in (("same", {}), ("wider", {"action": np.zeros((7, 3), np.float32)})):
        other = EpisodeStore.create(tmp_path / name, fps=20)
        other.add(make_episode(len(sources) + 10, **changes))
        sources.append(other.root)
    words = [word for root in sources for word in ("--data", root)]
    code, _, said = robopref("data", "merge", *words, "--out", out)
    assert code == 2
    assert "action" in said
    assert not list((tmp_path / "new").iterdir())
    code, said, _ = robopref("data", "merge", *words[:4], "--out", out)
    assert code == 0
    assert said.splitlines()[:3] == [
        f"4 of the 4 episodes of {filled.root} are new.",
        f"1 of the 1 episodes of {tmp_path / 'same'} are new.",
        f"{out} has 5 episodes.",
    ]
    assert list((tmp_path / "new").iterdir()) == [out]
    assert EpisodeStore.open(out).validate() == []
    letter = tmp_path / "new" / "letter.txt"
    letter.write_text("mine")
    assert robopref("data", "merge", *words[:4], "--out", letter.parent) == (
        2, "", f"Error: '{letter.parent}' holds files already, and no data set. Give another "
        "folder.\n",
    )  # fmt: skip


def test_info(filled, robopref):
    code, out, _ = robopref("data", "info", "--data", filled.root)
    assert code == 0
    lines = squeezed(out)
    for line in (
        "episodes 4",
        "steps 26 at 20 a second",
        "metaworld/reach-v3 4 episodes, 75% solved",
        "task 'reach 0' 2 episodes",
        "length 5 to 8 steps, median 6.5",
        "ended 2 terminated",
        "observation.state float32 (5,)",
        "sim.state float64 (11,)",
        f"Next: robopref data validate --data {filled.root}",
    ):
        assert line in lines
    assert any(re.fullmatch(r"files 8, 0\.\d MB", line) for line in lines)


@pytest.mark.parametrize(
    ("lengths", "shown"),
    [
        ([7], "7 to 7 steps, median 7"),
        ([9, 5], "5 to 9 steps, median 7"),
        ([5, 6, 5, 9], "5 to 9 steps, median 5.5"),
        ([8, 5, 6], "5 to 8 steps, median 6"),
    ],
)
def test_info_shows_the_median_of_the_lengths(store, make_episode, robopref, lengths, shown):
    for number, steps in enumerate(lengths):
        store.add(make_episode(number, steps=steps))
    _, out, _ = robopref("data", "info", "--data", store.root)
    assert f"length {shown}" in squeezed(out)


def test_info_of_an_interrupted_recording(filled, robopref):
    (filled.root / "meta/episodes/chunk-000/file-003.parquet").unlink()
    code, out, _ = robopref("data", "info", "--data", filled.root)
    assert code == 0
    assert (
        f"Note: '{filled.root}/data/chunk-000/file-003.parquet' belongs to no episode and is "
        "ignored: its recording was interrupted, or is under way."
    ) in out.splitlines()


def test_info_of_an_empty_data_set(store, robopref):
    code, out, _ = robopref("data", "info", "--data", store.root)
    assert code == 0
    assert "episodes 0" in squeezed(out)


def test_info_of_what_is_none(tmp_path, robopref):
    assert robopref("data", "info", "--data", tmp_path / "x") == (
        2, "",
        f"Error: No data set at '{tmp_path}/x'. Record one with: robopref collect "
        f"--out {tmp_path}/x\n",
    )  # fmt: skip


def test_validate_and_drop(filled, robopref, make_episode):
    assert robopref("data", "validate", "--data", filled.root) == (
        0,
        f"'{filled.root}' is sound: 4 episodes, 26 steps.\n"
        f"Next:   robopref data compact --data {filled.root}\n",
        "",
    )
    path = filled.root / "data/chunk-000/file-001.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    code, out, err = robopref("data", "validate", "--data", filled.root)
    assert (code, err) == (2, f"Error: '{filled.root}' has 1 problems, listed above.\n")
    assert out.startswith(f"'{path}' is damaged: ")
    code, out, err = robopref("data", "validate", "--data", filled.root, "--drop-damaged")
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == [
        "Deleted 1 damaged episodes.",
        f"'{filled.root}' is sound: 3 episodes, 20 steps.",
    ]
    assert EpisodeStore.open(filled.root).ids == [make_episode(i).id for i in (0, 2, 3)]


def test_compact(filled, robopref):
    assert robopref("data", "compact", "--data", filled.root) == (
        0,
        f"4 episodes: 8 files before, 2 now.\nNext:   robopref data info --data {filled.root}\n",
        "",
    )


@pytest.mark.parametrize("name", ["again.hdf5", "again-v0"])
def test_export_and_import(filled, robopref, tmp_path, name, contents):
    out_path, back = tmp_path / name, tmp_path / "back"
    form = "robomimic" if name.endswith("hdf5") else "minari"
    code, out, _ = robopref("data", "export", "--data", filled.root, "--out", out_path)
    assert code == 0
    assert out.splitlines()[0] == f"Exported 4 episodes to {out_path} ({form})."
    for added in (4, 0):
        code, out, _ = robopref("data", "import", "--source", out_path, "--out", back)
        assert code == 0
        assert out.splitlines()[0] == f"Imported {added} episodes from {out_path}; {back} has 4."
    assert contents(EpisodeStore.open(back)) == contents(filled)
    code, _, err = robopref("data", "export", "--data", filled.root, "--out", out_path)
    assert (code, err) == (
        2, f"Error: '{out_path}' exists. Delete it, or give another name.\n",
    )  # fmt: skip


def test_a_source_that_cannot_be_read_leaves_nothing(tmp_path, robopref):
    source, out = tmp_path / "bad.hdf5", tmp_path / "out"
    with h5py.File(source, "w") as file:
        file["data"] = 1
    code, _, err = robopref("data", "import", "--source", source, "--out", out)
    assert code == 2
    assert err == (
        f"Error: '{source}' is not a robomimic file: it has no group 'data' with the attribute "
        "'env_args'.\n"
    )
    assert not out.exists()


def test_formats_and_options_that_do_not_go_together(filled, robopref, tmp_path):
    def error(*arguments: object) -> str:
        code, _, err = robopref("data", *arguments)
        assert code == 2
        return str(err)

    out = tmp_path / "x.zarr"
    assert error("export", "--data", filled.root, "--out", out) == (
        f"Error: '{out}' looks like no known format. Give --format: one of "
        "['minari', 'robomimic'].\n"
    )
    assert (
        "--format must be one of ['minari', 'robomimic'], got 'robomimmic'. Did you mean"
        in error("export", "--data", filled.root, "--out", out, "--format", "robomimmic")
    )
    assert "Give one of --data and --db: what to export." in error("export", "--out", out)
    assert error("export", "--db", "answers.sqlite", "--out", tmp_path / "x.txt") == (
        f"Error: '{tmp_path}/x.txt' looks like no known format. Give --format: one of "
        "['chosen-rejected', 'jsonl', 'npz', 'parquet'].\n"
    )
    assert error("import", "--source", tmp_path / "x.txt", "--out", out) == (
        f"Error: '{tmp_path}/x.txt' looks like no known format. Give --format: one of "
        "['diffusion-policy', 'minari', 'robomimic'].\n"
    )
    folder = tmp_path / "x-v0"
    assert "--filter-key goes with the format 'robomimic', not with 'minari'." in error(
        "import", "--source", folder, "--out", out, "--filter-key", "train"
    )


def test_export_of_preferences(filled, robopref, tmp_path, make_episode):
    from robopref.data.segment import Segment
    from robopref.preferences.preference import Preference
    from robopref.preferences.query import Query
    from robopref.preferences.ranking import Ranking
    from robopref.preferences.store import PreferenceStore

    db = tmp_path / "answers.sqlite"
    query = Query("q-1", (Segment(make_episode(0).id, 0, 4), Segment(make_episode(1).id, 1, 4)))
    with PreferenceStore(db) as preferences:
        preferences.add_query(query, cut_hash=filled.content_hash)
        preferences.answer(Preference("p-1", query, Ranking.prefer(1)))
    for name, options in (
        ("a.jsonl", ()), ("a.parquet", ()), ("b.jsonl", ("--format", "chosen-rejected")),
    ):  # fmt: skip
        code, out, _ = robopref("data", "export", "--db", db, "--out", tmp_path / name, *options)
        assert code == 0, out
        assert out.splitlines()[0].startswith(f"Exported 1 rows to {tmp_path / name} (")
        assert len(out.splitlines()) == 1, "which data set it is about is not known"
    with PreferenceStore(db) as preferences:
        other = Query("q-2", query.items[::-1])
        where = {"data": str(filled.root)}
        preferences.add_query(other, cut_hash=filled.content_hash, context=where)
    _, out, _ = robopref("data", "export", "--db", db, "--out", tmp_path / "a.jsonl")
    assert out.splitlines()[1] == f"Next:   robopref answer --data {filled.root} --db {db}"
    assert json.loads((tmp_path / "b.jsonl").read_text().splitlines()[0])["chosen"]

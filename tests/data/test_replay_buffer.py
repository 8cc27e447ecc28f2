"""Tests for replay_buffer.py, on buffers written by the real zarr as diffusion_policy does."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from robopref import cli
from robopref.data.replay_buffer import read_replay_buffer
from robopref.data.store import EpisodeStore
from robopref.errors import DataError, MissingExtraError
from tests.extras import import_extra

LENGTHS = (5, 7, 4)


@pytest.fixture
def zarr():
    return import_extra("zarr", "zarr")


def make_arrays(rng, num_steps: int) -> dict[str, np.ndarray]:
    """Return the columns of a buffer: PushT's names, with the pictures as floats as it has them."""
    return {
        "action": rng.normal(size=(num_steps, 2)).astype(np.float32),
        "img": rng.integers(0, 256, (num_steps, 24, 32, 3)).astype(np.float32),
        "keypoint": rng.normal(size=(num_steps, 9, 2)).astype(np.float32),
        "n_contacts": rng.integers(0, 3, (num_steps, 1)).astype(np.float32),
        "state": rng.normal(size=(num_steps, 5)).astype(np.float32),
    }


def write(zarr: Any, path: Path, arrays: dict[str, np.ndarray], ends: Any, **options: Any) -> None:
    """Write a buffer: chunks along time only, lz4 without shuffling, ends uncompressed."""
    from numcodecs import Blosc

    is_zip = path.suffix == ".zip"
    store = zarr.ZipStore(str(path), mode="w") if is_zip else zarr.DirectoryStore(str(path))
    root = zarr.group(store)
    data, meta = root.require_group("data"), root.require_group("meta")
    blosc = Blosc(cname="lz4", clevel=5, shuffle=Blosc.NOSHUFFLE)
    for key, values in arrays.items():
        data.array(key, values, chunks=(3, *values.shape[1:]), compressor=options.get(key, blosc))
    if ends is not None:
        meta.array("episode_ends", np.asarray(ends), compressor=None)
    store.close()


@pytest.fixture
def arrays(rng):
    return make_arrays(rng, sum(LENGTHS))


@pytest.fixture
def buffer(zarr, arrays, tmp_path):
    path = tmp_path / "pusht.zarr"
    write(zarr, path, arrays, np.cumsum(LENGTHS))
    return path


def check_equal(episodes, arrays):
    start = 0
    for episode, length in zip(episodes, LENGTHS, strict=True):
        rows = slice(start, start + length)
        vectors = [arrays[key][rows].reshape(length, -1)
                   for key in ("keypoint", "n_contacts", "state")]  # fmt: skip
        np.testing.assert_array_equal(episode.state[:-1], np.concatenate(vectors, axis=1))
        np.testing.assert_array_equal(episode.state[-1], episode.state[-2])
        np.testing.assert_array_equal(episode.action, arrays["action"][rows])
        pictures = episode.obs["observation.images.img"]
        assert pictures.dtype == np.uint8
        np.testing.assert_array_equal(pictures[:-1], arrays["img"][rows])
        assert not episode.succeeded
        assert episode.truncated
        start += length


def test_every_number_of_a_folder_and_of_a_zip_file_is_read(zarr, arrays, buffer, tmp_path):
    packed = tmp_path / "pusht.zarr.zip"
    write(zarr, packed, arrays, np.cumsum(LENGTHS))
    from_folder, from_zip = (list(read_replay_buffer(path, fps=10)) for path in (buffer, packed))
    for episodes in (from_folder, from_zip):
        check_equal(episodes, arrays)
    assert [e.id for e in from_folder] == [e.id for e in from_zip]
    first = from_folder[0]
    assert (first.fps, first.task, first.env) == (10.0, "pusht", "diffusion_policy/pusht")
    assert first.metadata["observation_keys"] == [["keypoint", 18], ["n_contacts", 1], ["state", 5]]
    assert first.metadata["repeated"] == [
        "data/keypoint", "data/n_contacts", "data/state", "data/img",
    ]  # fmt: skip


def test_the_command_imports_once(buffer, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["data", "import", "--source", str(buffer), "--fps", "10", "--out", str(out)]
    assert cli.main(words) == 0
    assert cli.main(words) == 0
    told = capsys.readouterr().out
    assert f"Imported 3 episodes from {buffer}; {out} has 3." in told
    assert f"Imported 0 episodes from {buffer}; {out} has 3." in told
    store = EpisodeStore.open(out)
    assert [row.length for row in store.rows] == list(LENGTHS)
    assert not any(store.episode(one).knows("reward") for one in store.ids)
    assert cli.main(["data", "info", "--data", str(out)]) == 0
    assert "3 episodes, success not known" in capsys.readouterr().out
    assert not store.validate()


def test_timestamps_say_the_rate(zarr, arrays, tmp_path):
    path = tmp_path / "real.zarr"
    times = np.concatenate([100.0 * i + np.arange(n) / 12.5 for i, n in enumerate(LENGTHS)])
    write(zarr, path, arrays | {"timestamp": times}, np.cumsum(LENGTHS))
    episode = next(read_replay_buffer(path))
    assert episode.fps == 12.5
    assert "timestamp" not in dict(episode.metadata["observation_keys"])


def test_points_lose_their_colours_and_depth_is_left_out(zarr, arrays, rng, tmp_path, caplog):
    num = sum(LENGTHS)
    cloud = rng.normal(size=(num, 40, 6)).astype(np.float32)
    path = tmp_path / "dp3.zarr"
    write(zarr, path, arrays | {"point_cloud": cloud, "depth": np.ones((num, 20, 20))}, [num])
    episode = next(read_replay_buffer(path, fps=10))
    np.testing.assert_array_equal(episode.obs["observation.points"][:-1], cloud[..., :3])
    assert episode.state.shape == (num + 1, 24)
    assert [record.message for record in caplog.records] == [
        f"'{path}': ['depth'] are no vectors and no pictures, and are left out."
    ]


def test_pictures_that_diffusion_policy_compresses_are_decoded(zarr, arrays, tmp_path):
    codecs = import_extra("imagecodecs.numcodecs", "zarr")
    codecs.register_codecs(verbose=False)
    whole = arrays["img"].astype(np.uint8)
    path = tmp_path / "umi.zarr"
    jpeg = codecs.Jpeg2k(level=0, reversible=True)
    from numcodecs import Blosc

    root = zarr.group(zarr.DirectoryStore(str(path)))
    for key, values in (arrays | {"img": whole}).items():
        one = key == "img"
        root.require_group("data").array(
            key, values, chunks=(1 if one else 3, *values.shape[1:]),
            compressor=jpeg if one else Blosc(),
        )  # fmt: skip
    root.require_group("meta").array("episode_ends", np.cumsum(LENGTHS), compressor=None)
    check_equal(list(read_replay_buffer(path, fps=10)), arrays)


def refused(path: Path, out: Path, capsys) -> str:
    """Return the error of an import, which must leave nothing behind."""
    words = ["data", "import", "--source", str(path), "--fps", "10", "--out", str(out)]
    assert cli.main(words) == 2
    assert not out.exists()
    message: str = capsys.readouterr().err.removeprefix("Error: ").removesuffix("\n")
    return message


ENDS = [
    ([5, 4, 16], "'meta/episode_ends' must increase, and episode 1 ends at 4, after 5."),
    ([0, 16], "'meta/episode_ends' must increase, and episode 0 ends at 0, after 0."),
    ([5.0, 16.0], "'meta/episode_ends' must list where episodes end, and holds float64 of shape "
                  "(2,)."),
    ([5, 17], "all of 'data' must have as many steps, at least the 17 at which the last episode "
              "ends, and has {'action': 16, 'img': 16, 'keypoint': 16, 'n_contacts': 16, 'state': "
              "16}."),
]  # fmt: skip


@pytest.mark.parametrize(("ends", "message"), ENDS)
def test_ends_that_cannot_be(zarr, arrays, tmp_path, capsys, ends, message):
    path = tmp_path / "x.zarr"
    write(zarr, path, arrays, ends)
    assert refused(path, tmp_path / "out", capsys) == f"'{path}': {message}"


def test_what_is_no_buffer(zarr, arrays, tmp_path, capsys):
    path, out = tmp_path / "x.zarr", tmp_path / "out"
    assert refused(path, out, capsys) == f"No replay buffer at '{path}'."
    write(zarr, path, {"state": arrays["state"]}, None)
    assert refused(path, out, capsys) == (
        f"'{path}' is not a replay buffer of diffusion_policy: it needs 'data/action' and "
        "'meta/episode_ends', and has ['data', 'data/state', 'meta']."
    )
    torn = tmp_path / "torn.zarr.zip"
    torn.write_bytes(b"PK")
    assert refused(torn, out, capsys) == (
        f"'{torn}' is not readable as Zarr: File is not a zip file."
    )


def test_lengths_that_disagree(zarr, arrays, tmp_path, capsys):
    path = tmp_path / "x.zarr"
    write(zarr, path, arrays | {"state": arrays["state"][:-1]}, [5])
    assert "must have as many steps" in refused(path, tmp_path / "out", capsys)


@pytest.mark.parametrize("key", ["img", "state"])
def test_a_chunk_that_is_missing_or_was_cut_short(buffer, tmp_path, capsys, key):
    out, last = tmp_path / "out", sorted((buffer / f"data/{key}").iterdir())[-1]
    assert not last.name.startswith(".")
    whole = last.read_bytes()
    last.write_bytes(whole[: len(whole) // 2])
    assert refused(buffer, out, capsys) == (
        f"'{buffer}': 'data/{key}' is damaged: its chunk {last.name} was cut short. Copy it again."
    )
    last.unlink()
    assert refused(buffer, out, capsys) == (
        f"'{buffer}': 1 of the 6 chunks of 'data/{key}' are missing. Copy it again; one written "
        "with `write_empty_chunks=False` has to be rewritten."
    )


def test_what_another_codec_finds_damaged(zarr, arrays, tmp_path, capsys):
    from numcodecs import Zlib

    path = tmp_path / "x.zarr"
    write(zarr, path, arrays, np.cumsum(LENGTHS), state=Zlib())
    chunk = path / "data/state/5.0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    message = refused(path, tmp_path / "out", capsys)
    assert message.startswith(f"'{path}': 'data/state' is damaged: ")
    assert message.endswith(". Copy it again.")


def test_a_number_that_is_not_finite_imports_nothing(zarr, arrays, tmp_path, capsys):
    arrays["state"][-1, 0] = np.nan
    path = tmp_path / "x.zarr"
    write(zarr, path, arrays, np.cumsum(LENGTHS))
    message = refused(path, tmp_path / "out", capsys)
    assert message.startswith(f"'{path}', steps 12 to 16: Episode ")
    assert "observation.state" in message


def test_pictures_that_are_no_bytes(zarr, arrays, tmp_path, capsys):
    path = tmp_path / "x.zarr"
    write(zarr, path, arrays | {"img": np.full_like(arrays["img"], 0.5)}, [16])
    assert refused(path, tmp_path / "out", capsys) == (
        f"'{path}': the pictures 'data/img' must hold whole numbers from 0 to 255, and hold 0.5 "
        "to 0.5 as float32."
    )


def test_an_unknown_codec(zarr, buffer, tmp_path, capsys):
    note = buffer / "data/img/.zarray"
    note.write_text(note.read_text().replace('"blosc"', '"of_tomorrow"'))
    assert refused(buffer, tmp_path / "out", capsys) == (
        f"'{buffer}': 'data/img' cannot be decoded: codec not available: ''of_tomorrow''. Pictures "
        "that diffusion_policy has compressed need imagecodecs: pip install imagecodecs."
    )


def test_steps_of_an_interrupted_recording_are_left_out(zarr, arrays, tmp_path, caplog):
    path = tmp_path / "x.zarr"
    write(zarr, path, arrays, [5, 12])
    assert [len(e) for e in read_replay_buffer(path, fps=10)] == [5, 7]
    assert [record.message for record in caplog.records] == [
        f"'{path}': 4 steps after the last episode's end are left out."
    ]


def test_without_a_rate(buffer):
    with pytest.raises(DataError) as error:
        next(read_replay_buffer(buffer))
    assert str(error.value) == (
        f"'{buffer}' does not say how many steps it has a second. Give `fps` (--fps)."
    )


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    (tmp_path / "x.zarr").mkdir()
    with pytest.raises(MissingExtraError) as error:
        next(read_replay_buffer(tmp_path / "x.zarr", fps=10))
    assert str(error.value) == (
        "A replay buffer needs zarr. Install it with: pip install 'robopref[zarr]'."
    )

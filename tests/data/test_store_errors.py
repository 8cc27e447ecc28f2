"""What users read when data is not what it should be, in full."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from robopref.data.segment import Segment
from robopref.data.store import EpisodeStore
from robopref.errors import DataError

CAMERA = "observation.images.corner"


def message(error_type, call) -> str:
    with pytest.raises(error_type) as error:
        call()
    return str(error.value)


@pytest.fixture
def filled(store, make_episode):
    for i in range(3):
        store.add(make_episode(i, camera=True))
    return store


def test_no_folder(tmp_path):
    path = tmp_path / "nowhere"
    assert (
        message(FileNotFoundError, lambda: EpisodeStore.open(path))
        == f"No data set at '{path}'. Record one with: robopref collect --out {path}"
    )


def test_a_foreign_folder(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    assert message(DataError, lambda: EpisodeStore.open(tmp_path)) == (
        f"'{tmp_path}' is not a LeRobot data set: it has no 'meta/info.json'. Record one with "
        "'robopref collect', or convert one with 'robopref data import'."
    )
    assert message(DataError, lambda: EpisodeStore.create(tmp_path, fps=10)) == (
        f"'{tmp_path}' holds files already. Continue with EpisodeStore.open, or give another "
        "folder."
    )
    assert (tmp_path / "notes.txt").read_text() == "hello"


def test_another_version_of_lerobot(filled):
    path = filled.root / "meta/info.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "codebase_version": "v2.1"}))
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{filled.root}' is a LeRobot data set of version v2.1; robopref reads v3.0. Convert it "
        "with lerobot's own script: "
        "python -m lerobot.datasets.v30.convert_dataset_v21_to_v30 --help"
    )


def test_damaged_info(filled):
    path = filled.root / "meta/info.json"
    path.write_text("{")
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{path}' is damaged: Expecting property name enclosed in double quotes: line 1 column 2 "
        "(char 1). Put back a copy of the file."
    )
    path.write_text("[]")
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{path}' does not say which LeRobot version wrote it."
    )
    path.write_text('{"codebase_version": "v3.0"}')
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{path}' lacks ['fps', 'features']."
    )


def test_a_data_set_that_lerobot_recorded(filled):
    path = filled.root / "meta/episodes/chunk-000/file-001.parquet"
    table = pq.read_table(path)
    pq.write_table(table.drop_columns(["episode_id", "env_id"]), path)
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{path}' lacks the columns ['episode_id', 'env_id']: robopref did not record it, and "
        "cannot tell its episodes apart when their numbers change."
    )


def test_truncated_episode_table(filled):
    path = filled.root / "meta/episodes/chunk-000/file-001.parquet"
    path.write_bytes(path.read_bytes()[:-100])
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{path}' is damaged: Parquet magic bytes not found in footer. Either the file is "
        "corrupted or this is not a parquet file. Put back a copy of the file, or delete it to go "
        "on without what it holds."
    )
    path.unlink()
    opened = EpisodeStore.open(filled.root)
    assert len(opened) == 2
    assert opened.validate() == [
        f"The episodes of '{filled.root}' are not numbered through, which LeRobot needs. Run "
        f"'robopref data compact --data {filled.root}'."
    ]
    opened.compact()
    assert opened.validate() == []


def test_truncated_data_file(filled, make_episode):
    path = filled.root / "data/chunk-000/file-001.parquet"
    path.write_bytes(path.read_bytes()[:-50])
    opened = EpisodeStore.open(filled.root)
    damaged = make_episode(1).id
    expected = (
        f"'{path}' is damaged: Parquet magic bytes not found in footer. Either the file is "
        "corrupted or this is not a parquet file. Put back a copy of the file, or delete its "
        "episodes with 'robopref data validate --drop-damaged'."
    )
    assert message(DataError, lambda: opened.episode(damaged)) == expected
    assert message(DataError, opened.compact) == expected
    assert opened.validate() == [expected]
    assert opened.episode(make_episode(2).id).seed == 2**62 + 2
    assert opened.damaged_ids() == [damaged]
    opened.delete(opened.damaged_ids())
    assert opened.validate() == []
    assert len(opened) == 2


def test_a_damaged_page(filled, make_episode):
    path = filled.root / "data/chunk-000/file-000.parquet"
    content = bytearray(path.read_bytes())
    content[4:200] = bytes(196)
    path.write_bytes(content)
    text = message(DataError, lambda: EpisodeStore.open(filled.root).episode(make_episode(0).id))
    assert text.startswith(f"'{path}' is damaged: ")


def test_missing_data_file(filled, make_episode):
    path = filled.root / "data/chunk-000/file-001.parquet"
    path.unlink()
    opened = EpisodeStore.open(filled.root)
    assert message(DataError, lambda: opened.episode(make_episode(1).id)) == (
        f"'{path}' is missing. Put back a copy of the file, or delete its episodes with "
        "'robopref data validate --drop-damaged'."
    )


def test_missing_and_truncated_video(filled, make_episode):
    folder = filled.root / "videos" / CAMERA / "chunk-000"
    (folder / "file-000.mp4").unlink()
    content = (folder / "file-001.mp4").read_bytes()
    (folder / "file-001.mp4").write_bytes(content[: len(content) // 2])
    opened = EpisodeStore.open(filled.root)
    texts = [
        message(DataError, lambda i=i: opened.frames(Segment(make_episode(i).id, 0, 3), CAMERA))
        for i in (0, 1)
    ]
    assert texts == [
        f"'{folder}/file-000.mp4' is missing. Put back a copy of the file, or delete its episodes "
        "with 'robopref data validate --drop-damaged'.",
        f"'{folder}/file-001.mp4' is not readable as video: Invalid data found when processing "
        "input. Put back a copy of the file, or delete its episodes with 'robopref data validate "
        "--drop-damaged'.",
    ]
    assert opened.validate() == texts
    opened.delete(opened.damaged_ids())
    assert opened.validate() == []


def test_a_video_that_is_too_short(filled, make_episode):
    folder = filled.root / "videos" / CAMERA / "chunk-000"
    filled.add(make_episode(5, steps=3, camera=True))
    (folder / "file-001.mp4").write_bytes((folder / "file-003.mp4").read_bytes())
    episode = make_episode(1)
    assert message(DataError, lambda: filled.frames(Segment(episode.id, 0, 7), CAMERA)) == (
        f"'{folder}/file-001.mp4' ends after frame 3; an episode needs frames up to 7."
    )
    assert filled.validate() == [
        f"'{folder}/file-001.mp4' has 3 frames; episode {episode.id} needs 7."
    ]


def rewrite_column(path, name, change):
    table = pq.read_table(path)
    values = np.array(table[name].to_pylist(), dtype=np.float32)
    change(values)
    column = pa.array(values.tolist(), table.schema.field(name).type)
    pq.write_table(table.set_column(table.column_names.index(name), name, column), path)


def test_nan_in_a_file(filled, make_episode):
    path = filled.root / "data/chunk-000/file-001.parquet"

    def spoil(values):
        values[4, 1] = np.nan

    rewrite_column(path, "action", spoil)
    episode = make_episode(1)
    expected = f"'{path}': Episode {episode.id}: 'action' is not finite at step 4."
    opened = EpisodeStore.open(filled.root)
    assert message(DataError, lambda: opened.episode(episode.id)) == expected
    assert opened.validate() == [expected]


def test_a_changed_number_is_noticed(filled, make_episode):
    def spoil(values):
        values[4, 1] += 1

    rewrite_column(filled.root / "data/chunk-000/file-001.parquet", "action", spoil)
    assert EpisodeStore.open(filled.root).validate() == [
        f"Episode {make_episode(1).id} has changed since it was recorded."
    ]


def test_rows_of_another_episode(filled, make_episode):
    folder = filled.root / "data/chunk-000"
    (folder / "file-001.parquet").write_bytes((folder / "file-002.parquet").read_bytes())
    text = message(DataError, lambda: EpisodeStore.open(filled.root).episode(make_episode(1).id))
    assert text == (
        f"'{folder}/file-001.parquet' holds steps 14 to 20; the episode table looks for steps 7 to "
        "13 there. Put back a copy of the file, or delete its episodes with 'robopref data "
        "validate --drop-damaged'."
    )


def test_a_column_of_the_wrong_shape(filled, make_episode):
    path = filled.root / "data/chunk-000/file-001.parquet"
    table = pq.read_table(path)
    short = pa.array([[0.0]] * 7, pa.list_(pa.float32(), 1))
    pq.write_table(table.set_column(table.column_names.index("action"), "action", short), path)
    text = message(DataError, lambda: EpisodeStore.open(filled.root).episode(make_episode(1).id))
    assert text == (
        f"'{path}': The column 'action' is damaged: 7 rows of float32 (2,) need 14 numbers, got 7."
    )


def test_the_same_episode_twice_in_the_table(filled, make_episode):
    folder = filled.root / "meta/episodes/chunk-000"
    (folder / "file-003.parquet").write_bytes((folder / "file-001.parquet").read_bytes())
    assert message(DataError, lambda: EpisodeStore.open(filled.root)) == (
        f"'{filled.root}/meta/episodes' has more than one row for the episodes "
        f"['{make_episode(1).id}']."
    )


def test_unknown_episode(filled, make_episode):
    wrong = make_episode(1).id[:-1] + "x"
    for call in (
        lambda: filled.episode(wrong),
        lambda: filled.cut(Segment(wrong, 0, 1)),
        lambda: filled.delete([wrong]),
    ):
        text = message(DataError, call)
        assert text.startswith(f"'{filled.root}' has no episode '{wrong}'. Did you mean ")
        assert text.endswith("It has 3 episodes.")


def test_a_segment_that_does_not_fit(filled, make_episode):
    segment = Segment(make_episode(1).id, 5, 3)
    expected = f"Segment [5, 8) does not fit episode {make_episode(1).id}, which has 7 steps."
    assert message(DataError, lambda: filled.cut(segment)) == expected
    assert message(DataError, lambda: filled.content_hash(segment)) == expected
    assert message(DataError, lambda: filled.frames(segment, CAMERA)) == expected


def test_unknown_camera(filled, make_episode):
    segment = Segment(make_episode(1).id, 0, 3)
    assert message(DataError, lambda: filled.frames(segment, "observation.state")) == (
        f"'{filled.root}' has no camera 'observation.state'. Cameras: ['{CAMERA}']."
    )


def test_episodes_that_do_not_fit_the_data_set(filled, make_episode):
    def add(**changes):
        episode = make_episode(7, camera=changes.pop("camera", True), **changes)
        return message(DataError, lambda: filled.add(episode))

    head = f"Episode {make_episode(7).id} does not fit '{filled.root}': "
    tail = " Record other shapes into a data set of their own."
    assert add(action=np.zeros((7, 3), np.float32)) == (
        f"{head}'action' is float32 (3,) in the episode and float32 (2,) in the data set.{tail}"
    )
    assert add(camera=False) == (
        f"{head}'{CAMERA}' is absent in the episode and uint8 (32, 48, 3) in the data set.{tail}"
    )
    assert add(sim_states=np.zeros((8, 12))) == (
        f"{head}'sim.state' is float64 (12,) in the episode and float64 (11,) in the data set."
        f"{tail}"
    )
    assert add(fps=25) == (
        f"Episode {make_episode(7).id} has 25.0 steps a second, '{filled.root}' has 20.0. Record "
        "other rates into a data set of their own."
    )
    assert filled.ids == [make_episode(i).id for i in range(3)]
    assert filled.validate() == []


def test_episodes_that_no_data_set_can_hold(store, make_episode):
    name = make_episode(0).id

    def add(**changes):
        return message(DataError, lambda: store.add(make_episode(0, **changes)))

    state = np.zeros((8, 2), np.float32)
    assert add(obs={"observation.state": state, "action": state}) == (
        f"Episode {name}: observations must not be named like other columns, got 'action'."
    )
    assert add(obs={"a/b": state}) == f"Episode {name}: the key 'a/b' must not contain '/'."
    assert add(obs={"observation.state": state.astype(complex)}) == (
        f"Episode {name}: 'observation.state' has type complex128. Allowed are bool, uint8, int32, "
        "int64, float32 and float64."
    )
    assert add(action=np.zeros((7, 2))) == (
        f"Episode {name}: 'action' must be float32 vectors, got float64 (7, 2)."
    )
    assert add(sim_states=np.zeros((8, 3), np.float32)) == (
        f"Episode {name}: 'sim.state' must be float64 vectors, got float32 (8, 3)."
    )
    assert add(obs={CAMERA: np.zeros((8, 4, 4, 3))}) == (
        f"Episode {name}: '{CAMERA}' must be uint8 pictures (T + 1, H, W, 3), got float64 "
        "(8, 4, 4, 3)."
    )
    assert add(obs={CAMERA: np.zeros((8, 4, 5, 3), np.uint8)}) == (
        f"Episode {name}: '{CAMERA}' is 4 x 5 pixels. H.264 needs an even height and width."
    )
    assert add(metadata={"policy": object}) == (
        f"Episode {name}: its metadata cannot be written as JSON (Object of type type is not JSON "
        "serializable). Allowed are numbers, strings, booleans, None, lists and dictionaries."
    )
    assert add(action=np.full((7, 2), np.nan, np.float32)) == (
        f"Episode {name}: 'action' is not finite at step 0."
    )
    assert add(obs={"observation.state": state[:-1]}) == (
        f"Episode {name} has 7 actions and 7 observations 'observation.state'; it needs one "
        "observation more than actions."
    )
    assert len(EpisodeStore.open(store.root)) == 0
    assert EpisodeStore.open(store.root).report == []


def test_bad_rate(tmp_path):
    assert message(ValueError, lambda: EpisodeStore.create(tmp_path, fps=0)) == (
        "`fps` must be above 0, got 0."
    )


def test_merging_what_does_not_fit(tmp_path, filled, make_episode):
    other = EpisodeStore.create(tmp_path / "other", fps=25)
    other.add(make_episode(8, fps=25, camera=True))
    assert message(DataError, lambda: filled.merge(other)) == (
        f"Episode {make_episode(8).id} has 25.0 steps a second, '{filled.root}' has 20.0. Record "
        "other rates into a data set of their own."
    )
    same = EpisodeStore.create(tmp_path / "same", fps=20)
    same.add(make_episode(1, camera=True, action=np.ones((7, 2), np.float32)))
    assert message(DataError, lambda: filled.merge(same)) == (
        f"'{filled.root}' has another episode with the id '{make_episode(1).id}'. Give the new one "
        "an id of its own, or delete the old one first."
    )
    assert len(filled) == 3
    assert filled.merge(filled) == 0

"""Preference sets of other projects: which side won, what is kept, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from robopref import cli
from robopref.data.store import EpisodeStore
from robopref.errors import DataError
from robopref.preferences import PairwiseView
from robopref.preferences.importers import PreferenceSet, Source
from robopref.preferences.store import PreferenceStore
from tests.preferences.foreign_sets import (
    error_of,
    npz_arrays,
    prefers_b,
    write_csv,
    write_hdf5,
    write_imitation,
    write_json,
    write_pt,
)

HUMAN = Path(__file__).resolve().parents[2] / "benchmarks" / "data" / "human_preferences"
TIES = {"lift": 55, "can": 34, "square": 28}
SEGMENTS = {"lift": 105, "can": 197, "square": 198}
RECORDINGS = {"lift": 32, "can": 136, "square": 136}


def test_second_clearly_better_in_every_convention(tmp_path, rng):
    """The one value that each source writes when the second segment is clearly better."""
    data = write_hdf5(tmp_path / "d.hdf5", rng)
    sources = {
        "preference transformer": write_pt(tmp_path / "a.npz", rng, [1.0]),
        "one-hot": write_pt(tmp_path / "b.npz", rng, [[0.0, 1.0]]),
        "imitation": write_imitation(tmp_path / "c.npz", rng, [0.0]),
        "uni-rlhf lists": write_json(tmp_path / "d.json", data, [1], [0], [20]),
        "uni-rlhf one-hot": write_json(tmp_path / "e.json", data, [[0, 1]], [0], [20]),
        "uni-rlhf export": write_csv(tmp_path / "f.csv", data, [(0, 20, "{'3': {'0': 1}}")]),
    }
    for name, source in sources.items():
        preferences = PreferenceSet.from_source(source).preferences
        assert prefers_b(preferences) == [1.0], name


def test_equal_segments_become_one_episode(tmp_path, rng):
    arrays = npz_arrays(rng, 3, labels=[1, 0, 0.5])
    for key in ("obs", "action"):
        arrays[f"{key}_2"][1] = arrays[f"{key}_1"][0]  # as the first pair's first segment
        arrays[f"{key}_2"][2] = arrays[f"{key}_1"][2]  # a pair of a segment with itself
    np.savez(tmp_path / "a.npz", **arrays)
    imported = PreferenceSet.from_source(Source(tmp_path / "a.npz", env="e/t", fps=10.0))
    assert len(imported.episodes) == 4
    assert imported.preferences[0].query.items[0] == imported.preferences[1].query.items[1]
    assert imported.notes() == [
        "0 of 2 answers are ties.",
        "The segments are of 4 recordings at most: those that share steps are windows of one.",
        "1 pairs compare a segment with itself and were left out.",
    ]


def test_a_pair_asked_twice_has_two_answers(tmp_path, rng):
    arrays = npz_arrays(rng, 2, labels=[1, 0])
    for key in ("obs_1", "obs_2", "action_1", "action_2"):
        arrays[key][1] = arrays[key][0]
    np.savez(tmp_path / "a.npz", **arrays)
    source = Source(tmp_path / "a.npz", env="e/t", fps=10.0)
    assert PreferenceSet.from_source(source).save(tmp_path / "out") == (2, 2)


@pytest.fixture(scope="module")
def lift(tmp_path_factory):
    """Return the folder to which the human labels of Lift were imported."""
    out = tmp_path_factory.mktemp("human") / "lift"
    assert PreferenceSet.from_source(Source(HUMAN / "lift_ph_train.npz")).save(out) == (105, 100)
    return out


@pytest.mark.parametrize("task", TIES)
def test_human_labels_are_read_as_they_are(task):
    imported = PreferenceSet.from_source(Source(HUMAN / f"{task}_ph_train.npz"))
    assert len(imported.episodes) == SEGMENTS[task]
    assert {(episode.env, episode.fps) for episode in imported.episodes} == {
        (f"robomimic/{task}", 20.0)
    }
    recordings = {episode.metadata["recording"] for episode in imported.episodes}
    assert len(recordings) == RECORDINGS[task]
    with np.load(HUMAN / f"{task}_ph_train.npz") as arrays:
        assert prefers_b(imported.preferences) == arrays["label"].tolist()
    assert prefers_b(imported.preferences).count(0.5) == TIES[task]


def test_human_labels_are_stored_as_they_were_read(lift):
    episodes = EpisodeStore.open(lift)
    assert episodes.validate() == []
    with PreferenceStore(lift / "preferences.sqlite", create=False) as store:
        preferences = store.preferences("overall", "human")
        assert store.verify(episodes.content_hash) == []
    again = PreferenceSet.from_source(Source(HUMAN / "lift_ph_train.npz"))
    assert preferences == again.preferences


def test_a_reward_learns_from_imported_answers(lift, generator):
    from robopref.rewards.fit import FitConfig
    from robopref.rewards.mlp import MLPRewardConfig
    from robopref.trainer import TrainerConfig

    episodes = EpisodeStore.open(lift)
    with PreferenceStore(lift / "preferences.sqlite", create=False) as store:
        view = PairwiseView.from_preferences(store.preferences(), episodes.cut)
    steps = TrainerConfig(num_steps=100, learning_rate=1e-2, weight_decay=0.0)
    fit = FitConfig(validation_fraction=0.0, trainer=steps)
    reward = MLPRewardConfig(1, (32,), fit=fit).build(obs_dim=49, action_dim=7)
    reward.fit(view, generator=generator)
    returns = reward.segment_return(view.segments)
    decided = view.prefers_b != 0.5
    right = (returns[view.b] > returns[view.a]) == (view.prefers_b == 1)
    assert decided.sum() == 45
    assert right[decided].mean() > 0.75


def test_importing_again_adds_nothing_and_goes_on(tmp_path, rng):
    source = write_pt(tmp_path / "a.npz", rng, [1, 0, 0.5])
    imported = PreferenceSet.from_source(source)
    assert imported.save(tmp_path / "out") == (6, 3)
    assert imported.save(tmp_path / "out") == (0, 0)
    # What an interrupted import into a data set that was there leaves behind.
    part = PreferenceSet(imported.episodes[:3], imported.preferences[:1], imported.fps)
    assert part.save(tmp_path / "part") == (3, 1)
    assert imported.save(tmp_path / "part") == (3, 2)
    other = PreferenceSet.from_source(Source(source.path, env="e/t", fps=80.0, annotator="ben"))
    with pytest.raises(DataError):  # the same segments in another environment
        other.save(tmp_path / "out")
    assert len(EpisodeStore.open(tmp_path / "out")) == 6


def test_a_failing_import_leaves_nothing(tmp_path, rng):
    imported = PreferenceSet.from_source(write_pt(tmp_path / "a.npz", rng, [1, 0]))
    wrong = [*imported.episodes[:3], imported.episodes[0].__class__(
        **{**vars(imported.episodes[3]), "fps": 5.0}
    )]  # fmt: skip
    with pytest.raises(DataError):
        PreferenceSet(wrong, imported.preferences, imported.fps).save(tmp_path / "new" / "out")
    assert not list((tmp_path / "new").iterdir())
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter.txt").write_text("mine")
    with pytest.raises(DataError) as error:
        imported.save(tmp_path / "full")
    assert str(error.value) == (
        f"'{tmp_path}/full' holds files already, and no data set. Give another folder."
    )
    (tmp_path / "not.sqlite").write_text("mine")
    with pytest.raises(DataError):
        imported.save(tmp_path / "out", str(tmp_path / "not.sqlite"))
    assert not (tmp_path / "out").exists()


def test_what_a_file_does_not_say_has_to_be_given(tmp_path, rng):
    path = write_pt(tmp_path / "a.npz", rng, [1]).path
    assert error_of(Source(path, fps=1.0)) == (
        f"The name of '{path}' does not say of which environment it is. Give `env` (--env), such "
        "as 'metaworld/drawer-open-v3'."
    )
    assert error_of(Source(path, env="e/t")) == (
        f"'{path}' does not say how many steps it has a second. Give `fps` (--fps)."
    )
    assert error_of(Source(path, data=path)) == (
        "`data` goes with the format 'uni-rlhf', not with 'preference-transformer'."
    )


def test_the_commands(tmp_path, rng, capsys):
    write_pt(tmp_path / "a.npz", rng, [1, 0.5])
    out = tmp_path / "out"

    def robopref(*arguments):
        code = cli.main(["data", *map(str, arguments)])
        shown = capsys.readouterr()
        return code, shown.out + shown.err

    command = ["import-preferences", "--source", tmp_path / "a.npz", "--out", out]
    command += ["--env", "metaworld/reach-v3", "--fps", "80"]
    rest = (
        "Note: 1 of 2 answers are ties.\n"
        "Note: The segments are of 4 recordings at most: those that share steps are windows of "
        "one.\n"
        f"Next:   robopref train reward --data {out} --db {out}/preferences.sqlite\n"
    )
    assert robopref(*command) == (
        0, f"Imported 4 segments to {out} and 2 answers to {out}/preferences.sqlite.\n{rest}"
    )  # fmt: skip
    assert robopref(*command) == (
        0,
        f"Imported 0 segments to {out} and 0 answers to {out}/preferences.sqlite.\n"
        f"Note: 4 segments and 2 answers were there already.\n{rest}",
    )
    db, again = out / "preferences.sqlite", tmp_path / "b.npz"
    assert robopref("export", "--db", db, "--data", out, "--out", again)[1].startswith(
        f"Exported 2 rows to {again} (npz).\n"
    )
    assert np.load(again)["label"].tolist() == [1.0, 0.5]
    for arguments in (
        ("--db", db, "--out", again),
        ("--db", db, "--data", out, "--out", "x.jsonl"),
    ):
        code, shown = robopref("export", *arguments)
        assert code == 2
        assert "--data and --db go together for the format 'npz'" in shown
    code, shown = robopref(*command, "--format", "imitatoin")
    assert (code, "Did you mean 'imitation'?" in shown) == (2, True)
    code, shown = robopref("import-preferences", "--source", tmp_path / "x.npz", "--out", out)
    assert (code, shown) == (2, f"Error: No file at '{tmp_path}/x.npz'.\n")

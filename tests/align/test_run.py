"""Tests for align/run.py."""

import json
import math
from dataclasses import dataclass

import pytest

from robopref.align.run import Run
from robopref.errors import ConfigError, DataError


@dataclass(frozen=True)
class Settings:
    num: int = 3
    name: str = "a"


def test_a_stage_is_done_once(tmp_path):
    calls = []

    def work():
        calls.append("called")
        return {"found": 5}

    first = Run(tmp_path, Settings()).stage("one", work)
    again = Run(tmp_path, Settings())
    assert again.stage("one", work) == first
    assert first["found"] == 5
    assert calls == ["called"]
    assert again.seconds == first["seconds"]


def test_stages_are_announced(tmp_path):
    said: list[str] = []
    Run(tmp_path, Settings(), announce=said.append).stage("one", dict)
    assert said == ["one ...", "one done in 0 s"]


def test_a_stage_that_failed_is_begun_again(tmp_path):
    run = Run(tmp_path, Settings())
    with pytest.raises(RuntimeError):
        run.stage("one", lambda: (_ for _ in ()).throw(RuntimeError("cut off")))
    assert Run(tmp_path, Settings()).stage("one", lambda: {"found": 1})["found"] == 1


@dataclass(frozen=True)
class Others:
    size: int = 3


def test_other_settings_are_refused(tmp_path):
    Run(tmp_path, Settings()).stage("one", dict)
    with pytest.raises(ConfigError) as error:
        Run(tmp_path, Settings(num=4))
    assert str(error.value) == (
        f"'{tmp_path}' holds a run with other settings: `num` was 3, now 4. "
        "Choose another folder with --out, or delete this one."
    )


def test_settings_may_be_corrected_while_nothing_was_done(tmp_path):
    Run(tmp_path, Settings(num=-1))
    Run(tmp_path, Settings()).stage("one", dict)
    assert (tmp_path / "config.yaml").read_text() == "num: 3\nname: a\n"


def test_a_run_of_another_kind_is_refused(tmp_path):
    Run(tmp_path, Settings()).stage("one", dict)
    with pytest.raises(ConfigError) as error:
        Run(tmp_path, Others())
    assert str(error.value) == (
        f"'{tmp_path}' holds a run of another kind or of another version: Others has no field "
        "'num'. Fields: ['size']. Choose another folder with --out, or delete this one."
    )


def test_a_data_set_that_no_run_made_is_left_alone(tmp_path):
    for name in ("meta/info.json", "data/chunk-000/file-000.parquet"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("")
    with pytest.raises(DataError) as error:
        Run(tmp_path, Settings())
    assert str(error.value) == (
        f"'{tmp_path}' holds a data set that another command made, and nothing is added to it. "
        "Choose another folder with --out."
    )
    assert not (tmp_path / "config.yaml").exists()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"one": {', "Expecting property name enclosed in double quotes: line 1 column 10 "
         "(char 9)"),
        ("[]", "it must hold a dict, got list"),
    ],
)  # fmt: skip
def test_damaged_stages_are_told(tmp_path, text, reason):
    Run(tmp_path, Settings()).stage("one", dict)
    (tmp_path / "stages.json").write_text(text)
    with pytest.raises(DataError) as error:
        Run(tmp_path, Settings())
    assert str(error.value) == (
        f"'{tmp_path}/stages.json' is damaged: {reason}. Delete it and run the same command again, "
        "which goes on from what else is in the folder."
    )


def test_undefined_figures_are_null_in_the_file_and_nan_again(tmp_path):
    figures = {"rate": float("nan"), "rows": [{"value": float("nan"), "num": 3}]}
    Run(tmp_path, Settings()).stage("one", lambda: figures)
    stored = json.loads((tmp_path / "stages.json").read_text())["one"]
    assert stored["rate"] is None
    assert stored["rows"] == [{"value": None, "num": 3}]
    found = Run(tmp_path, Settings()).figures("one")
    assert math.isnan(found["rate"])
    assert math.isnan(found["rows"][0]["value"])

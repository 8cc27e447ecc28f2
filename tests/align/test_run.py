"""Tests for align/run.py."""

from dataclasses import dataclass

import pytest

from robopref.align.run import Run
from robopref.errors import ConfigError


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


def test_other_settings_are_refused(tmp_path):
    Run(tmp_path, Settings())
    with pytest.raises(ConfigError) as error:
        Run(tmp_path, Settings(num=4))
    assert str(error.value) == (
        f"'{tmp_path}' holds a run with other settings: `num` was 3, now 4. "
        "Choose another folder with --out, or delete this one."
    )

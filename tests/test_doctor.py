"""Tests for commands/doctor.py."""

import importlib.metadata
import re

import pytest

from robopref import cli
from robopref.commands import doctor
from robopref.commands.doctor import DoctorCommand


def findings(section):
    return {finding.name: finding for finding in section}


def test_what_is_here_is_found():
    software = findings(doctor.check_software())
    assert software["python"].state == "ok"
    assert importlib.metadata.version("torch") in software["versions"].detail
    assert re.fullmatch(r"\d+ GB free of \d+ GB here",
                        findings(doctor.check_hardware(full=False))["disk"].detail)  # fmt: skip


def test_every_extra_is_listed_once():
    names = [finding.name for finding in doctor.check_extras()]
    provided = importlib.metadata.metadata("robopref").get_all("Provides-Extra") or []
    assert names == sorted(set(provided) - {"all"})


@pytest.fixture
def requirements(monkeypatch):
    lines: list[str] = []
    monkeypatch.setattr(doctor, "_requirements", lambda: lines)
    return lines


def test_a_missing_extra_comes_with_its_install_line(requirements):
    requirements += ['no-such-sdk>=2; extra == "franka"', 'torch>=2; extra == "scale"']
    rows = findings(doctor.check_extras())
    assert rows["franka"].state == "optional"
    assert rows["franka"].detail == "no-such-sdk is missing: pip install 'robopref[franka]'"
    assert rows["scale"].detail == "installed"


def test_an_extra_that_is_too_old_says_so(requirements):
    requirements += ['torch>=99; extra == "scale"']
    version = importlib.metadata.version("torch")
    assert findings(doctor.check_extras())["scale"].detail == (
        f"torch {version} is not >=99: pip install 'robopref[scale]'"
    )


def test_a_missing_dependency_of_the_core_is_missing(requirements, capsys):
    requirements += ["no-such-package>=1", "torch>=2", 'gone>=1; python_version < "3"']
    DoctorCommand().run()
    out = capsys.readouterr().out
    assert "  missing   packages       no-such-package is missing\n" in out
    assert out.endswith("Install what is missing with:\n  pip install --upgrade robopref\n")


def test_missing_libraries_come_with_one_line_to_run(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(doctor, "_loads", lambda library: library != "libEGL.so.1")
    assert doctor.missing_packages() == ["libegl1"]
    row = findings(doctor.check_rendering(full=False))["libraries"]
    assert (row.state, row.remedy) == ("missing", "sudo apt-get install -y libegl1")


def test_the_driver_of_a_graphics_card_replaces_mesa(monkeypatch):
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setattr(doctor, "_loads", lambda library: library != "libEGL_mesa.so.0")
    assert doctor.missing_packages() == []  # libEGL_nvidia.so.0 is there.
    monkeypatch.setattr(doctor, "_loads", lambda library: "EGL_" not in library)
    assert doctor.missing_packages() == ["libgl1-mesa-dri", "libegl-mesa0"]


def test_a_library_that_is_there_loads():
    assert doctor._loads("libc.so.6")
    assert not doctor._loads("libnothing.so.99")


def test_missing_tools_say_what_they_are_for(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    details = {finding.name: finding.detail for finding in doctor.check_tools()}
    assert details == {
        "cmake": "not found; the robomimic extra compiles egl_probe: pip install cmake",
        "c++": "not found; the robomimic extra compiles egl_probe: sudo apt-get install -y g++",
        "psql": "not found; to look into a PostgreSQL store: "
        "sudo apt-get install -y postgresql-client",
    }


def test_a_probe_that_fails_gives_its_error():
    assert doctor._probe("raise OSError('no display')", {}) == "OSError: no display"
    assert doctor._probe("import os; os._exit(3)", {}) == "exit code 3"
    assert doctor._probe("import os; print(os.environ['A'])", {"A": "b"}) == "b"


def test_the_table_goes_to_standard_output(capsys):
    assert cli.main(["doctor"]) == 0
    captured = capsys.readouterr()
    for title in ("Software", "Hardware", "Rendering", "Video", "Extras", "Tools"):
        assert f"{title}\n" in captured.out
    assert captured.err == ""


@pytest.mark.parametrize("value", ["egl", " OSMesa ", "", "off", "1"])
def test_what_mujoco_takes_is_fine(monkeypatch, value):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setenv("MUJOCO_GL", value)
    row = findings(doctor.check_rendering(full=False))["MUJOCO_GL"]
    assert (row.state, row.detail) == ("ok", value or "not set: robopref chooses")


def test_a_renderer_that_mujoco_refuses_is_told(monkeypatch):
    monkeypatch.setattr("platform.system", lambda: "Linux")
    monkeypatch.setenv("MUJOCO_GL", "foo")
    row = findings(doctor.check_rendering(full=False))["MUJOCO_GL"]
    assert (row.state, row.remedy) == ("missing", "unset MUJOCO_GL")
    assert row.detail == (
        "MUJOCO_GL must be one of ['egl', 'glfw', 'glx', 'osmesa'] or not set, got 'foo'. Without "
        "it robopref chooses: unset MUJOCO_GL."
    )


@pytest.mark.slow
def test_full_starts_torch_the_renderers_and_the_encoders(capsys):
    DoctorCommand(full=True).run()
    out = capsys.readouterr().out
    assert re.search(r"ok +render egl +draws", out)
    assert re.search(r"ok +torch +\d+ threads", out)
    assert re.search(r"ok +encoders +libx264", out)

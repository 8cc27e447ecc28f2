import pytest

pytest.importorskip("robosuite", reason="the extra 'robomimic' is not installed")

from robopref.cli import main
from robopref.config import to_dict
from robopref.hardware import ARMS
from robopref.hardware.sim import SimArmConfig
from robopref.hardware.sim_link import SimLink, SimProcess


@pytest.fixture
def stopped():
    """Return the address of a controller whose arm was stopped at once."""
    with SimProcess(to_dict(SimArmConfig("fr3"))) as process:
        link = SimLink(process.address)
        link.ask("hello")
        link.ask("servo")
        link.ask("stop", level=0)
        link.ask("bye")
        link.close()
        yield "{}:{}".format(*process.address)


def mode_of(address):
    host, port = address.split(":")
    link = SimLink((host, int(port)))
    found = link.ask("scene")["mode"]
    link.close()
    return found


@pytest.mark.parametrize("name", ["mock", "sim"])
def test_check_shows_an_arm_and_its_limits(name, capsys):
    assert main(["arm", "check", "--arm", name, "--arm.model", "fr3"]) == 0
    shown = capsys.readouterr().out
    assert "fr3, 7 joints" in shown
    assert "fr3_joint7" in shown
    assert "Mode    ready" in shown


def test_check_and_stop_leave_a_stop_as_it_is(stopped, capsys):
    options = ["--arm", "sim", "--arm.model", "fr3", "--arm.address", stopped]
    assert main(["arm", "check", *options]) == 0
    assert "Mode    emergency stop" in capsys.readouterr().out
    assert main(["arm", "stop", *options]) == 0
    assert mode_of(stopped) == "emergency stop"


def test_recover_takes_a_persons_word(stopped, capsys):
    options = ["--arm", "sim", "--arm.model", "fr3", "--arm.address", stopped]
    assert main(["arm", "recover", *options]) == 2
    assert "--operator must be given where there is no terminal" in capsys.readouterr().err
    assert mode_of(stopped) == "emergency stop"
    said = ["--operator", "ann", "--reason", " "]
    assert main(["arm", "recover", *options, *said]) == 2
    assert mode_of(stopped) == "emergency stop"
    assert main(["arm", "recover", *options, *said[:3], "took the box away"]) == 0
    assert mode_of(stopped) == "ready"
    assert main(["arm", "recover", *options]) == 0
    assert "nothing to clear" in capsys.readouterr().out


def test_every_driver_has_the_commands():
    assert {"franka", "mock", "sim"} <= set(ARMS.names())

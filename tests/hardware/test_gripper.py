"""Grippers: Robotiq's over a socket, UFACTORY's with a stand-in for the SDK, and their thread."""

import threading
import time

import pytest

from robopref.errors import HardwareError
from robopref.hardware.gripper import Gripper, Hand
from robopref.hardware.robotiq import RobotiqHand
from robopref.hardware.xarm_gripper import XArmHand
from tests.hardware.sdk_calls import SDKS, class_of
from tests.hardware.ufactory import GripperCalls
from tests.hardware.urcap import URCap


class SlowHand:
    """One that is busy until it is told otherwise."""

    def __init__(self):
        self.place, self.asked, self.is_closed = 0.25, [], False
        self.answers, self.is_busy = threading.Event(), False
        self.answers.set()
        self.breaks = False

    def opening(self):
        self.answers.wait(5)
        if self.breaks:
            raise OSError("gone")
        return self.place

    def is_free(self):
        return not self.is_busy

    def go_to(self, opening):
        self.asked.append(opening)
        self.place = opening

    def close(self):
        self.is_closed = True


@pytest.fixture
def hand():
    return SlowHand()


@pytest.fixture
def gripper(hand):
    gripper = Gripper(hand)
    yield gripper
    gripper.close()


@pytest.fixture
def urcap():
    urcap = URCap()
    yield urcap
    urcap.close()


def robotiq(urcap):
    return RobotiqHand("127.0.0.1", (3, 230), 1.0, 0.2, urcap.port)


def wait_for(what):
    end = time.monotonic() + 5
    while not what():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.002)


def test_where_it_is_is_known_at_once_and_nothing_moves(gripper, hand):
    assert gripper.opening == 0.25
    time.sleep(0.15)
    assert hand.asked == []


def test_nobody_waits_for_it_and_only_the_newest_opening_counts(gripper, hand):
    hand.is_busy = True
    begun = time.monotonic()
    for opening in (0.9, 0.5, -3.0):
        gripper.go_to(opening)
    assert time.monotonic() - begun < 0.1
    time.sleep(0.15)
    assert hand.asked == []
    hand.is_busy = False
    wait_for(lambda: gripper.opening == 0.0)
    # A hair's breadth is no motion.
    gripper.go_to(0.01)
    time.sleep(0.15)
    assert hand.asked == [0.0]


def test_one_that_does_not_answer_any_more_has_no_opening(gripper, hand):
    hand.breaks = True
    wait_for(lambda: gripper.opening is None)
    gripper.go_to(1.0)
    gripper.close()
    gripper.close()
    assert hand.asked == []
    assert hand.is_closed


def test_robotiq_opens_and_closes_by_the_lines_of_its_urcap(urcap):
    hand = robotiq(urcap)
    assert isinstance(hand, Hand)
    assert urcap.heard == ["GET FLT", "GET STA"], "nothing moves at first"
    assert hand.opening() == 1.0
    hand.go_to(0.0)
    assert urcap.heard[-1] == "SET POS 230 SPE 255 FOR 51 GTO 1"
    assert hand.opening() == 0.0
    hand.go_to(0.5)
    assert hand.opening() == pytest.approx(0.5, abs=0.01)
    hand.close()
    assert urcap.heard[-1] == "SET GTO 0"


@pytest.mark.parametrize("ends_lines", [True, False])
def test_an_answer_may_come_in_parts_and_without_an_end(urcap, ends_lines):
    urcap.ends_lines = ends_lines
    hand = robotiq(urcap)
    urcap.values["POS"] = 128
    for _ in range(20):
        assert hand.opening() == pytest.approx((230 - 128) / 227)
    hand.close()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"STA": 0},
            "The gripper is not active. Activate it at the pendant, under Installation, URCaps, "
            "Gripper: it opens and closes once then.",
        ),
        (
            {"FLT": 14},
            "The gripper has the fault 14, which its manual explains. Activate it anew at the "
            "pendant, under Installation, URCaps, Gripper.",
        ),
        ({"STA": "x"}, "The gripper answers 'STA x' to 'GET STA'."),
    ],
)
def test_a_robotiq_that_cannot_be_used_is_refused_before_anything_moves(urcap, values, message):
    urcap.values |= values
    with pytest.raises(HardwareError) as error:
        robotiq(urcap)
    assert str(error.value) == message
    assert not [line for line in urcap.heard if line.startswith("SET")]


def test_a_robotiq_that_is_not_there_or_goes_away_is_an_error(urcap):
    hand = robotiq(urcap)
    urcap.cut()
    for call in (hand.opening, hand.close):
        with pytest.raises((HardwareError, OSError)):
            call()
    urcap.close()
    with pytest.raises(HardwareError, match=r"No gripper answers at 127\.0\.0\.1:\d+: .*URCap"):
        robotiq(urcap)


@pytest.mark.parametrize(("kind", "widest"), [("g1", 850), ("g2", 84)])
def test_ufactorys_open_and_close_in_their_own_measure(kind, widest):
    api = GripperCalls()
    hand = XArmHand(api, kind)
    assert isinstance(hand, Hand)
    assert api.place == 850, "nothing moves at first"
    for opening in (0.0, 1.0, 0.5):
        hand.go_to(opening)
        assert api.place == opening * widest
        assert hand.opening() == opening
    hand.close()
    assert api.calls[0] == "enable"
    assert api.calls[-1] == "disconnect"


def test_the_fake_knows_nothing_that_the_sdk_does_not():
    pytest.importorskip("xarm.wrapper", reason="the extra 'xarm' is not installed")
    known = set(dir(class_of(SDKS["xarm"]["hand"])))
    assert {name for name in vars(GripperCalls) if not name.startswith("_")} <= known


def test_one_of_ufactorys_that_cannot_be_used_is_refused():
    with pytest.raises(HardwareError, match=r"No gripper answers on the arm \(code 3\)\."):
        XArmHand(GripperCalls(code=3), "g1")
    with pytest.raises(HardwareError, match="has the error 11, which its manual explains"):
        XArmHand(GripperCalls(error=11), "g2")
    api = GripperCalls()
    hand = XArmHand(api, "g1")
    api.code = 19
    with pytest.raises(HardwareError, match=r"does not say where it is \(code 19\)"):
        hand.opening()
    with pytest.raises(HardwareError, match=r"does not answer to moving it \(code 19\)"):
        hand.go_to(0.5)

"""The gamepad, with events of the kernel's form that come through a pipe."""

import math
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robopref.errors import HardwareError
from robopref.hardware.gamepad import (
    ABS_HAT0X,
    ABS_HAT0Y,
    ABS_RY,
    ABS_X,
    ABS_Y,
    BTN_DPAD_UP,
    BTN_EAST,
    BTN_SELECT,
    BTN_SOUTH,
    BTN_START,
    BTN_TL,
    BTN_TR,
    EV_SYN,
    EVENT,
    Gamepad,
    GamepadConfig,
)
from robopref.hardware.teleop import Word
from tests.hardware.event_files import Pipe, event, key, report, stick, wait_for, with_range


@pytest.fixture
def pipe(tmp_path):
    return Pipe(tmp_path)


@pytest.fixture
def pad(pipe, monkeypatch):
    with_range(monkeypatch)
    pad = GamepadConfig(str(pipe.path)).build()
    pad.connect()
    yield pad
    pad.disconnect()


def test_sticks_move_the_tool_while_the_shoulder_is_held(pad, pipe):
    pipe.write(report(stick(ABS_X, 32767), stick(ABS_Y, -32768)), report(key(BTN_START)))
    wait_for(lambda: Word.GO in pad.words())
    assert not pad.is_held
    assert pad.action()[:3].tolist() == [0, 0, 0]
    pipe.write(report(key(BTN_TR)))
    wait_for(lambda: pad.is_held)
    assert pad.action()[:3] == pytest.approx([1, 1, 0])
    pipe.write(report(stick(ABS_X, 0), stick(ABS_Y, 0), stick(ABS_RY, 32767)))
    wait_for(lambda: pad.action()[2] == -1)
    assert pad.action()[:3] == pytest.approx([0, 0, -1])
    pipe.write(report(key(BTN_TR, 0)))
    wait_for(lambda: not pad.is_held)
    assert not pad.action()[:3].any()


def test_a_pad_of_bytes_has_its_own_middle(pipe, monkeypatch):
    with_range(monkeypatch, 0, 255)
    pad = GamepadConfig(str(pipe.path), turned_rad=math.pi / 2).build()
    pad.connect()
    pipe.write(report(key(BTN_TR), stick(ABS_X, 128), stick(ABS_Y, 0)))
    wait_for(lambda: pad.action()[:3].any())
    assert pad.action()[:3] == pytest.approx([-1, 0, 0], abs=1e-6)
    pad.disconnect()


def test_buttons_say_words_once_and_work_the_gripper(pad, pipe):
    pipe.write(
        report(key(BTN_EAST)), report(key(BTN_EAST, 2)), report(key(BTN_EAST, 0)),
        report(key(BTN_SELECT)), report(key(BTN_DPAD_UP)),
        report(stick(ABS_HAT0Y, 1)), report(stick(ABS_HAT0Y, 0)),
        report(stick(ABS_HAT0X, -1)), report(stick(ABS_HAT0X, 1)),
    )  # fmt: skip
    pipe.write(report(key(BTN_TR)))
    wait_for(lambda: pad.is_held)
    pipe.write(report(key(BTN_TR, 0)))
    wait_for(lambda: not pad.is_held)
    assert pad.words() == [
        Word.STOP, Word.TAKE, Word.SUCCESS, Word.FAILURE, Word.SLOWER, Word.FASTER
    ]  # fmt: skip
    pad.begin(0.25, 0.01)
    pipe.write(report(key(BTN_SOUTH)), report(key(BTN_TR)), report(key(BTN_START)))
    wait_for(lambda: pad.words())
    # A button that is pressed while the arm may not move does nothing later either.
    assert pad.action()[3] == 0.25
    pipe.write(report(key(BTN_SOUTH)))
    wait_for(lambda: pad.action()[3] == 1)
    pipe.write(report(key(BTN_TL)))
    wait_for(lambda: pad.action()[3] == -1)


def test_lost_events_let_all_go(pad, pipe):
    """The shoulder may have been let go among them."""
    pipe.write(report(key(BTN_TR), stick(ABS_X, 32767)))
    wait_for(lambda: pad.action()[0] == 1)
    pipe.write(event(EV_SYN, 3, 0) + report(key(BTN_TR), stick(ABS_X, 32767)))
    wait_for(lambda: not pad.is_held)
    assert not pad.action().any()
    pipe.write(report(key(BTN_TR)))
    wait_for(lambda: pad.is_held)
    assert not pad.action().any()


def test_a_pad_that_is_unplugged_lets_go_and_stops(pad, pipe):
    pipe.write(report(key(BTN_TR), stick(ABS_X, 32767)))
    wait_for(lambda: pad.action()[0] == 1)
    pipe.unplug()
    wait_for(lambda: pad.trouble)
    assert pad.trouble == "The gamepad is gone: it was unplugged."
    assert not pad.is_held
    assert not pad.action().any()
    assert pad.words() == [Word.STOP]
    assert pad.words() == []


def test_it_is_found_by_its_buttons(tmp_path, monkeypatch):
    monkeypatch.setattr("robopref.hardware.gamepad.INPUTS", tmp_path)
    pad = GamepadConfig().build()
    with pytest.raises(HardwareError) as caught:
        pad.connect()
    assert str(caught.value) == (
        "There is no gamepad. Plug one in or pair it, press a button, and look for it in "
        "/proc/bus/input/devices; or name its file, such as /dev/input/event7."
    )
    # As the kernel writes them: a keyboard, and an Xbox pad (its keys 304 to 318 and 139, 158).
    for name, keys in (
        ("event3", "402000000 3803078f800d001 feffffdfffefffff fffffffffffffffe"),
        ("event12", "7cdb000000000000 0 0 0 0"),
    ):
        folder = tmp_path / name / "device/capabilities"
        folder.mkdir(parents=True)
        (folder / "key").write_text(keys + "\n")
    assert str(pad.find()) == "/dev/input/event12"


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(HardwareError, match=r"The gamepad at .*event9 cannot be read: No such"):
        GamepadConfig(str(tmp_path / "event9")).build().connect()
    plain = tmp_path / "plain"
    plain.write_bytes(b"")
    with pytest.raises(HardwareError, match="cannot be read: Inappropriate ioctl for device"):
        GamepadConfig(str(plain)).build().connect()
    assert not [name for name in os.listdir("/proc/self/fd") if _leads_to(name, plain)]


def _leads_to(descriptor, path):
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}") == str(path)
    except OSError:
        return False


EVENTS = st.tuples(
    st.integers(0, 2**16 - 1) | st.sampled_from([0, 1, 3]),
    st.sampled_from([0, 1, 3, 4, BTN_TR, BTN_TL, BTN_SOUTH]) | st.integers(0, 2**16 - 1),
    st.integers(-(2**31), 2**31 - 1) | st.sampled_from([0, 1]),
)


@given(st.lists(EVENTS, max_size=30), st.lists(st.integers(1, 100), min_size=1))
def test_whatever_comes_the_action_is_one_and_needs_the_shoulder(events, sizes):
    """However the bytes are cut."""
    pad = Gamepad(GamepadConfig())
    pad._ranges = {0: (-32768, 32767), 1: (0, 255), 4: (0, 0)}
    stream = b"".join(event(*each) for each in events)
    at, turn = 0, 0
    while at < len(stream):
        pad.take(stream[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
        action = pad.action()
        assert np.isfinite(action).all()
        assert np.abs(action).max() <= 1
        assert pad.is_held or not action[:3].any()
    assert len(pad._left) < EVENT.size

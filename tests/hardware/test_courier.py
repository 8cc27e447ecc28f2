import threading
import time

import pytest

from robopref.errors import HardwareError
from robopref.hardware.courier import Courier


@pytest.fixture
def courier():
    courier = Courier("the controller")
    yield courier
    courier.close()


def test_of_commands_only_the_newest_is_sent_and_a_stop_goes_first(courier):
    done, gate, begun = [], threading.Event(), threading.Event()

    def wait():
        begun.set()
        gate.wait(3)

    courier.send(wait)
    begun.wait(3)
    courier.send(lambda: done.append("old"))
    courier.stop(lambda: done.append("stop"))
    courier.send(lambda: done.append("first"))
    courier.send(lambda: done.append("newest"))
    assert not courier.is_idle
    gate.set()
    courier.close()
    assert done == ["stop", "newest"]


def test_an_answer_comes_back_and_so_does_an_error(courier):
    assert courier.ask(lambda: 7, 1, "Asking") == 7
    with pytest.raises(HardwareError, match=r"^Asking failed: division by zero$"):
        courier.ask(lambda: 1 / 0, 1, "Asking")
    assert courier.trouble == ""


def test_what_does_not_come_back_is_said_in_time(courier):
    gate = threading.Event()
    begun = time.monotonic()
    with pytest.raises(
        HardwareError, match=r"Asking failed: the controller did not answer within 0\.05 s\. Is it"
    ):
        courier.ask(lambda: gate.wait(3), 0.05, "Asking")
    with pytest.raises(HardwareError, match="did not answer"):
        courier.ask(lambda: 1, 0.05, "Asking")
    assert time.monotonic() - begun < 1
    gate.set()
    assert courier.ask(lambda: 2, 1, "Asking") == 2


def test_the_first_failure_is_kept_until_it_is_forgotten(courier):
    def fail(text):
        raise RuntimeError(text)

    courier.send(lambda: fail("one"))
    courier.ask(lambda: None, 1, "Waiting")
    courier.stop(lambda: fail("two"))
    courier.ask(lambda: None, 1, "Waiting")
    courier.close()
    assert courier.trouble == "one"
    courier.forget()
    assert courier.trouble == ""
    with pytest.raises(HardwareError, match="the connection is closed"):
        courier.ask(lambda: None, 1, "Asking")
